//! What is proved, call by call. `docs/proof.md` says it in words, with what is assumed of Linux.

use crate::{
    explore::{Path, Proof},
    term::Term,
};
use anyhow::{Context, Result, bail, ensure};
use std::iter::zip;

pub const VERSION: &str = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");
pub const WARNING: &str = "Warning: pause should be the first process\n";
/// The signals that shut pause down, with their lines, in the order of `SIGNALS`.
pub const LINES: [(i64, &str); 2] = [
    (2, "Shutting down, got signal: Interrupt\n"),
    (15, "Shutting down, got signal: Terminated\n"),
];
/// SIGINT, SIGTERM and SIGCHLD, in the order of the calls of `rt_sigaction`.
const SIGNALS: [i64; 3] = [2, 15, 17];
/// The signals that are blocked in the handler: SIGINT and SIGTERM.
const MASK: u64 = 1 << 1 | 1 << 14;
const SIG_IGN: i64 = 1;
const EINTR: i64 = 4;
const WNOHANG: i64 = 1;
/// The bytes below the first stack pointer that pause may use.
pub const ROOM: i64 = 256;

/// How far the program has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// It looks at its arguments.
    Started,
    /// `getpid` answered.
    Asked,
    /// It warned that it is not the first process.
    Warned,
    /// `rt_sigaction` answered for this signal of `SIGNALS`.
    Taken(usize),
    /// `wait4` answered.
    Reaped,
    /// `pause` answered.
    Slept,
    /// This signal was delivered, which has this line.
    Signalled(i64, &'static str),
    /// It wrote its last line.
    Leaving,
    Gone,
}
use Phase::{Asked, Gone, Leaving, Reaped, Signalled, Slept, Started, Taken, Warned};

/// What an argument of a system call must be.
#[derive(Clone, Copy, Debug)]
enum Argument {
    Any,
    Int(i64),
    Word(i64),
}
use Argument::{Any, Int, Word};

/// What must be true for a loop to go around: of the last answer or, at the start, that the argument is
/// there and is neither `-v` nor `-V`.
pub fn again(path: &Path) -> Option<Term> {
    match path.phase {
        Started => Some(path.argument(0).is_number(0).or(&path.is_flag()).not()),
        Reaped => Some(path.answer.is_less(1).not()),
        Slept => Some(path.answer.is_number(-EINTR)),
        _ => None,
    }
}

/// Sees that the kernel can deliver a signal before the next instruction: it writes its frame below the
/// stack pointer, so that this must lie where it may, and be aligned as the ABI has it.
pub fn signal(path: &Path) -> Result<()> {
    let (platform, room) = (path.platform, -ROOM..=path.end);
    let stack = &path.registers[platform.stack()];
    let may_be = |at| room.contains(&at) && at % platform.stack_step == 0;
    let is_right = matches!(stack.place(), Some(("stack", at)) if may_be(at));
    let stack = show(stack);
    ensure!(is_right, "no signal can come: the stack pointer is {stack}");
    Ok(())
}

/// Proves that a system call is the one that must come now, and moves on to the next phase.
pub fn call(proof: &mut Proof) -> Result<()> {
    let path = &mut proof.path;
    let platform = path.platform;
    let [number, arguments @ .., _, _] = platform.call.map(|it| path.registers[it].clone());
    let number = number.known();
    let number = number.context("makes a system call whose number is open")?;
    let call = platform.calls().find(|it| it.1 == number);
    let (name, _) = call.with_context(|| format!("makes system call {number}"))?;
    proof.found.calls.insert(name);
    path.tell(name);

    let (text, fd) = match path.phase {
        Signalled(_, line) => (line, 2),
        Started => (VERSION, 1),
        _ => (WARNING, 2),
    };
    let write = [Int(fd), Any, Word(text.len() as i64), Any];
    let take = |index: usize| [Int(SIGNALS[index]), Any, Word(0), Word(8)];
    let reap = [Int(-1), Word(0), Int(WNOHANG), Word(0)];
    let sleep = [if name == "ppoll" { Word(0) } else { Any }; 4];
    let exit = |code| [Int(code), Any, Any, Any];
    let again = again(path).unwrap_or(Term::truth(true));
    let (answer, always) = (&path.answer, Term::truth(true));
    let has_argument = path.argument(0).is_number(0).not();
    // The condition on which this call must come, and no other; the next phase; the arguments.
    let (condition, next, wanted) = match (name, path.phase) {
        ("getpid", Started) => (has_argument.not(), Asked, [Any; 4]),
        ("write", Started) => (has_argument.and(&path.is_flag()), Leaving, write),
        ("write", Asked) => (answer.is_number(1).not(), Warned, write),
        ("write", Signalled(..)) => (always, Leaving, write),
        ("rt_sigaction", Asked) => (answer.is_number(1), Taken(0), take(0)),
        ("rt_sigaction", Warned) => (always, Taken(0), take(0)),
        ("rt_sigaction", Taken(0)) => (answer.is_number(0), Taken(1), take(1)),
        ("rt_sigaction", Taken(1)) => (answer.is_number(0), Taken(2), take(2)),
        ("wait4", Taken(2)) => (answer.is_number(0), Reaped, reap),
        ("wait4", Reaped) => (again, Reaped, reap),
        ("pause" | "ppoll", Reaped) => (again.not(), Slept, sleep),
        ("pause" | "ppoll", Slept) => (again, Slept, sleep),
        ("exit_group", Taken(last)) => (answer.is_number(0).not(), Gone, exit(last as i64 + 1)),
        ("exit_group", Slept) => (again.not(), Gone, exit(4)),
        ("exit_group", Leaving) => (always, Gone, exit(0)),
        (_, last) => bail!("calls {name} where it is {last:?}"),
    };
    proof.prove(&condition, &format!("calls {name} where it should not"))?;
    let answer = proof.path.answer(name);
    let is_right = Term::all(zip(&arguments, wanted).map(|(it, wanted)| match wanted {
        Any => Term::truth(true),
        Int(number) => it.extract(0, 32).is_number(number),
        Word(number) => it.is_number(number),
    }));
    let otherwise = match name {
        "write" => format!("does not write the {} bytes of {text:?}", text.len()),
        _ => format!("does not call {name} with {wanted:?}"),
    };
    proof.prove(&is_right, &otherwise)?;
    match (name, next) {
        ("write", _) => writes(proof, &arguments[1], text)?,
        (_, Taken(index)) => takes(proof, index, &arguments[1])?,
        _ => {}
    }
    (proof.path.phase, proof.path.answer) = (next, answer);
    Ok(())
}

/// Sees that the text lies where the program writes from.
fn writes(proof: &mut Proof, from: &Term, text: &str) -> Result<()> {
    let Some(("file", start)) = from.place() else {
        bail!("writes what is not in its file: {from}");
    };
    let written = proof.file(start, text.len() as i64)?;
    let written = String::from_utf8_lossy(&written);
    ensure!(written == text, "writes {written:?}, not {text:?}");
    Ok(())
}

/// Sees that the action is right: SIGINT and SIGTERM have a handler, which is proved later; SIGCHLD is
/// ignored.
fn takes(proof: &mut Proof, index: usize, action: &Term) -> Result<()> {
    let path = &mut proof.path;
    let (platform, signal) = (path.platform, SIGNALS[index]);
    let mut field = |index: i64| path.peek(&action.plus(index * platform.bytes()));
    let (handler, flags) = (field(0)?, field(1)?);
    let mask = field(if platform.no_restorer { 2 } else { 3 })?;
    let (by, with, blocks) = (show(&handler), show(&flags), show(&mask));
    path.tell(&format!(
        "signal {signal}, handler {by}, flags {with}, mask {blocks}"
    ));
    // Where words have 32 bits, argc is the mask's upper half: it blocks real-time signals while the
    // handler runs. Nobody sends pause one, and each would end it as well.
    match (index, handler.place(), flags.known()) {
        // Two actions share words, so that these flags may be the other's mask. Linux reads that as
        // SA_NOCLDWAIT, which ignoring implies, and a bit without a meaning.
        (2, Some(("", SIG_IGN)), Some(0 | MASK)) => {}
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
