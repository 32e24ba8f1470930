//! Numbers of up to 64 bits that need not be known: what a register or a byte of memory holds, said
//! by what the program was given. Operations are SMT-LIB's (theory of fixed-size bit-vectors), whose
//! names they have. Where all is known, they calculate.

use std::{fmt, rc::Rc};

/// Such a number. A condition is one of one bit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    pub node: Rc<Node>,
    pub bits: u32,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub enum Node {
    Number(u64),
    /// Any number; the same name is the same number.
    Symbol(String),
    /// So many bits from that bit on.
    Extract(u32, Term),
    /// SMT-LIB's `sign_extend` or `zero_extend`.
    Extend(&'static str, Term),
    Apply(&'static str, Vec<Term>),
}
use Node::{Apply, Extend, Extract, Number, Symbol};

impl Term {
    fn new(node: Node, bits: u32) -> Self {
        let node = Rc::new(node);
        Self { node, bits }
    }

    pub fn number(value: i64, bits: u32) -> Self {
        Self::new(Number(value as u64 & (u64::MAX >> (64 - bits))), bits)
    }

    pub fn symbol(name: impl Into<String>, bits: u32) -> Self {
        Self::new(Symbol(name.into()), bits)
    }

    pub fn truth(value: bool) -> Self {
        Self::number(value.into(), 1)
    }

    /// Whether all conditions are true.
    pub fn all(conditions: impl IntoIterator<Item = Self>) -> Self {
        let all = conditions.into_iter().reduce(|a, b| a.and(&b));
        all.unwrap_or(Self::truth(true))
    }

    /// The number, where it is known.
    pub fn known(&self) -> Option<u64> {
        match *self.node {
            Number(value) => Some(value),
            _ => None,
        }
    }

    /// The same with a sign.
    pub fn known_signed(&self) -> Option<i64> {
        let shift = 64 - self.bits;
        Some((self.known()? << shift) as i64 >> shift)
    }

    /// A symbol and what is added to it: an address, by what it is relative to. No symbol where the
    /// number is known.
    pub fn place(&self) -> Option<(&str, i64)> {
        match &*self.node {
            Number(value) => Some(("", *value as i64)),
            Symbol(name) => Some((name, 0)),
            Apply("bvadd", of) => match (&*of[0].node, of[1].known_signed()) {
                (Symbol(name), Some(offset)) => Some((name, offset)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The names of all symbols in it, with their bits.
    pub fn symbols(&self, into: &mut std::collections::BTreeMap<String, u32>) {
        match &*self.node {
            Number(_) => {}
            Symbol(name) => _ = into.insert(name.clone(), self.bits),
            Extract(_, of) | Extend(_, of) => of.symbols(into),
            Apply(_, of) => of.iter().for_each(|of| of.symbols(into)),
        }
    }

    fn apply(name: &'static str, bits: u32, of: &[&Term]) -> Self {
        let of = of.iter().map(|&it| it.clone()).collect();
        Self::new(Apply(name, of), bits)
    }

    /// An operation of two, which is a condition where that is the name of one.
    fn both(&self, name: &'static str, other: &Self, calculate: impl Fn(u64, u64) -> u64) -> Self {
        assert_eq!(self.bits, other.bits, "{name} of {self} and {other}");
        let is_condition = matches!(name, "=" | "bvult" | "bvslt");
        let bits = if is_condition { 1 } else { self.bits };
        match (self.known(), other.known()) {
            (Some(a), Some(b)) => Self::number(calculate(a, b) as i64, bits),
            _ => Self::apply(name, bits, &[self, other]),
        }
    }

    pub fn add(&self, other: &Self) -> Self {
        match (&*self.node, self.known(), other.known()) {
            (_, Some(_), None) => other.add(self),
            (_, _, Some(0)) => self.clone(),
            (Apply("bvadd", of), _, Some(_)) if of[1].known().is_some() => {
                of[0].add(&of[1].add(other))
            }
            _ => self.both("bvadd", other, u64::wrapping_add),
        }
    }

    pub fn plus(&self, number: i64) -> Self {
        self.add(&Self::number(number, self.bits))
    }

    pub fn sub(&self, other: &Self) -> Self {
        match (self.place(), other.place(), other.known_signed()) {
            (_, _, Some(number)) => self.plus(number.wrapping_neg()),
            (Some((a, from)), Some((b, to)), _) if a == b => {
                Self::number(from.wrapping_sub(to), self.bits)
            }
            _ => self.both("bvsub", other, u64::wrapping_sub),
        }
    }

    pub fn mul(&self, other: &Self) -> Self {
        self.both("bvmul", other, u64::wrapping_mul)
    }

    pub fn and(&self, other: &Self) -> Self {
        let all = u64::MAX >> (64 - self.bits);
        match (self.known(), other.known()) {
            (Some(_), None) => other.and(self),
            (None, Some(0)) => other.clone(),
            (None, Some(mask)) if mask == all => self.clone(),
            _ => self.both("bvand", other, |a, b| a & b),
        }
    }

    pub fn or(&self, other: &Self) -> Self {
        match (self.known(), other.known()) {
            (Some(_), None) => other.or(self),
            (None, Some(0)) => self.clone(),
            _ => self.both("bvor", other, |a, b| a | b),
        }
    }

    pub fn xor(&self, other: &Self) -> Self {
        if self == other {
            return Self::number(0, self.bits);
        }
        self.both("bvxor", other, |a, b| a ^ b)
    }

    pub fn not(&self) -> Self {
        match &*self.node {
            Apply("bvnot", of) => of[0].clone(),
            Number(value) => Self::number(!value as i64, self.bits),
            _ => Self::apply("bvnot", self.bits, &[self]),
        }
    }

    /// To the left where `by` is positive, and to the right without a sign where it is negative.
    pub fn shift(&self, by: i32) -> Self {
        let by_term = Self::number(by.unsigned_abs().into(), self.bits);
        match by {
            0 => self.clone(),
            _ if by.unsigned_abs() >= self.bits => Self::number(0, self.bits),
            1.. => self.both("bvshl", &by_term, |a, b| a << b),
            _ => self.both("bvlshr", &by_term, |a, b| a >> b),
        }
    }

    pub fn is(&self, other: &Self) -> Self {
        if self == other {
            return Self::truth(true);
        }
        self.both("=", other, |a, b| (a == b).into())
    }

    pub fn is_number(&self, number: i64) -> Self {
        self.is(&Self::number(number, self.bits))
    }

    /// Without signs.
    pub fn below(&self, other: &Self) -> Self {
        self.both("bvult", other, |a, b| (a < b).into())
    }

    /// With signs.
    pub fn less(&self, other: &Self) -> Self {
        // The top bit turned makes the order of the one that of the other.
        let turned = |it: u64| it ^ 1 << (self.bits - 1);
        self.both("bvslt", other, |a, b| (turned(a) < turned(b)).into())
    }

    pub fn less_than(&self, number: i64) -> Self {
        self.less(&Self::number(number, self.bits))
    }

    /// Where this is true the one, else the other.
    pub fn choose(&self, yes: &Self, no: &Self) -> Self {
        match self.known() {
            _ if yes == no => yes.clone(),
            Some(0) => no.clone(),
            Some(_) => yes.clone(),
            None => Self::apply("ite", yes.bits, &[self, yes, no]),
        }
    }

    pub fn bit(&self, bit: u32) -> Self {
        self.extract(bit, 1)
    }

    pub fn sign(&self) -> Self {
        self.bit(self.bits - 1)
    }

    pub fn extract(&self, low: u32, bits: u32) -> Self {
        assert!(
            bits > 0 && low + bits <= self.bits,
            "{bits} bits from {low} of {self}"
        );
        if bits == self.bits {
            return self.clone();
        }
        match &*self.node {
            Number(value) => Self::number((value >> low) as i64, bits),
            Extract(further, of) => of.extract(low + further, bits),
            Extend(_, of) if low + bits <= of.bits => of.extract(low, bits),
            Apply("concat", of) if low + bits <= of[1].bits => of[1].extract(low, bits),
            Apply("concat", of) if low >= of[1].bits => of[0].extract(low - of[1].bits, bits),
            _ => Self::new(Extract(low, self.clone()), bits),
        }
    }

    fn extend(&self, how: &'static str, value: Option<i64>, bits: u32) -> Self {
        match value {
            _ if bits == self.bits => self.clone(),
            Some(value) => Self::number(value, bits),
            None => Self::new(Extend(how, self.clone()), bits),
        }
    }

    /// With zeros in front.
    pub fn zeros(&self, bits: u32) -> Self {
        self.extend("zero_extend", self.known().map(|it| it as i64), bits)
    }

    /// With its sign in front.
    pub fn signs(&self, bits: u32) -> Self {
        self.extend("sign_extend", self.known_signed(), bits)
    }

    /// This in front of the lower bits.
    pub fn concat(&self, low: &Self) -> Self {
        let bits = self.bits + low.bits;
        match ((&*self.node, self.known()), (&*low.node, low.known())) {
            ((_, Some(a)), (_, Some(b))) => Self::number((a << low.bits | b) as i64, bits),
            ((Extract(at, a), _), (Extract(from, b), _)) if a == b && *at == from + low.bits => {
                a.extract(*from, bits)
            }
            _ => Self::apply("concat", bits, &[self, low]),
        }
    }

    /// With other bits from that bit on.
    pub fn insert(&self, low: u32, part: &Self) -> Self {
        let mut whole = part.clone();
        if low > 0 {
            whole = whole.concat(&self.extract(0, low));
        }
        if whole.bits < self.bits {
            whole = self
                .extract(whole.bits, self.bits - whole.bits)
                .concat(&whole);
        }
        whole
    }
}

/// As SMT-LIB has it.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.node {
            Number(value) => write!(f, "(_ bv{value} {})", self.bits),
            Symbol(name) => f.write_str(name),
            Extract(low, of) => write!(f, "((_ extract {} {low}) {of})", low + self.bits - 1),
            Extend(how, of) => write!(f, "((_ {how} {}) {of})", self.bits - of.bits),
            Apply("ite", of) => write!(f, "(ite (= {} #b1) {} {})", of[0], of[1], of[2]),
            Apply(name @ ("=" | "bvult" | "bvslt"), of) => {
                write!(f, "(ite ({name} {} {}) #b1 #b0)", of[0], of[1])
            }
            Apply(name, of) => {
                write!(f, "({name}")?;
                of.iter().try_for_each(|of| write!(f, " {of}"))?;
                write!(f, ")")
            }
        }
    }
}
