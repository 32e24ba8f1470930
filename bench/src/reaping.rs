//! Reaping: orphans end one after the other in a PID namespace whose PID 1 is the program.

use crate::{
    peers::Peer,
    process::{self, Process},
};
use anyhow::{Context, Result, ensure};
use engines::{Sandbox, clone, wait_until};
use nix::{
    libc,
    unistd::{Pid, getppid},
};
use procfs::process::Process as Proc;
use serde::{Deserialize, Serialize};
use std::{
    ffi::CStr,
    io::Read,
    process::{Child, Command, Stdio},
    thread::{self, available_parallelism, sleep},
    time::{Duration, Instant},
};

/// What reaping costs.
#[derive(Clone, Serialize, Deserialize)]
pub struct Reaping {
    pub orphans: u64,
    /// Of PID 1, per orphan: CPU time in microseconds, sleeps, and preemptions.
    pub ran: f64,
    pub sleeps: f64,
    pub preempted: f64,
    /// Elapsed microseconds per orphan, from the first start to the last end.
    pub wall: f64,
    /// The most zombies at once, from a separate run that counts them every millisecond.
    pub zombies: u64,
}

/// The numbers of orphans: on an idle machine, on a busy one, and in the runs that count zombies.
pub struct Plan {
    pub alone: u64,
    pub busy: u64,
    pub counted: u64,
}

/// Measures one program, alone and on a busy machine. One that does not reap gets fewer orphans.
///
/// # Errors
///
/// The orphans cannot be created.
pub fn measure(peer: &Peer, plan: &Plan) -> Result<[Reaping; 2]> {
    let few = if peer.reaps { u64::MAX } else { plan.counted };
    let zombies = count_zombies(peer, plan.counted)?;
    let alone = run(peer, plan.alone.min(few), zombies)?;
    let spin = [c"/bin/sh", c"-c", c"while :; do :; done"].map(CStr::to_owned);
    let cpus = available_parallelism()?.get();
    let _spinning: Vec<Process> = (0..cpus).map(|_| Process::start(&spin)).collect();
    let zombies = count_zombies(peer, plan.counted)?;
    let busy = run(peer, plan.busy.min(few), zombies)?;
    Ok([alone, busy])
}

fn run(peer: &Peer, orphans: u64, zombies: u64) -> Result<Reaping> {
    let sandbox = start(peer);
    let program = Proc::new(sandbox.pid.as_raw())?;
    let switches = |kind: &str| sandbox.status(kind).parse::<u64>().unwrap();
    let count = || {
        [
            program.schedstat().unwrap().sum_exec_runtime,
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

/// Starts the program as PID 1, and waits until it and its children sleep.
fn start(peer: &Peer) -> Sandbox {
    let sandbox = Sandbox::run(peer.words().into_iter().map(Vec::from));
    wait_until("asleep", || process::is_asleep(sandbox.pid));
    // For its children.
    sleep(Duration::from_millis(50));
    sandbox
}

/// How many children of a process are zombies.
fn zombies_of(parent: Pid) -> u64 {
    let stats = process::children(parent).into_iter();
    let stats = stats.filter_map(|pid| Proc::new(pid.as_raw()).ok()?.stat().ok());
    let zombies = stats.filter(|stat| stat.state == 'Z');
    zombies.count() as u64
}

/// Starts a process in the sandbox's namespace that calls [`orphans`].
fn make_orphans(sandbox: &Sandbox, count: u64) -> Result<Child> {
    let maker = Command::new("nsenter")
        .arg(format!("--target={}", sandbox.pid))
        .arg("--pid")
        .arg(std::env::current_exe()?)
        .args(["--orphans", &count.to_string()])
        .stdout(Stdio::piped())
        .spawn();
    maker.context("nsenter")
}

/// Waits until the maker and its orphans have ended: they all share its output.
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

/// Becomes an orphan, then starts `count` siblings that exit at once. Each is a child of PID 1 from its
/// start (CLONE_PARENT, clone(2)).
///
/// # Errors
///
/// clone(2) fails.
pub fn orphans(count: u64) -> Result<()> {
    if clone(libc::SIGCHLD) != 0 {
        return Ok(());
    }
    while getppid() != Pid::from_raw(1) {
        sleep(Duration::from_micros(100));
    }
    for _ in 0..count {
        match clone(libc::CLONE_PARENT | libc::SIGCHLD) {
            // SAFETY: ends the process, and does nothing else.
            0 => unsafe { libc::_exit(0) },
            failed if failed < 0 => anyhow::bail!(std::io::Error::last_os_error()),
            _ => {}
        }
    }
    println!("done");
    Ok(())
}
