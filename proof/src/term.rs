//! Numbers of up to 64 bits that need not be known: they say what a register or a byte of memory holds in
//! terms of what the program was given. Operations have the names of SMT-LIB (theory of fixed-size
//! bit-vectors), and calculate if all operands are known.

use itertools::Itertools;
use std::{fmt, rc::Rc};

/// Such a number. A condition is a number of one bit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    pub node: Rc<Node>,
    pub bits: u32,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub enum Node {
    Number(u64),
    /// Any number; a name stands for one number throughout.
    Symbol(String),
    /// Bits, from this one on.
    Extract(u32, Term),
    Apply(&'static str, Vec<Term>),
}
use Node::{Apply, Extract, Number, Symbol};

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
        let conditions = conditions.into_iter();
        conditions.fold(Self::truth(true), |a, b| a.and(&b))
    }

    /// The number, if it is known.
    pub fn known(&self) -> Option<u64> {
        match *self.node {
            Number(value) => Some(value),
            _ => None,
        }
    }

    /// The number as a signed one, if it is known.
    pub fn known_signed(&self) -> Option<i64> {
        let shift = 64 - self.bits;
        Some((self.known()? << shift) as i64 >> shift)
    }

    /// An address as a symbol and a distance from it; the symbol is empty if the address is known.
    pub fn place(&self) -> Option<(&str, i64)> {
        match &*self.node {
            Number(value) => Some(("", *value as i64)),
            Symbol(name) => Some((name, 0)),
            Apply("bvadd", of) => of[0].place().map(|it| it.0).zip(of[1].known_signed()),
            _ => None,
        }
    }

    /// How many bytes the other address is above this one.
    pub fn distance(&self, other: &Self) -> Option<i64> {
        let (from, to) = (self.place()?, other.place()?);
        (from.0 == to.0 && !from.0.is_empty()).then_some(to.1.wrapping_sub(from.1))
    }

    /// Collects the names of all symbols, each with its length in bits.
    pub fn symbols(&self, into: &mut std::collections::BTreeMap<String, u32>) {
        match &*self.node {
            Number(_) => {}
            Symbol(name) => _ = into.insert(name.clone(), self.bits),
            Extract(_, of) => of.symbols(into),
            Apply(_, of) => of.iter().for_each(|of| of.symbols(into)),
        }
    }

    /// Applies an operation of SMT-LIB to two numbers.
    pub fn apply(&self, name: &'static str, other: &Self) -> Self {
        assert_eq!(self.bits, other.bits, "{name} of {self} and {other}");
        let (a, b) = (self.known(), other.known());
        let number = |number| Self::number(number, self.bits);
        let both = || vec![self.clone(), other.clone()];
        match (name, a, b) {
            // A known operand stands second.
            ("bvadd" | "bvand" | "bvor", Some(_), None) => other.apply(name, self),
            ("bvadd" | "bvor" | "bvshl" | "bvlshr", _, Some(0)) => self.clone(),
            ("bvand", _, Some(0)) => number(0),
            ("bvand", None, Some(_)) if *other == number(-1) => self.clone(),
            ("bvshl" | "bvlshr", _, Some(by)) if by >= self.bits.into() => number(0),
            ("bvxor", ..) if self == other => number(0),
            ("=", ..) if self == other => Self::truth(true),
            ("=", Some(a), Some(b)) => Self::truth(a == b),
            ("bvult", Some(a), Some(b)) => Self::truth(a < b),
            ("bvslt", Some(_), Some(_)) => Self::truth(self.known_signed() < other.known_signed()),
            ("=" | "bvult" | "bvslt", ..) => Self::new(Apply(name, both()), 1),
            ("bvadd", None, Some(_))
                if let Apply("bvadd", of) = &*self.node
                    && of[1].known().is_some() =>
            {
                of[0].apply(name, &of[1].apply(name, other))
            }
            ("bvsub", _, Some(_)) => self.plus(other.known_signed().map_or(0, i64::wrapping_neg)),
            ("bvsub", ..) if let Some(distance) = other.distance(self) => number(distance),
            (_, Some(a), Some(b)) => number(match name {
                "bvadd" => a.wrapping_add(b),
                "bvmul" => a.wrapping_mul(b),
                "bvand" => a & b,
                "bvor" => a | b,
                "bvxor" => a ^ b,
                "bvshl" => a << b,
                "bvlshr" => a >> b,
                _ => panic!("{name} is no operation"),
            } as i64),
            _ => Self::new(Apply(name, both()), self.bits),
        }
    }

    pub fn plus(&self, number: i64) -> Self {
        self.apply("bvadd", &Self::number(number, self.bits))
    }

    pub fn and(&self, other: &Self) -> Self {
        self.apply("bvand", other)
    }

    pub fn or(&self, other: &Self) -> Self {
        self.apply("bvor", other)
    }

    pub fn not(&self) -> Self {
        match &*self.node {
            Apply("bvnot", of) => of[0].clone(),
            Number(value) => Self::number(!value as i64, self.bits),
            _ => Self::new(Apply("bvnot", vec![self.clone()]), self.bits),
        }
    }

    pub fn is_number(&self, number: i64) -> Self {
        self.apply("=", &Self::number(number, self.bits))
    }

    /// Compares as signed numbers.
    pub fn is_less(&self, number: i64) -> Self {
        self.apply("bvslt", &Self::number(number, self.bits))
    }

    pub fn sign(&self) -> Self {
        self.extract(self.bits - 1, 1)
    }

    pub fn extract(&self, low: u32, bits: u32) -> Self {
        let is_part = bits > 0 && low + bits <= self.bits;
        assert!(is_part, "{bits} bits from {low} of {self}");
        if bits == self.bits {
            return self.clone();
        }
        match &*self.node {
            Number(value) => Self::number((value >> low) as i64, bits),
            Extract(further, of) => of.extract(low + further, bits),
            Apply("sign_extend", of) if low + bits <= of[0].bits => of[0].extract(low, bits),
            Apply("concat", of) if low + bits <= of[1].bits => of[1].extract(low, bits),
            Apply("concat", of) if low >= of[1].bits => of[0].extract(low - of[1].bits, bits),
            _ => Self::new(Extract(low, self.clone()), bits),
        }
    }

    /// Extends with zeros.
    pub fn zeros(&self, bits: u32) -> Self {
        Self::number(0, bits).with_low(self)
    }

    /// Extends with the sign.
    pub fn signs(&self, bits: u32) -> Self {
        match self.known_signed() {
            _ if bits == self.bits => self.clone(),
            Some(value) => Self::number(value, bits),
            None => Self::new(Apply("sign_extend", vec![self.clone()]), bits),
        }
    }

    /// Puts these bits above lower ones.
    pub fn concat(&self, low: &Self) -> Self {
        let bits = self.bits + low.bits;
        match ((&*self.node, self.known()), (&*low.node, low.known())) {
            ((_, Some(a)), (_, Some(b))) => Self::number((a << low.bits | b) as i64, bits),
            ((Extract(at, a), _), (Extract(from, b), _)) if a == b && *at == from + low.bits => {
                a.extract(*from, bits)
            }
            _ => Self::new(Apply("concat", vec![self.clone(), low.clone()]), bits),
        }
    }

    /// Replaces the lower bits.
    pub fn with_low(&self, low: &Self) -> Self {
        match self.bits - low.bits {
            0 => low.clone(),
            above => self.extract(low.bits, above).concat(low),
        }
    }
}

/// In SMT-LIB.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.node {
            Number(value) => write!(f, "(_ bv{value} {})", self.bits),
            Symbol(name) => f.write_str(name),
            Extract(low, of) => write!(f, "((_ extract {} {low}) {of})", low + self.bits - 1),
            Apply("sign_extend", of) => {
                write!(f, "((_ sign_extend {}) {})", self.bits - of[0].bits, of[0])
            }
            Apply(name @ ("=" | "bvult" | "bvslt"), of) => {
                write!(f, "(ite ({name} {} {}) #b1 #b0)", of[0], of[1])
            }
            Apply(name, of) => write!(f, "({name} {})", of.iter().join(" ")),
        }
    }
}
