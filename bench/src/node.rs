//! A full node: pod sandboxes created through containerd's CRI, with the images taking turns.

use crate::{
    measure::Spread,
    process::is_asleep_in,
    size::{self, pack},
};
use anyhow::Result;
use engines::{
    built, cgroup,
    engine::{Containerd, IMAGE},
    program::{Platform, Program},
    story::Engine,
    wait_until,
};
use serde::{Deserialize, Serialize};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// A node whose sandboxes run one image.
#[derive(Clone, Serialize, Deserialize)]
pub struct Node {
    pub image: String,
    /// Bytes that a pull of the image transfers.
    pub pulled: u64,
    pub pods: usize,
    /// Bytes charged to the cgroups of all sandboxes.
    pub charged: Spread,
    /// Seconds to create all sandboxes, and to stop and remove them.
    pub made: Spread,
    pub removed: Spread,
}

const PEER: &str = "localhost/c-glibc:bench";

/// Measures the image of pause and that of the C program.
///
/// # Errors
///
/// An archive has no manifest. A failure of the packer or of containerd panics.
pub fn measure(pods: usize, rounds: usize) -> Result<Vec<Node>> {
    let platform = Platform::native();
    let images = [
        (IMAGE, Program::native().path),
        (
            PEER,
            built(&format!("bench/peers/{}/c-glibc", platform.name)),
        ),
    ];
    let nodes = images.map(|(image, program)| {
        let containerd = Containerd::start_with_sandbox(image);
        let archive = containerd.nest().path("image.tar");
        pack(&program, platform, image, archive.as_ref());
        containerd.ctr(&["--namespace=k8s.io", "images", "import", &archive]);
        let (_, pulled) = size::pulled(archive.as_ref())?;
        Ok((image, pulled, containerd))
    });
    let nodes = nodes.into_iter().collect::<Result<Vec<_>>>()?;

    let mut samples: [[Vec<f64>; 3]; 2] = Default::default();
    // The first round fills the caches and does not count.
    for round in 0..=rounds {
        for ((_, _, node), samples) in nodes.iter().zip(&mut samples) {
            let start = Instant::now();
            let sandboxes: Vec<_> = (0..pods)
                .map(|pod| node.start_sandbox(&format!("pod{pod}")))
                .collect();
            for sandbox in sandboxes {
                wait_until("asleep", || is_asleep_in(&node.nest().proc(), sandbox));
            }
            let made = start.elapsed().as_secs_f64();
            // The kernel frees some memory with a delay.
            sleep(Duration::from_secs(1));
            let charged = cgroup::charged_within(&node.nest().cgroup());
            let start = Instant::now();
            node.remove_sandboxes();
            let removed = start.elapsed().as_secs_f64();
            if round > 0 {
                for (of, value) in samples.iter_mut().zip([charged as f64, made, removed]) {
                    of.push(value);
                }
            }
        }
    }
    let all = nodes.iter().zip(&samples);
    let all = all.map(|((image, pulled, _), [charged, made, removed])| Node {
        image: (*image).to_owned(),
        pulled: *pulled,
        pods,
        charged: Spread::of(charged),
        made: Spread::of(made),
        removed: Spread::of(removed),
    });
    Ok(all.collect())
}
