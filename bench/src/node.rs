//! A node full of sandboxes, which containerd creates through the CRI, and what a node pulls.

use crate::{
    Peer,
    measure::{Spread, is_asleep},
};
use anyhow::{Context, Result, bail};
use engines::{
    built, cgroup,
    engine::{Containerd, IMAGE},
    output,
    program::{PLATFORMS, Platform},
    story::Engine,
    wait_until,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

/// A node whose sandboxes run one image.
#[derive(Serialize, Deserialize)]
pub struct Node {
    /// The name of the program in the image.
    pub name: String,
    pub sandboxes: usize,
    /// Bytes that a pull of the image transfers.
    pub pulled: u64,
    /// Bytes charged to the cgroups of all sandboxes.
    pub memory: Spread,
    /// Seconds to create all sandboxes.
    pub seconds: Spread,
}

/// Measures a node for each peer, in turn.
///
/// # Errors
///
/// An archive has no manifest. A failure of containerd panics.
pub fn measure(peers: &[Peer], sandboxes: usize, rounds: usize) -> Result<Vec<Node>> {
    let start = |peer: &Peer| {
        let image = format!("localhost/{}:bench", peer.0);
        let containerd = Containerd::start_with_sandbox(&image);
        let archive = containerd.nest().path("image.tar");
        let pulled = pack(peer, Platform::native(), &image, archive.as_ref())?;
        containerd.ctr(&["--namespace=k8s.io", "images", "import", &archive]);
        Ok((peer.0, pulled, containerd, [vec![], vec![]]))
    };
    let mut nodes = peers.iter().map(start).collect::<Result<Vec<_>>>()?;
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
    let nodes = nodes
        .iter()
        .map(|(name, pulled, _, [memory, seconds])| Node {
            name: (*name).to_owned(),
            sandboxes,
            pulled: *pulled,
            memory: Spread::of(memory),
            seconds: Spread::of(seconds),
        });
    Ok(nodes.collect())
}

/// What a pull of the program's image transfers on each platform, in bytes.
///
/// # Errors
///
/// An archive has no manifest.
pub fn pulled(peer: &Peer) -> Result<BTreeMap<String, u64>> {
    let directory = tempfile::tempdir()?;
    let archive = directory.path().join("image.tar");
    let there = PLATFORMS.iter().filter(|it| peer.path(it).exists());
    there
        .map(|it| Ok((it.name.to_owned(), pack(peer, it, IMAGE, &archive)?)))
        .collect()
}

/// Packs a program like pause, and returns the bytes of manifest, config and layer, which a pull transfers.
fn pack(peer: &Peer, platform: &Platform, image: &str, archive: &Path) -> Result<u64> {
    let mut pack = Command::new(built("debug/pause-image"));
    // Any day does: all are equally long.
    pack.args(["pack", "--image", image, "--created=2026-01-01T00:00:00Z"]);
    pack.arg("--output").arg(archive);
    pack.arg(format!(
        "{}={}",
        platform.name,
        peer.path(platform).display()
    ));
    output(&mut pack);
    for entry in tar::Archive::new(fs::File::open(archive)?).entries()? {
        let mut content = Vec::new();
        entry?.read_to_end(&mut content)?;
        let json: Value = serde_json::from_slice(&content).unwrap_or_default();
        if json["layers"].is_array() {
            let size = |it: &Value| it["size"].as_u64().context("a manifest without sizes");
            return Ok(content.len() as u64 + size(&json["config"])? + size(&json["layers"][0])?);
        }
    }
    bail!("{} has no manifest", archive.display())
}
