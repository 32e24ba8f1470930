//! Memory: many of one program in a cgroup of their own.

use crate::{
    measure::{Spread, median},
    peers::Peer,
    process::{Process, children, faults, is_asleep},
};
use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::{
    ffi::CString,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread::sleep,
    time::Duration,
};
use tests::{cgroup::Cgroup, wait_until};

/// Memory of one process, in bytes, with the child that it has where it cannot be alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct Memory {
    /// All that its cgroup is charged for.
    pub charged: Spread,
    /// The same without what any process has, whatever it executes: charged since its execve.
    pub executed: Spread,
    /// The kernel's part of it.
    pub kernel: f64,
    /// Page tables: VmPTE (proc_pid_status(5)), which has not the topmost.
    pub page_tables: f64,
    /// Resident, all of it, and its share of what others have too (proc_pid_smaps(5)).
    pub resident: f64,
    pub share: f64,
    /// Page faults until it slept.
    pub faults: f64,
}

/// How many at once, and how often.
pub struct Plan {
    pub processes: usize,
    pub rounds: usize,
}

/// Measures one program.
///
/// # Errors
///
/// Linux does not start as many.
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
    // A new process is charged to the cgroup of its parent.
    cgroup.add(holder.pid());
    let (charged, kernel, pids) = charge(&cgroup, &mut holder, count)?;
    let mut sum = [0; 4];
    for pid in &pids {
        sum[3] += faults(*pid);
        for pid in [*pid].into_iter().chain(children(*pid)) {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            sum[0] += kilobytes(&status, "VmPTE:")?;
            let maps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            sum[1] += kilobytes(&maps, "Rss:")?;
            sum[2] += kilobytes(&maps, "Pss:")?;
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

/// What a cgroup is charged for when so many are held: all, and the kernel's part; and which they are.
fn charge(cgroup: &Cgroup, holder: &mut Holder, count: usize) -> Result<(u64, u64, Vec<Pid>)> {
    // What the first ones leave behind for those after them is charged before it counts.
    holder.hold(count / 10)?;
    holder.hold(0)?;
    // The kernel frees some of it later.
    let settle = || sleep(Duration::from_millis(300));
    settle();
    let before = cgroup.charged();
    let pids = holder.hold(count)?;
    settle();
    sleep(cgroup.delay());
    let after = cgroup.charged();
    Ok((after.0 - before.0, after.1 - before.1, pids))
}

/// A field that is told in kB, in bytes.
fn kilobytes(text: &str, field: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let value = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context(field.to_owned())?;
    Ok(value.parse::<u64>()? * 1024)
}

/// A process that starts others.
struct Holder(Child, BufReader<ChildStdout>);

impl Holder {
    /// Starts it, for this program, each of which goes into a cgroup by that door if there is one.
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

    /// Has it end those that it holds, start so many, and waits until all sleep.
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
            "{} of {count} were started",
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

/// What the holder does: for each line with a number, it ends what it holds, starts so many, and
/// tells their process ids.
///
/// # Errors
///
/// A line is no number.
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
