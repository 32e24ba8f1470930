//! Memory: many processes of one program in a cgroup of their own.

use crate::{
    measure::{Spread, median},
    peers::Peer,
    process::{Process, children, is_asleep},
};
use anyhow::{Context, Result};
use engines::{cgroup::Cgroup, wait_until};
use procfs::{ProcessCGroup, process::Process as Proc};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    path::PathBuf,
    thread::sleep,
    time::Duration,
};

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

/// Measures one program: so many processes at once, so many times.
///
/// # Errors
///
/// A process cannot be started.
pub fn measure(peer: &Peer, processes: usize, rounds: usize) -> Result<Memory> {
    let rounds: Result<Vec<_>> = (0..rounds).map(|_| round(peer, processes)).collect();
    let rounds = rounds?;
    let of = |field: usize| rounds.iter().map(|round| round[field]).collect::<Vec<_>>();
    Ok(Memory {
        charged: Spread::of(&of(0)),
        executed: Spread::of(&of(1)),
        kernel: median(&of(2)),
        page_tables: median(&of(3)),
        resident: median(&of(4)),
        share: median(&of(5)),
        faults: median(&of(6)),
    })
}

/// One value for each field of [`Memory`], in its order.
fn round(peer: &Peer, count: usize) -> Result<[f64; 7]> {
    let each = |total: u64| total as f64 / count as f64;
    let words = peer.words();
    let cgroup = Cgroup::new("memory");
    let start = |count| {
        let _inside = Inside::enter(&cgroup)?;
        Ok((0..count).map(|_| Process::start(&words)).collect())
    };
    let (charged, kernel, held) = charge(&cgroup, count, start)?;
    let mut sum = [0; 4];
    for process in &held {
        let pid = process.0;
        sum[3] += Proc::new(pid.as_raw())?.stat()?.minflt;
        for pid in [pid].into_iter().chain(children(pid)) {
            let process = Proc::new(pid.as_raw())?;
            sum[0] += process.status()?.vmpte.context("no VmPTE")? * 1024;
            let maps = &process.smaps_rollup()?.memory_map_rollup.0[0];
            sum[1] += maps.extension.map["Rss"];
            sum[2] += maps.extension.map["Pss"];
        }
    }
    let [page_tables, resident, share, faults] = sum.map(each);
    drop((held, cgroup));

    let cgroup = Cgroup::new("memory");
    let door = File::options().write(true).open(cgroup.door())?;
    let start = |count| {
        let started = (0..count).map(|_| Process::start_in(&words, &door));
        Ok(started.collect())
    };
    let (executed, _, _) = charge(&cgroup, count, start)?;
    let [charged, executed, kernel] = [charged, executed, kernel].map(each);
    Ok([
        charged,
        executed,
        kernel,
        page_tables,
        resident,
        share,
        faults,
    ])
}

/// Starts `count` processes in a cgroup. Returns the bytes charged for them, the kernel's part of those,
/// and the processes.
fn charge(
    cgroup: &Cgroup,
    count: usize,
    start: impl Fn(usize) -> Result<Vec<Process>>,
) -> Result<(u64, u64, Vec<Process>)> {
    let hold = |count| {
        let held = start(count)?;
        wait_until("asleep", || held.iter().all(|it| is_asleep(it.0)));
        anyhow::Ok(held)
    };
    // The first processes cause charges that stay when they end. Those must not count.
    drop(hold(count / 10)?);
    // The kernel frees some memory with a delay.
    let settle = || sleep(Duration::from_millis(300));
    settle();
    let before = cgroup.charged();
    let held = hold(count)?;
    settle();
    sleep(cgroup.delay());
    let after = cgroup.charged();
    Ok((after.0 - before.0, after.1 - before.1, held))
}

/// Keeps this process in a cgroup until dropped, so that the processes it starts are charged to that from
/// fork on. Has the cgroup.procs file of the one before. What it reads in /proc is charged, too.
struct Inside(PathBuf);

impl Inside {
    fn enter(cgroup: &Cgroup) -> Result<Self> {
        let door = cgroup.door();
        let root = door.ancestors().nth(2).context("no cgroups")?;
        let all = Proc::myself()?.cgroups()?.0;
        // Version 2 has one cgroup for all controllers, and names none.
        let has_memory = |it: &&ProcessCGroup| it.controllers.iter().any(|it| it == "memory");
        let before = all.iter().max_by_key(has_memory).context("no cgroup")?;
        let before = root.join(&before.pathname[1..]).join("cgroup.procs");
        fs::write(door, "0")?;
        Ok(Self(before))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        fs::write(&self.0, "0").unwrap();
    }
}
