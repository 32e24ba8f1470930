//! Start, memory and reaping of a program.

use crate::Peer;
use anyhow::{Context, Result};
use engines::{Sandbox, cgroup::Cgroup, clone, program::Platform, wait_for, wait_until};
use nix::{
    libc,
    sched::CloneFlags,
    unistd::{Pid, getppid},
};
use std::{
    fs,
    path::Path,
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

/// The median and the quartiles on both sides of it.
#[derive(Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// The spread of at least one value.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |part: f64| values[((values.len() - 1) as f64 * part).round() as usize];
        Self {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        }
    }
}

/// What reaping costs PID 1, per orphan.
pub struct Reaping {
    /// CPU time in microseconds.
    pub cpu: f64,
    pub wakeups: f64,
}

/// Microseconds from start to exit of each program that prints its version. The programs take turns.
pub fn start(peers: &[Peer], rounds: usize) -> Vec<Spread> {
    let once = |peer: &Peer| {
        let mut command = peer.command(&[peer.2]);
        let start = Instant::now();
        command.spawn().unwrap().wait().unwrap();
        start.elapsed().as_nanos() as f64 / 1e3
    };
    let mut samples = vec![Vec::new(); peers.len()];
    for round in 0..rounds {
        for turn in 0..peers.len() {
            let at = (round + turn) % peers.len();
            // The first fills the caches, which another program has used since.
            once(&peers[at]);
            samples[at].push(once(&peers[at]));
        }
    }
    samples.into_iter().map(Spread::of).collect()
}

/// Bytes that the kernel charges a memory cgroup for one process of a program: so many processes at once, so
/// many times.
///
/// # Errors
///
/// A program cannot be started.
pub fn memory(peer: &Peer, processes: usize, rounds: usize) -> Result<Spread> {
    let round = || {
        let cgroup = Cgroup::new("memory");
        let hold = |count| within(&cgroup, || Held::start(peer, count));
        // The first processes cause charges that stay when they end. Those must not count.
        drop(hold(processes / 10)?);
        // The kernel frees some memory with a delay.
        let settle = || sleep(Duration::from_millis(300));
        settle();
        let before = cgroup.charged();
        let held = hold(processes)?;
        settle();
        let charged = cgroup.charged() - before;
        drop(held);
        anyhow::Ok(charged as f64 / processes as f64)
    };
    let samples = (0..rounds).map(|_| round());
    Ok(Spread::of(samples.collect::<Result<_>>()?))
}

/// Runs `start` while this process is in the cgroup, which is then charged for children from fork on.
fn within(cgroup: &Cgroup, start: impl FnOnce() -> Result<Held>) -> Result<Held> {
    let door = cgroup.door();
    // cgroup v2 has one line without a controller.
    let all = fs::read_to_string("/proc/self/cgroup")?;
    let own = all.lines().find(|it| it.contains(":memory:"));
    let (_, own) = own
        .or(all.lines().last())
        .and_then(|it| it.split_once(":/"))
        .context("no cgroup")?;
    let root = door.ancestors().nth(2).context("no cgroups")?;
    let back = root.join(own).join("cgroup.procs");
    fs::write(&door, "0")?;
    let held = start();
    fs::write(back, "0")?;
    held
}

/// Processes that sleep. Drop ends them.
struct Held(Vec<Child>);

impl Held {
    fn start(peer: &Peer, count: usize) -> Result<Self> {
        let mut command = peer.command(peer.1);
        let held = (0..count).map(|_| command.spawn());
        let held = Self(held.collect::<Result<_, _>>()?);
        wait_until("asleep", || {
            held.0.iter().all(|it| is_asleep("/proc".as_ref(), it.id()))
        });
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Whether a process waits in a system call other than execve (proc_pid_syscall(5)).
pub fn is_asleep(proc: &Path, pid: u32) -> bool {
    let call = fs::read_to_string(proc.join(format!("{pid}/syscall"))).unwrap_or_default();
    let call = call.split(' ').next().unwrap().parse::<libc::c_long>();
    call.is_ok_and(|it| it >= 0 && it != libc::SYS_execve)
}

/// Measures what so many orphans cost a program that is PID 1.
///
/// # Errors
///
/// /proc lacks a file.
pub fn reaping(peer: &Peer, orphans: u64) -> Result<Reaping> {
    let path = peer.path(Platform::native());
    let words = [path.to_str().context("a path that is no text")?].into_iter();
    let words = words.chain(peer.1.iter().copied());
    let sandbox = Sandbox::run_in(CloneFlags::CLONE_NEWPID, words, || {});
    let pid = sandbox.pid.as_raw().cast_unsigned();
    wait_until("asleep", || is_asleep("/proc".as_ref(), pid));
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
    let count = || {
        // CPU time in nanoseconds comes first (Documentation/scheduler/sched-stats.rst in Linux).
        let times = read("schedstat")?;
        let cpu: u64 = times.split(' ').next().unwrap_or_default().parse()?;
        anyhow::Ok([cpu, sandbox.sleeps()])
    };
    let before = count()?;
    sandbox.enter(|| leave(orphans));
    let children = format!("task/{pid}/children"); // zombies included (proc_tid_children(5))
    let all_reaped = || read(&children).is_ok_and(|it| it.is_empty());
    wait_for(Duration::from_secs(600), "reaped", all_reaped);
    let after = count()?;
    let each = |at: usize| (after[at] - before[at]) as f64 / orphans as f64;
    Ok(Reaping {
        cpu: each(0) / 1e3,
        wakeups: each(1),
    })
}

/// Leaves a child that, once an orphan, starts `orphans` siblings which exit at once: children of PID 1 from
/// their start (CLONE_PARENT, clone(2)). Makes system calls and no more.
fn leave(orphans: u64) {
    if clone(libc::SIGCHLD) != 0 {
        return;
    }
    // SAFETY: system calls.
    unsafe {
        while getppid() != Pid::from_raw(1) {
            libc::usleep(100);
        }
        for _ in 0..orphans {
            let mut child = -1;
            // The kernel may refuse until PID 1 has reaped some.
            while child < 0 {
                child = clone(libc::CLONE_PARENT | libc::SIGCHLD);
            }
            if child == 0 {
                libc::_exit(0);
            }
        }
        libc::_exit(0);
    }
}
