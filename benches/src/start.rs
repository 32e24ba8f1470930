//! Start and stop: of each program in turn, again and again.

use crate::{
    measure::Spread,
    peers::Peer,
    process::{Aside, PATIENCE, Process, faults, run_time},
};
use nix::sys::{
    ptrace,
    signal::{Signal, kill},
    wait::{WaitPidFlag, WaitStatus, waitpid},
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::CString,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

/// Times in microseconds.
#[derive(Clone, Serialize, Deserialize)]
pub struct Start {
    /// From the fork until it sleeps, and what it ran of that.
    pub asleep: Option<Spread>,
    pub ran: Option<f64>,
    /// Page faults until it slept.
    pub faults: Option<f64>,
    /// Instructions of its own until it slept, which are the same each time.
    pub instructions: Option<u64>,
    /// From the fork until its end, where it tells its version.
    pub told: Option<Spread>,
    pub told_instructions: Option<u64>,
    /// From SIGTERM until its end.
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

/// Measures all of them, so many times. To count instructions takes half a minute, and not where it is
/// to be quick.
pub fn measure(peers: &[Peer], rounds: usize, quick: bool) -> Vec<Start> {
    let mut samples: Vec<Samples> = peers.iter().map(|_| Samples::default()).collect();
    {
        let _aside = Aside::step();
        for round in 0..rounds + WARM_UP {
            // In another order each time.
            let mut order: Vec<usize> = (0..peers.len()).collect();
            order.sort_by_key(|at| {
                let mut hasher = DefaultHasher::new();
                (round, at).hash(&mut hasher);
                hasher.finish()
            });
            for at in order {
                let new = sample(&peers[at]);
                if round >= WARM_UP {
                    samples[at].add(new);
                }
            }
        }
    }
    let counted = peers.iter().zip(samples);
    counted
        .map(|(peer, samples)| Start {
            asleep: spread(&samples.asleep),
            ran: spread(&samples.ran).map(|it| it.median),
            faults: spread(&samples.faults).map(|it| it.median),
            instructions: (peer.sits() && !quick).then(|| count_instructions(&peer.words())),
            told: spread(&samples.told),
            told_instructions: peer
                .words_to_tell()
                .filter(|_| !quick)
                .map(|words| count_instructions(&words)),
            stopped: spread(&samples.stopped),
        })
        .collect()
}

impl Samples {
    fn add(&mut self, new: Self) {
        self.asleep.extend(new.asleep);
        self.ran.extend(new.ran);
        self.faults.extend(new.faults);
        self.told.extend(new.told);
        self.stopped.extend(new.stopped);
    }
}

fn spread(values: &[f64]) -> Option<Spread> {
    (!values.is_empty()).then(|| Spread::of(values))
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64 / 1e3
}

/// Each is done twice, of which the second counts: it finds its own in the caches, as it would find
/// another's otherwise.
fn sample(peer: &Peer) -> Samples {
    let mut samples = Samples::default();
    if let Some(words) = peer.words_to_tell() {
        for _ in 0..2 {
            let start = Instant::now();
            Process::start(&words).end();
            samples.told = vec![microseconds(start)];
        }
    }
    if peer.sits() {
        let words = peer.words();
        for _ in 0..2 {
            sample_sleep(&words, &mut samples);
        }
    }
    samples
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
    samples.asleep = vec![asleep];
    samples.ran = vec![run_time(process.0) as f64 / 1e3];
    samples.faults = vec![faults(process.0) as f64];
    let start = Instant::now();
    kill(process.0, Signal::SIGTERM).unwrap();
    process.end();
    samples.stopped = vec![microseconds(start)];
}

/// Instructions from the first one until it ends, or sleeps: by single steps, so that all machines
/// can count them. Instructions of the kernel and of children are none of them.
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
                // There is nobody left to end.
                _ => {
                    std::mem::forget(process);
                    return count;
                }
            }
        }
    }
}
