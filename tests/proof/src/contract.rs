//! What is proved, step by step: `docs/proof.md` says it in words, and what is assumed of Linux.

use crate::{
    explore::{Path, Proof},
    term::Term,
};
use anyhow::{Context, Result, bail, ensure};

pub const VERSION: &str = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");
pub const WARNING: &str = "Warning: pause should be the first process\n";
/// The signals that shut it down, with their lines, in the order of `SIGNALS`.
pub const LINES: [(i64, &str); 2] = [
    (2, "Shutting down, got signal: Interrupt\n"),
    (15, "Shutting down, got signal: Terminated\n"),
];
/// In the order of [`Phase::Taken`]: SIGINT, SIGTERM, SIGCHLD.
const SIGNALS: [i64; 3] = [2, 15, 17];
/// What is blocked in the handler: SIGINT and SIGTERM.
const MASK: u64 = 1 << 1 | 1 << 14;
const SIG_IGN: i64 = 1;
const EINTR: i64 = 4;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// It looks at its arguments.
    Started,
    /// `getpid` answered.
    Asked,
    /// It said that it is not the first process.
    Warned,
    /// `rt_sigaction` answered: for the first, the second, the third signal.
    Taken(usize),
    /// `wait4` answered.
    Reaped,
    /// `pause` answered.
    Slept,
    /// A signal is delivered, which has this line.
    Signalled(i64, &'static str),
    /// It has said its last words.
    Leaving,
    Gone,
}
use Phase::{Asked, Gone, Leaving, Reaped, Signalled, Slept, Started, Taken, Warned};

/// What must be true where it goes around once more: of the last answer, or, while it looks at
/// arguments, that this one is there and asks for nothing.
pub fn again(path: &Path) -> Option<Term> {
    match path.phase {
        Started => Some(path.argument(0).is_number(0).or(&path.is_flag()).not()),
        Reaped => Some(path.answer.is_less(1).not()),
        Slept => Some(path.answer.is_number(-EINTR)),
        _ => None,
    }
}

/// A system call: sees that it is the one to come, and goes on to what it comes to.
pub fn call(proof: &mut Proof, path: &mut Path) -> Result<()> {
    let platform = proof.prover.platform;
    let [number, arguments @ .., _, _] = platform.call.map(|it| path.registers[it].clone());
    let number = number.known();
    let number = number.context("makes a system call whose number is open")?;
    let call = platform.calls().find(|it| it.1 == number);
    let (name, _) = call.with_context(|| format!("makes system call {number}"))?;
    proof.found.calls.insert(name);
    path.tell(name);

    let again = || again(path).expect("it has one");
    let (argument, answer) = (path.argument(0), &path.answer);
    // What the last answer has to be for this call to come, and for no other to.
    let (condition, next) = match (name, path.phase) {
        ("getpid", Started) => (argument.is_number(0), Asked),
        ("write", Started) => (argument.is_number(0).not().and(&path.is_flag()), Leaving),
        ("write", Asked) => (answer.is_number(1).not(), Warned),
        ("write", Signalled(..)) => (Term::truth(true), Leaving),
        ("rt_sigaction", Asked) => (answer.is_number(1), Taken(0)),
        ("rt_sigaction", Warned) => (Term::truth(true), Taken(0)),
        ("rt_sigaction", Taken(index @ (0 | 1))) => (answer.is_number(0), Taken(index + 1)),
        ("wait4", Taken(2)) => (answer.is_number(0), Reaped),
        ("wait4", Reaped) => (again(), Reaped),
        ("pause" | "ppoll", Reaped) => (again().not(), Slept),
        ("pause" | "ppoll", Slept) => (again(), Slept),
        ("exit_group", Taken(_)) => (answer.is_number(0).not(), Gone),
        ("exit_group", Slept) => (again().not(), Gone),
        ("exit_group", Leaving) => (Term::truth(true), Gone),
        (_, last) => bail!("calls {name} where it is {last:?}"),
    };
    let otherwise = format!("calls {name} where it should not");
    proof.prove(path, &condition, &otherwise)?;

    let answer = proof.answer(path, name);
    let int = |index: usize, number| arguments[index].extract(0, 32).is_number(number);
    let is = |index: usize, number| arguments[index].is_number(number);
    let (text, fd) = match path.phase {
        Signalled(_, line) => (line, 2),
        Started => (VERSION, 1),
        _ => (WARNING, 2),
    };
    let length = text.len() as i64;
    let (wanted, otherwise) = match (name, path.phase, next) {
        ("write", ..) => (
            vec![int(0, fd), is(2, length)],
            format!("does not write the {length} bytes of {text:?}"),
        ),
        ("rt_sigaction", _, Taken(index)) => (
            vec![int(0, SIGNALS[index]), is(2, 0), is(3, 8)],
            format!("rt_sigaction is not ({}, action, NULL, 8)", SIGNALS[index]),
        ),
        ("wait4", ..) => (
            vec![int(0, -1), is(1, 0), int(2, 1), is(3, 0)],
            "wait4 is not (-1, NULL, WNOHANG, NULL)".to_owned(),
        ),
        ("ppoll", ..) => (
            [0, 1, 2, 3].map(|index| is(index, 0)).to_vec(),
            "ppoll is not (NULL, 0, NULL, NULL)".to_owned(),
        ),
        (_, last, Gone) => {
            let code = match last {
                Taken(index) => index as i64 + 1,
                Slept => 4,
                _ => 0,
            };
            (vec![int(0, code)], format!("does not exit with {code}"))
        }
        _ => (Vec::new(), String::new()),
    };
    proof.prove(path, &Term::all(wanted), &otherwise)?;
    match (name, next) {
        ("write", _) => says(proof, &arguments[1], text)?,
        (_, Taken(index)) => takes(proof, path, index, &arguments[1])?,
        _ => {}
    }
    (path.phase, path.answer) = (next, answer);
    Ok(())
}

/// Writes that text from there.
fn says(proof: &mut Proof, from: &Term, text: &str) -> Result<()> {
    let Some(("file", start)) = from.place() else {
        bail!("writes what is not in its file: {from}");
    };
    let written = proof.file(start, text.len() as i64)?;
    let written = String::from_utf8_lossy(&written);
    ensure!(written == text, "writes {written:?}, not {text:?}");
    Ok(())
}

/// Takes a signal: with its handler, which is then proved, or, the last, to ignore it.
fn takes(proof: &mut Proof, path: &mut Path, index: usize, action: &Term) -> Result<()> {
    let (platform, signal) = (proof.prover.platform, SIGNALS[index]);
    let mut field = |index: i64| proof.peek(path, &action.plus(index * platform.bytes()));
    let (handler, flags) = (field(0)?, field(1)?);
    let mask = field(2 + i64::from(platform.has_restorer))?;
    let (by, with, blocks) = (show(&handler), show(&flags), show(&mask));
    path.tell(&format!(
        "signal {signal}, handler {by}, flags {with}, mask {blocks}"
    ));
    // Of 32 bits, the mask's upper half is argc, and blocks real-time signals while it leaves: nobody
    // sends pause one, and it ends it as well.
    match (index, handler.place(), flags.known()) {
        // Two share their words: the flags may be the mask of the other action, whose bits are
        // SA_NOCLDWAIT, which goes without saying, and one that has no meaning.
        (2, Some(("", SIG_IGN)), Some(flags)) => {
            let is_right = flags == 0 || flags == MASK;
            ensure!(is_right, "ignores signal {signal} with flags {flags:#x}");
        }
        (0 | 1, Some(("file", handler)), Some(flags)) if flags == platform.sa_flags => {
            let is_right = mask.known() == Some(MASK);
            ensure!(is_right, "signal {signal} blocks {blocks}, not {MASK:#x}");
            proof.handlers.insert((LINES[index], handler));
        }
        _ => bail!("takes signal {signal} by handler {by} and flags {with}"),
    }
    Ok(())
}

/// A number or an address, in short.
fn show(term: &Term) -> String {
    match term.place() {
        Some(("", number)) => format!("{number:#x}"),
        Some((place, offset)) => format!("{place}{offset:+#x}"),
        None => "any number".to_owned(),
    }
}
