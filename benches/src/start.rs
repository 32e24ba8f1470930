//! Start and stop, with the programs taking turns.

use crate::{
    measure::Spread,
    peers::Peer,
    process::{Aside, PATIENCE, Process},
};
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

#[derive(Default)]
struct Samples {
    asleep: Vec<f64>,
    ran: Vec<f64>,
    faults: Vec<f64>,
    told: Vec<f64>,
    stopped: Vec<f64>,
}

/// Rounds that do not count.
const WARM_UP: usize = 5;

/// Measures all programs. Counting instructions takes half a minute; a quick run leaves it out.
pub fn measure(peers: &[Peer], rounds: usize, quick: bool) -> Vec<Start> {
    let mut samples: Vec<Samples> = peers.iter().map(|_| Samples::default()).collect();
    {
        let _aside = Aside::step();
        for round in 0..rounds + WARM_UP {
            if round == WARM_UP {
                samples.fill_with(Samples::default);
            }
            // A different order in each round.
            let mut order: Vec<usize> = (0..peers.len()).collect();
            order.sort_by_key(|at| {
                let mut hasher = DefaultHasher::new();
                (round, at).hash(&mut hasher);
                hasher.finish()
            });
            for at in order {
                sample(&peers[at], &mut samples[at]);
            }
        }
    }
    let count = |words: Option<Vec<CString>>| {
        let words = words.filter(|_| !quick)?;
        Some(count_instructions(&words))
    };
    let sampled = peers.iter().zip(samples);
    let starts = sampled.map(|(peer, samples)| Start {
        asleep: spread(&samples.asleep),
        ran: spread(&samples.ran).map(|it| it.median),
        faults: spread(&samples.faults).map(|it| it.median),
        instructions: count(peer.sits().then(|| peer.words())),
        told: spread(&samples.told),
        told_instructions: count(peer.words_to_tell()),
        stopped: spread(&samples.stopped),
    });
    starts.collect()
}

fn spread(values: &[f64]) -> Option<Spread> {
    (!values.is_empty()).then(|| Spread::of(values))
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64 / 1e3
}

/// Runs everything twice and keeps the second result: by then the program has filled the caches, which the
/// previous program left to it.
fn sample(peer: &Peer, samples: &mut Samples) {
    if let Some(words) = peer.words_to_tell() {
        for samples in [&mut Samples::default(), &mut *samples] {
            let start = Instant::now();
            Process::start(&words).end();
            samples.told.push(microseconds(start));
        }
    }
    if peer.sits() {
        let words = peer.words();
        for samples in [&mut Samples::default(), samples] {
            sample_sleep(&words, samples);
        }
    }
}

fn sample_sleep(words: &[CString], samples: &mut Samples) {
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
    samples.asleep.push(asleep);
    samples
        .ran
        .push(proc.schedstat().unwrap().sum_exec_runtime as f64 / 1e3);
    samples.faults.push(proc.stat().unwrap().minflt as f64);
    let start = Instant::now();
    kill(process.0, Signal::SIGTERM).unwrap();
    process.end();
    samples.stopped.push(microseconds(start));
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
