//! In an engine: a pod's sandbox made, and stopped, with each image in turn.

use crate::{measure::Spread, process::is_asleep_in, size::pack};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use tests::{
    built,
    engine::{Cli, IMAGE, Podman},
    program::Platform,
    story::Engine,
    wait_until,
};

/// Of one image, in milliseconds.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pod {
    pub image: String,
    /// From `podman pod create` and `start` until the sandbox sleeps.
    pub created: Spread,
    /// `podman stop` of the sandbox.
    pub stopped: Spread,
}

const PEER: &str = "localhost/c-glibc:bench";

/// Measures ours and that of the program in C, so many times each.
///
/// # Errors
///
/// What the packer says; podman's failures panic.
pub fn measure(rounds: usize) -> Result<Vec<Pod>> {
    let podman = Podman::with_images();
    let archive = podman.nest().folder.path().join("peer.tar");
    let platform = Platform::native();
    let program = built(&format!("bench/peers/{}/c-glibc", platform.name));
    pack(&program, platform, PEER, &archive)?;
    podman.run(&["load", "--input", archive.to_str().unwrap()]);
    let images = [IMAGE, PEER];
    let mut samples = [(vec![], vec![]), (vec![], vec![])];
    // The first round fills caches, and does not count.
    for round in 0..=rounds {
        for (image, (created, stopped)) in images.iter().zip(&mut samples) {
            let milliseconds = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
            let start = Instant::now();
            let infra = podman.create_pod_with(&["--infra-image", image]);
            wait_until("asleep", || is_asleep_in(&podman.nest().proc(), infra));
            let made = milliseconds(start);
            let start = Instant::now();
            podman.stop_pod();
            if round > 0 {
                created.push(made);
                stopped.push(milliseconds(start));
            }
            podman.remove_pod();
        }
    }
    let pods = images.iter().zip(&samples);
    let pods = pods.map(|(image, (created, stopped))| Pod {
        image: (*image).to_owned(),
        created: Spread::of(created),
        stopped: Spread::of(stopped),
    });
    Ok(pods.collect())
}
