//! Reaping: orphans, one after the other, in a PID namespace whose first process is the program.

use crate::{peers::Peer, process};
use anyhow::{Context, Result, ensure};
use nix::{libc, unistd::Pid};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::Read,
    process::{Child, Command, Stdio},
    thread::{self, available_parallelism, sleep},
    time::{Duration, Instant},
};
use tests::{
    sandbox::{Sandbox, clone},
    wait_until,
};

/// What so many orphans take.
#[derive(Clone, Serialize, Deserialize)]
pub struct Reaping {
    pub orphans: u64,
    /// Of the first process, per orphan: microseconds on a processor, and how often it went to sleep
    /// or was made to wait.
    pub ran: f64,
    pub sleeps: f64,
    pub preempted: f64,
    /// Microseconds for an orphan, from the first one's start to the last one's end.
    pub wall: f64,
    /// Zombies seen at most, by looking every millisecond, in a run of its own.
    pub zombies: u64,
}

/// How many orphans, where nothing else runs, where all processors are busy, and where zombies are
/// counted.
pub struct Plan {
    pub alone: u64,
    pub busy: u64,
    pub counted: u64,
}

/// Measures one program, alone and on a busy machine. Who does not reap gets fewer.
///
/// # Errors
///
/// Linux does not make as many.
pub fn measure(peer: &Peer, plan: &Plan) -> Result<[Reaping; 2]> {
    let few = if peer.reaps { u64::MAX } else { plan.counted };
    let zombies = count_zombies(peer, plan.counted)?;
    let alone = run(peer, plan.alone.min(few), zombies)?;
    let busy = Busy::start()?;
    let zombies = count_zombies(peer, plan.counted)?;
    let result = run(peer, plan.busy.min(few), zombies)?;
    drop(busy);
    Ok([alone, result])
}

fn run(peer: &Peer, orphans: u64, zombies: u64) -> Result<Reaping> {
    let sandbox = start(peer);
    let switches = |kind: &str| sandbox.status(kind).parse::<u64>().unwrap();
    let count = || {
        [
            process::run_time(sandbox.pid),
            switches("voluntary_ctxt_switches"),
            switches("nonvoluntary_ctxt_switches"),
        ]
    };
    let before = count();
    let start = Instant::now();
    let mut maker = make_orphans(&sandbox, orphans)?;
    wait_for(&mut maker)?;
    if peer.reaps {
        wait_until("all reaped", || zombies_of(sandbox.pid) == 0);
    }
    let wall = start.elapsed();
    let after = count();
    let each = |at: usize| (after[at] - before[at]) as f64 / orphans as f64;
    Ok(Reaping {
        orphans,
        ran: each(0) / 1e3,
        sleeps: each(1),
        preempted: each(2),
        wall: wall.as_nanos() as f64 / 1e3 / orphans as f64,
        zombies,
    })
}

fn count_zombies(peer: &Peer, orphans: u64) -> Result<u64> {
    let sandbox = start(peer);
    let mut maker = make_orphans(&sandbox, orphans)?;
    let mut most = 0;
    thread::scope(|scope| {
        let made = scope.spawn(|| wait_for(&mut maker));
        while !made.is_finished() {
            most = most.max(zombies_of(sandbox.pid));
            sleep(Duration::from_millis(1));
        }
        made.join().unwrap()
    })?;
    Ok(most.max(zombies_of(sandbox.pid)))
}

/// The program as the first process, asleep.
fn start(peer: &Peer) -> Sandbox {
    let sandbox = Sandbox::run(peer.words().into_iter().map(Vec::from));
    wait_until("asleep", || process::is_asleep(sandbox.pid));
    // Until what it has started sleeps as well.
    sleep(Duration::from_millis(50));
    sandbox
}

/// Children that have ended.
fn zombies_of(parent: Pid) -> u64 {
    let is_zombie = |pid: &Pid| {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    };
    let children = process::children(parent).into_iter();
    children.filter(is_zombie).count() as u64
}

/// Starts this program in the sandbox's namespace, to do [`orphans`] there.
fn make_orphans(sandbox: &Sandbox, count: u64) -> Result<Child> {
    let maker = Command::new("nsenter")
        .arg(format!("--target={}", sandbox.pid))
        .arg("--pid")
        .arg(std::env::current_exe()?)
        .args(["orphans", &count.to_string()])
        .stdout(Stdio::piped())
        .spawn();
    maker.context("nsenter")
}

/// Until all that have its output, which are its orphans too, have ended.
fn wait_for(maker: &mut Child) -> Result<()> {
    let mut said = String::new();
    maker
        .stdout
        .take()
        .context("no output")?
        .read_to_string(&mut said)?;
    ensure!(said == "done\n", "orphans: {said:?}");
    ensure!(maker.wait()?.success(), "nsenter failed");
    Ok(())
}

/// Becomes an orphan itself, and then the sibling of so many that end at once: each is a child of the
/// first process from its start (CLONE_PARENT, clone(2)).
pub fn orphans(count: u64) -> Result<()> {
    if clone(libc::SIGCHLD) != 0 {
        return Ok(());
    }
    // SAFETY: a system call.
    while unsafe { libc::getppid() } != 1 {
        sleep(Duration::from_micros(100));
    }
    for _ in 0..count {
        match clone(libc::CLONE_PARENT | libc::SIGCHLD) {
            // SAFETY: a system call.
            0 => unsafe { libc::_exit(0) },
            failed if failed < 0 => anyhow::bail!(std::io::Error::last_os_error()),
            _ => {}
        }
    }
    println!("done");
    Ok(())
}

/// Something to do for each processor, until it is dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Result<Self> {
        let exe = std::env::current_exe()?;
        let count = available_parallelism()?.get();
        let children = (0..count).map(|_| Command::new(&exe).arg("spin").spawn());
        Ok(Self(children.collect::<Result<_, _>>()?))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            _ = child.kill();
            _ = child.wait();
        }
    }
}
