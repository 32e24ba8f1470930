//! A node full of sandboxes, which containerd creates through the CRI, and what a node pulls.

use crate::{
    Peer,
    measure::{Spread, is_asleep},
};
use engines::{
    built, cgroup, engine::Containerd, output, program::Platform, story::Engine, wait_until,
};
use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    slice,
    thread::sleep,
    time::{Duration, Instant},
};

/// A node whose sandboxes run one image.
pub struct Node {
    /// The name of the program in the image.
    pub name: &'static str,
    pub sandboxes: usize,
    /// Bytes that a pull of the image transfers.
    pub pulled: u64,
    /// Bytes charged to the cgroups of all sandboxes.
    pub memory: Spread,
    /// Seconds to create all sandboxes.
    pub seconds: Spread,
}

/// Measures a node for each peer, in turn. A failure of containerd panics.
pub fn measure(peers: &[Peer], sandboxes: usize, rounds: usize) -> Vec<Node> {
    let start = |peer: &Peer| {
        let image = format!("localhost/{}:bench", peer.0);
        let containerd = Containerd::start_with_sandbox(&image);
        let archive = containerd.nest().path("image.tar");
        let native = slice::from_ref(Platform::native());
        let pulled = pack(peer, native, &image, archive.as_ref())[native[0].name];
        containerd.ctr(&["--namespace=k8s.io", "images", "import", &archive]);
        (peer.0, pulled, containerd, [vec![], vec![]])
    };
    let mut nodes: Vec<_> = peers.iter().map(start).collect();
    // The first round fills the caches and does not count.
    for round in 0..=rounds {
        for (_, _, node, samples) in &mut nodes {
            let start = Instant::now();
            let pids: Vec<_> = (0..sandboxes)
                .map(|pod| node.start_sandbox(&format!("pod{pod}")))
                .collect();
            let proc = node.nest().proc();
            for pid in pids {
                wait_until("asleep", || is_asleep(&proc, pid.as_raw().cast_unsigned()));
            }
            let seconds = start.elapsed().as_secs_f64();
            // The kernel frees some memory with a delay.
            sleep(Duration::from_secs(1));
            let charged = cgroup::charged_within(&node.nest().cgroup()) as f64;
            node.remove_sandboxes();
            if round > 0 {
                samples[0].push(charged);
                samples[1].push(seconds);
            }
        }
    }
    let node = |(name, pulled, _, [memory, seconds]): (_, _, _, [Vec<f64>; 2])| Node {
        name,
        sandboxes,
        pulled,
        memory: Spread::of(memory),
        seconds: Spread::of(seconds),
    };
    nodes.into_iter().map(node).collect()
}

/// Packs a program like pause, for each of the platforms that it is built for, and returns the bytes that a pull
/// transfers.
pub fn pack(
    peer: &Peer,
    platforms: &'static [Platform],
    image: &str,
    archive: &Path,
) -> BTreeMap<&'static str, u64> {
    let path = |it: &Platform| format!("{}={}", it.name, peer.path(it).display());
    let mut pack = Command::new(built("debug/pause-image"));
    // Any day does: all are equally long.
    pack.args(["pack", "--image", image, "--created=2026-01-01T00:00:00Z"]);
    pack.arg("--output").arg(archive);
    pack.args(
        platforms
            .iter()
            .filter(|it| peer.path(it).exists())
            .map(path),
    );
    let printed = output(&mut pack);
    let row = |it: &Platform| {
        let mut rows = printed.lines().map(|line| line.split_whitespace());
        let mut row = rows.find(|row| row.clone().next() == Some(it.name))?;
        Some((it.name, row.next_back()?.parse().ok()?))
    };
    platforms.iter().filter_map(row).collect()
}
