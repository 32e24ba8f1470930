//! Start and stop, with the programs taking turns.

use crate::{
    measure::Spread,
    peers::Peer,
    process::{Aside, PATIENCE, Process},
};
use itertools::{Itertools, izip};
use nix::sys::{
    ptrace,
    signal::{Signal, kill},
    wait::{WaitPidFlag, WaitStatus, waitpid},
};
use procfs::process::Process as Proc;
use serde::{Deserialize, Serialize};
use std::{
    ffi::CString,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

/// Times in microseconds.
#[derive(Clone, Serialize, Deserialize)]
pub struct Start {
    /// From fork to sleep, and the CPU time of that.
    pub asleep: Option<Spread>,
    pub ran: Option<f64>,
    /// Page faults until it sleeps.
    pub faults: Option<f64>,
    /// User-space instructions until it sleeps, the same in each run.
    pub instructions: Option<u64>,
    /// From fork to exit when it prints its version, and the instructions of that.
    pub told: Option<Spread>,
    pub told_instructions: Option<u64>,
    /// From SIGTERM to exit.
    pub stopped: Option<Spread>,
}

/// Rounds that do not count.
const WARM_UP: usize = 5;

/// Measures all programs. Counting instructions takes half a minute; a quick run leaves it out.
pub fn measure(peers: &[Peer], rounds: usize, quick: bool) -> Vec<Start> {
    let mut told = vec![Vec::new(); peers.len()];
    let mut slept = vec![Vec::new(); peers.len()];
    {
        let _aside = Aside::step();
        for round in 0..rounds + WARM_UP {
            // A different order in each round.
            let mut order: Vec<usize> = (0..peers.len()).collect();
            order.sort_by_key(|at| {
                let mut hasher = DefaultHasher::new();
                (round, at).hash(&mut hasher);
                hasher.finish()
            });
            // Runs everything twice and keeps the second result: by then the program has filled the caches,
            // which the previous program left to it.
            for at in order {
                if let Some(words) = peers[at].words_to_tell() {
                    tell(&words);
                    told[at].push(tell(&words));
                }
                if peers[at].sits() {
                    let words = peers[at].words();
                    sleep_and_stop(&words);
                    slept[at].push(sleep_and_stop(&words));
                }
            }
        }
    }
    let count = |words: Option<Vec<CString>>| {
        let words = words.filter(|_| !quick)?;
        Some(count_instructions(&words))
    };
    let all = izip!(peers, told, slept).map(|(peer, told, slept)| {
        let slept = slept.into_iter().skip(WARM_UP);
        let (asleep, ran, faults, stopped): (Vec<_>, Vec<_>, Vec<_>, Vec<_>) = slept.multiunzip();
        Start {
            asleep: spread(&asleep),
            ran: spread(&ran).map(|it| it.median),
            faults: spread(&faults).map(|it| it.median),
            instructions: count(peer.sits().then(|| peer.words())),
            told: spread(told.get(WARM_UP..).unwrap_or_default()),
            told_instructions: count(peer.words_to_tell()),
            stopped: spread(&stopped),
        }
    });
    all.collect()
}

fn spread(values: &[f64]) -> Option<Spread> {
    (!values.is_empty()).then(|| Spread::of(values))
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64 / 1e3
}

/// The time from fork to exit.
fn tell(words: &[CString]) -> f64 {
    let start = Instant::now();
    Process::start(words).end();
    microseconds(start)
}

/// The time from fork to sleep, the CPU time and the page faults of that, and the time from SIGTERM to exit.
fn sleep_and_stop(words: &[CString]) -> (f64, f64, f64, f64) {
    let start = Instant::now();
    let process = Process::start(words);
    let asleep = loop {
        let elapsed = microseconds(start);
        if process.is_asleep() {
            break elapsed;
        }
        assert!(start.elapsed() < PATIENCE, "{words:?} does not sleep");
    };
    let proc = Proc::new(process.0.as_raw()).unwrap();
    let ran = proc.schedstat().unwrap().sum_exec_runtime as f64 / 1e3;
    let faults = proc.stat().unwrap().minflt as f64;
    let start = Instant::now();
    kill(process.0, Signal::SIGTERM).unwrap();
    process.end();
    (asleep, ran, faults, microseconds(start))
}

/// Counts the user-space instructions until the program exits or sleeps, without those of children.
/// Single-stepping works on any machine.
fn count_instructions(words: &[CString]) -> u64 {
    let process = Process::start_after(words, || Ok(ptrace::traceme()?));
    waitpid(process.0, None).unwrap();
    let mut count = 0;
    loop {
        ptrace::step(process.0, None).unwrap();
        count += 1;
        let start = Instant::now();
        loop {
            match waitpid(process.0, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::Stopped(..) => break,
                WaitStatus::StillAlive if start.elapsed() < Duration::from_millis(200) => {}
                WaitStatus::StillAlive => return count,
                // The process has ended, so drop must not kill it.
                _ => {
                    std::mem::forget(process);
                    return count;
                }
            }
        }
    }
}
