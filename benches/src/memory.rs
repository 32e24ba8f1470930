//! Memory: many processes of one program in a cgroup of their own.

use crate::{
    measure::{Spread, median},
    peers::Peer,
    process::{Process, children, is_asleep},
};
use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use procfs::process::Process as Proc;
use serde::{Deserialize, Serialize};
use std::{
    ffi::CString,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread::sleep,
    time::Duration,
};
use tests::{cgroup::Cgroup, wait_until};

/// Memory of one process in bytes, its child included if the program needs one.
#[derive(Clone, Serialize, Deserialize)]
pub struct Memory {
    /// Everything that the kernel charges to the cgroup.
    pub charged: Spread,
    /// The part charged since execve, without what fork gives any process.
    pub executed: Spread,
    /// The kernel's part of `charged`.
    pub kernel: f64,
    /// VmPTE (proc_pid_status(5)), which leaves out the top-level page table.
    pub page_tables: f64,
    /// RSS and PSS (proc_pid_smaps(5)).
    pub resident: f64,
    pub share: f64,
    /// Page faults until the process slept.
    pub faults: f64,
}

/// How many processes at once, and how often.
pub struct Plan {
    pub processes: usize,
    pub rounds: usize,
}

/// Measures one program.
///
/// # Errors
///
/// A process cannot be started.
pub fn measure(peer: &Peer, plan: &Plan) -> Result<Memory> {
    let rounds: Result<Vec<Memory>> = (0..plan.rounds)
        .map(|_| round(peer, plan.processes))
        .collect();
    let rounds = rounds?;
    let of = |field: fn(&Memory) -> f64| rounds.iter().map(field).collect::<Vec<_>>();
    Ok(Memory {
        charged: Spread::of(&of(|round| round.charged.median)),
        executed: Spread::of(&of(|round| round.executed.median)),
        kernel: median(&of(|round| round.kernel)),
        page_tables: median(&of(|round| round.page_tables)),
        resident: median(&of(|round| round.resident)),
        share: median(&of(|round| round.share)),
        faults: median(&of(|round| round.faults)),
    })
}

fn round(peer: &Peer, count: usize) -> Result<Memory> {
    let each = |total: u64| total as f64 / count as f64;
    let cgroup = Cgroup::new("memory");
    let mut holder = Holder::start(&peer.words(), None)?;
    // A new process joins its parent's cgroup.
    cgroup.add(holder.pid());
    let (charged, kernel, pids) = charge(&cgroup, &mut holder, count)?;
    let mut sum = [0; 4];
    for pid in &pids {
        sum[3] += Proc::new(pid.as_raw())?.stat()?.minflt;
        for pid in [*pid].into_iter().chain(children(*pid)) {
            let process = Proc::new(pid.as_raw())?;
            sum[0] += process.status()?.vmpte.context("no VmPTE")? * 1024;
            let maps = &process.smaps_rollup()?.memory_map_rollup.0[0];
            sum[1] += maps.extension.map["Rss"];
            sum[2] += maps.extension.map["Pss"];
        }
    }
    let [page_tables, resident, share, faults] = sum.map(each);
    drop((holder, cgroup));

    let cgroup = Cgroup::new("memory");
    let mut holder = Holder::start(&peer.words(), Some(&cgroup.door()))?;
    let (executed, _, _) = charge(&cgroup, &mut holder, count)?;
    Ok(Memory {
        charged: Spread::of(&[each(charged)]),
        executed: Spread::of(&[each(executed)]),
        kernel: each(kernel),
        page_tables,
        resident,
        share,
        faults,
    })
}

/// Holds `count` processes in a cgroup. Returns the bytes charged for them, the kernel's part of those,
/// and the processes.
fn charge(cgroup: &Cgroup, holder: &mut Holder, count: usize) -> Result<(u64, u64, Vec<Pid>)> {
    // The first processes cause charges that stay when they end. Those must not count.
    holder.hold(count / 10)?;
    holder.hold(0)?;
    // The kernel frees some memory with a delay.
    let settle = || sleep(Duration::from_millis(300));
    settle();
    let before = cgroup.charged();
    let pids = holder.hold(count)?;
    settle();
    sleep(cgroup.delay());
    let after = cgroup.charged();
    Ok((after.0 - before.0, after.1 - before.1, pids))
}

/// The process that runs [`hold`].
struct Holder(Child, BufReader<ChildStdout>);

impl Holder {
    /// Starts a holder of the program `words`.
    fn start(words: &[CString], door: Option<&Path>) -> Result<Self> {
        let mut holder = Command::new(std::env::current_exe()?);
        holder.arg("hold");
        if let Some(door) = door {
            holder.arg("--door").arg(door);
        }
        let words = words.iter().map(|word| word.to_str().unwrap());
        holder.arg("--").args(words);
        let mut holder = holder
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(holder.stdout.take().unwrap());
        Ok(Self(holder, output))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    /// Ends the processes held so far, starts `count` new ones, and waits until all of them sleep.
    fn hold(&mut self, count: usize) -> Result<Vec<Pid>> {
        writeln!(self.0.stdin.as_ref().unwrap(), "{count}")?;
        let mut line = String::new();
        self.1.read_line(&mut line)?;
        let pids: Vec<Pid> = line
            .split_whitespace()
            .map(|pid| Pid::from_raw(pid.parse().unwrap()))
            .collect();
        ensure!(
            pids.len() == count,
            "only {} of {count} processes were started",
            pids.len()
        );
        wait_until("asleep", || pids.iter().all(|pid| is_asleep(*pid)));
        Ok(pids)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        _ = self.1.read_to_string(&mut String::new());
        _ = self.0.wait();
    }
}

/// Reads numbers from standard input, one a line. For each, ends the processes held so far, starts that
/// many, and prints their process ids. `door` is the cgroup.procs file of the cgroup that they join
/// before execve.
///
/// # Errors
///
/// A line is not a number.
pub fn hold(words: &[CString], door: Option<&Path>) -> Result<()> {
    let door = door
        .map(|door| File::options().write(true).open(door))
        .transpose()?;
    let mut held = Vec::new();
    for line in std::io::stdin().lines() {
        let count: usize = line?.parse()?;
        held.clear();
        held.extend((0..count).map(|_| match &door {
            None => Process::start(words),
            Some(door) => Process::start_in(words, door),
        }));
        let pids: Vec<String> = held.iter().map(|process| process.0.to_string()).collect();
        println!("{}", pids.join(" "));
    }
    Ok(())
}
