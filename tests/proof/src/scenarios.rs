//! What pause does, step by step, in each kind of case: the table of behaviour, to be run. Each line
//! is a case; its story is each system call that pause makes, with all that goes into it, and what
//! comes of it.

use crate::{
    Arch,
    machine::{Action, Answer, Call, Scenario, Start, Step},
};
use linux_raw_sys::{
    errno::*,
    general::{SA_NOCLDWAIT, SA_RESTORER, SIGCHLD, SIGINT, SIGTERM, STDERR_FILENO, STDOUT_FILENO},
};

const VERSION: &str = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");
const WARNING: &str = "Warning: pause should be the first process\n";
const INTERRUPTED: &str = "Shutting down, got signal: Interrupt\n";
const TERMINATED: &str = "Shutting down, got signal: Terminated\n";

/// SIGINT and SIGTERM, as a mask has them.
const BOTH: u64 = 1 << (SIGINT - 1) | 1 << (SIGTERM - 1);

/// The words that the stories are told in, for one architecture.
pub struct Teller {
    arch: Arch,
}

fn step(call: Call, answer: Answer) -> Step {
    Step { call, answer }
}

/// An error, as a system call returns it.
fn failed(error: u32) -> i64 {
    -i64::from(error)
}

impl Teller {
    /// It asks for its process id.
    fn is(&self, pid: i64) -> Step {
        step(Call::Getpid, Answer::Returns(pid))
    }

    fn writes(&self, file: u32, text: &str, answer: Answer) -> Step {
        let text = text.to_owned();
        step(Call::Write { file, text }, answer)
    }

    /// It warns, and that much is written.
    fn warns(&self, written: i64) -> Step {
        self.writes(STDERR_FILENO, WARNING, Answer::Returns(written))
    }

    /// It tells its version, of which that much is written.
    fn tells_version(&self, written: i64) -> Step {
        self.writes(STDOUT_FILENO, VERSION, Answer::Returns(written))
    }

    /// It says which signal came, of which that much is written.
    fn says(&self, text: &str, written: i64) -> Step {
        self.writes(STDERR_FILENO, text, Answer::Returns(written))
    }

    fn shut_down(&self) -> Action {
        let flags = match self.arch {
            Arch::Amd64 => SA_RESTORER.into(),
            Arch::Arm64 => 0,
        };
        Action::Handle { flags, mask: BOTH }
    }

    /// It takes SIGINT or SIGTERM.
    fn takes(&self, signal: u32, answer: Answer) -> Step {
        let action = self.shut_down();
        step(Call::Action { signal, action }, answer)
    }

    /// It ignores SIGCHLD. The mask's bits are flags here.
    fn ignores_children(&self, answer: Answer) -> Step {
        assert_eq!(BOTH & !u64::from(SA_NOCLDWAIT), 0x4000);
        let action = Action::Ignore { flags: BOTH };
        let signal = SIGCHLD;
        step(Call::Action { signal, action }, answer)
    }

    /// It takes a zombie, or there is none.
    fn waits(&self, pid: i64) -> Step {
        step(Call::Wait, Answer::Returns(pid))
    }

    fn sleeps(&self, answer: Answer) -> Step {
        step(Call::Sleep, answer)
    }

    /// It sleeps until a signal comes. (The kernel restarts the call where no handler is run.)
    fn sleeps_until(&self, signal: u32) -> Step {
        self.sleeps(Answer::Interrupted(failed(EINTR), signal))
    }

    fn leaves(&self, code: u32) -> Step {
        step(Call::Exit(code), Answer::Ends)
    }

    /// All actions are taken.
    fn acts(&self) -> Vec<Step> {
        let done = Answer::Returns(0);
        vec![
            self.takes(SIGINT, done),
            self.takes(SIGTERM, done),
            self.ignores_children(done),
        ]
    }

    /// It starts as the first process, with no child.
    fn starts(&self) -> Vec<Step> {
        let mut story = vec![self.is(1)];
        story.extend(self.acts());
        story.push(self.waits(failed(ECHILD)));
        story
    }

    /// It was told to leave.
    pub fn ends(&self, signal: u32) -> Vec<Step> {
        let text = if signal == SIGINT {
            INTERRUPTED
        } else {
            TERMINATED
        };
        vec![self.says(text, text.len() as i64), self.leaves(0)]
    }

    /// It starts, sleeps, and is told to leave.
    fn lives(&self) -> Vec<Step> {
        let end = self.ends(SIGTERM);
        [self.starts(), vec![self.sleeps_until(SIGTERM)], end].concat()
    }
}

fn words(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

/// The words for the stories of that architecture.
pub fn teller(arch: Arch) -> Teller {
    Teller { arch }
}

/// All cases. The first ones are those that most breakages change.
pub fn all(arch: Arch) -> Vec<Scenario> {
    let t = &teller(arch);
    let mut table = Vec::new();
    let mut case = |name: &str, arguments: &[&[u8]], story: Vec<Step>| {
        table.push(Scenario {
            name: name.to_owned(),
            arguments: words(arguments),
            environment: words(&[b"PATH=/", b"-v"]),
            start: Start::Any,
            story,
        });
    };
    let plain: &[&[u8]] = &[b"/pause"];

    // --- The first process, and what ends it -----------------------------------------------------
    case("leaves on SIGTERM", plain, t.lives());
    let story = [t.starts(), vec![t.sleeps_until(SIGINT)], t.ends(SIGINT)];
    case("leaves on SIGINT", plain, story.concat());

    // --- Its version -----------------------------------------------------------------------------
    let told = || vec![t.tells_version(VERSION.len() as i64), t.leaves(0)];
    case("-v", &[b"/pause", b"-v"], told());
    case("-V", &[b"/pause", b"-V"], told());
    case(
        "-v, last",
        &[b"/pause", b"", b"sleep", b"-vv", b"-v"],
        told(),
    );
    case("-V, in between", &[b"/pause", b"x", b"-V", b"--"], told());
    case(
        "-v, before a byte of ones",
        &[b"/pause", b"-v", b"\xff"],
        told(),
    );
    for written in [
        0,
        5,
        failed(EIO),
        failed(EPIPE),
        failed(EINTR),
        failed(EBADF),
    ] {
        let story = vec![t.tells_version(written), t.leaves(0)];
        let name = format!("-v, and writing it returns {written}");
        case(&name, &[b"/pause", b"-v"], story);
    }

    // --- No version ------------------------------------------------------------------------------
    case("a name that is a flag", &[b"-v"], t.lives());
    case("an empty name", &[b""], t.lives());
    for argument in [
        &b""[..],
        b"-",
        b"v",
        b"V",
        b"-v-",
        b"--v",
        b"-vv",
        b"-vV",
        b" -v",
        b"-v ",
        b"-v\x01",
        b"--",
        b"-V\xff",
        b"version",
        b"\x01",
        b"\xff\xff\xff\xff",
        b"-v=",
        b"\x2d\x76\x80",
    ] {
        let name = format!("the argument {:?}", String::from_utf8_lossy(argument));
        case(&name, &[b"/pause", argument], t.lives());
    }
    // Each that is one bit away from the flag, but for -V itself.
    for flag in [b"-v", b"-V"] {
        for bit in 0..16 {
            let mut argument = *flag;
            argument[bit / 8] ^= 1 << (bit % 8);
            if !argument.contains(&0) && ![b"-v", b"-V"].contains(&&argument) {
                let name = format!("the argument {argument:x?}, a bit away from the flag");
                case(&name, &[b"/pause", &argument], t.lives());
            }
        }
    }
    // Each that goes on for a letter of one bit.
    for bit in 0..8 {
        let argument = [b'-', b'v', 1 << bit];
        let name = format!("the argument -v and a byte of bit {bit}");
        case(&name, &[b"/pause", &argument], t.lives());
    }
    case("many arguments", &[&b"-x"[..]; 40], t.lives());

    // --- Not the first process -------------------------------------------------------------------
    for pid in [2, 0, 3, 257, 65537, 4_194_304, i64::from(i32::MAX)] {
        let mut story = t.lives();
        story[0] = t.is(pid);
        story.insert(1, t.warns(WARNING.len() as i64));
        case(&format!("process {pid}"), plain, story);
    }
    for written in [
        0,
        1,
        failed(EPIPE),
        failed(EIO),
        failed(EAGAIN),
        failed(EINTR),
    ] {
        let mut story = t.lives();
        story[0] = t.is(7);
        story.insert(1, t.warns(written));
        let name = format!("process 7, and writing the warning returns {written}");
        case(&name, plain, story);
    }

    // --- Actions that are refused ----------------------------------------------------------------
    for error in [EINVAL, EPERM, ENOSYS, EFAULT] {
        let refused = Answer::Returns(failed(error));
        let steps = [
            t.takes(SIGINT, refused),
            t.takes(SIGTERM, refused),
            t.ignores_children(refused),
        ];
        for (place, step) in steps.into_iter().enumerate() {
            let code = place as u32 + 1;
            let mut story = t.starts()[..=place].to_vec();
            story.extend([step, t.leaves(code)]);
            case(
                &format!("action {code} is refused with {error}"),
                plain,
                story,
            );
        }
    }

    // --- Zombies from before ---------------------------------------------------------------------
    for pids in [
        &[0][..],
        &[5, failed(ECHILD)],
        &[5, 6, 7, 0],
        &[1, failed(EINTR)],
        &[i64::from(i32::MAX), failed(ENOSYS)],
        &[4_194_304, 128, 256, 65536, failed(EPERM)],
    ] {
        let mut story = t.starts();
        story.pop();
        story.extend(pids.iter().map(|pid| t.waits(*pid)));
        story.push(t.sleeps_until(SIGTERM));
        story.extend(t.ends(SIGTERM));
        case(&format!("wait4 returns {pids:?}"), plain, story);
    }

    // --- A sleep that ends -----------------------------------------------------------------------
    let interrupted = t.sleeps(Answer::Returns(failed(EINTR)));
    let story = [
        t.starts(),
        vec![interrupted; 3],
        vec![t.sleeps_until(SIGINT)],
        t.ends(SIGINT),
    ];
    case("sleeps again after EINTR", plain, story.concat());
    for error in [
        EPERM, ENOSYS, EACCES, EAGAIN, ENOMEM, EFAULT, EINVAL, EIO, EXDEV, ESRCH,
    ] {
        let sleep = t.sleeps(Answer::Returns(failed(error)));
        let story = [t.starts(), vec![sleep, t.leaves(4)]].concat();
        case(&format!("may not sleep: {error}"), plain, story);
    }
    // No kernel has that: it is no interruption.
    let sleep = t.sleeps(Answer::Returns(0));
    let story = [t.starts(), vec![sleep, t.leaves(4)]].concat();
    case("its sleep returns 0", plain, story);
    let mut story = t.starts();
    story.insert(4, t.waits(9));
    story.extend([t.sleeps(Answer::Returns(failed(EPERM))), t.leaves(4)]);
    case("there was a zombie, and it may not sleep", plain, story);

    // --- Signals that come before it sleeps ------------------------------------------------------
    for (place, signal) in [
        (1, SIGINT),
        (2, SIGTERM),
        (2, SIGINT),
        (3, SIGTERM),
        (4, SIGINT),
    ] {
        let mut story = t.starts()[..=place].to_vec();
        let Answer::Returns(value) = story[place].answer else {
            unreachable!("all of them return");
        };
        story[place].answer = Answer::Interrupted(value, signal);
        story.extend(t.ends(signal));
        case(
            &format!("signal {signal} comes with call {place}"),
            plain,
            story,
        );
    }
    let mut story = t.starts()[..=1].to_vec();
    // Its handler is not there yet, and the first process is spared what it does not handle.
    story[1].answer = Answer::Interrupted(0, SIGTERM);
    story.extend(t.lives()[2..].to_vec());
    case("SIGTERM comes before it is taken", plain, story);

    // --- The last line ---------------------------------------------------------------------------
    for (signal, other, text) in [
        (SIGINT, SIGTERM, INTERRUPTED),
        (SIGTERM, SIGINT, TERMINATED),
    ] {
        let asleep = [t.starts(), vec![t.sleeps_until(signal)]].concat();
        for written in [
            0,
            1,
            37,
            failed(EPIPE),
            failed(EIO),
            failed(EAGAIN),
            failed(EINTR),
        ] {
            let end = vec![t.says(text, written), t.leaves(0)];
            let name = format!("signal {signal}, and writing the line returns {written}");
            case(&name, plain, [asleep.clone(), end].concat());
        }
        for next in [other, signal] {
            let written = Answer::Interrupted(text.len() as i64, next);
            let end = vec![t.writes(STDERR_FILENO, text, written), t.leaves(0)];
            let name = format!("signal {next} comes while it says that signal {signal} came");
            case(&name, plain, [asleep.clone(), end].concat());
        }
    }
    let child = Answer::Interrupted(failed(EINTR), SIGCHLD);
    let story = [
        t.starts(),
        vec![t.sleeps(child), t.sleeps_until(SIGTERM)],
        t.ends(SIGTERM),
    ];
    case("no handler is there for SIGCHLD", plain, story.concat());
    // --- What only Linux before 5.18 starts: no arguments, not even a name -------------------------
    // Its environment is then taken for them.
    for (name, environment, story) in [
        ("nothing at all", words(&[]), t.lives()),
        ("no name", words(&[b"PATH=/", b"HOME=/"]), t.lives()),
        (
            "no name, and -v for a variable",
            words(&[b"-", b"-v"]),
            told(),
        ),
    ] {
        table.push(Scenario {
            name: name.to_owned(),
            arguments: vec![],
            environment,
            start: Start::Any,
            story,
        });
    }

    // --- Elsewhere in memory, or with other registers ----------------------------------------------
    for (start, name) in [
        (Start::Zeros, "leaves on SIGTERM"),
        (Start::Zeros, "leaves on SIGINT"),
        (Start::Zeros, "-v"),
        (Start::Zeros, "-V"),
        (Start::Zeros, "process 2"),
        (Start::RoundArgument, "-v"),
        (Start::RoundArgument, "-V"),
        (Start::RoundArgument, "the argument \"-vv\""),
        (Start::RoundStack, "action 1 is refused with 22"),
        (Start::RoundStack, "action 2 is refused with 22"),
        (Start::RoundStack, "action 3 is refused with 22"),
    ] {
        let of_that_name = table.iter().find(|it| it.name == name);
        let mut scenario = of_that_name.expect("the table has it").clone();
        scenario.start = start;
        scenario.name = format!("{name}, {start:?}");
        table.push(scenario);
    }
    table
}
