//! The programs that are measured: pause and its peers.

use anyhow::{Context, Result};
use engines::{
    built,
    program::{NATIVE_ARCH, PLATFORMS, Platform},
};
use itertools::Itertools;
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ffi::CString, fs, path::PathBuf};

/// The peer that is measured on every platform, as Debian builds it for all of them.
pub const EVERYWHERE: &str = "catatonit -P";

/// The platforms of all other peers.
const BUILT_FOR: [&str; 2] = ["amd64", "arm64"];

/// A program for some platforms.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peer {
    /// The name in the report.
    pub name: String,
    /// Empty for a peer that this project writes.
    pub version: String,
    /// How it was built, or where it comes from.
    pub how: String,
    /// Arguments that make it sleep until a signal.
    pub sit: Vec<String>,
    /// Arguments that make it print its version; none if it cannot.
    pub tell: Vec<String>,
    /// Whether it reaps orphans as PID 1.
    pub reaps: bool,
    file: String,
}

/// The rows of peers.json, without versions.
fn rows(part: &str) -> Result<Vec<Peer>> {
    let mut all: HashMap<String, Vec<Peer>> = serde_json::from_str(include_str!("../peers.json"))?;
    all.remove(part)
        .with_context(|| format!("peers.json lacks {part}"))
}

/// Programs that only sleep and save memory in ways that pause does not, to see how much. x86_64 only.
pub fn tried() -> Result<Vec<Peer>> {
    let mut tried = rows("tried")?;
    tried.retain(|_| NATIVE_ARCH == "amd64");
    Ok(tried)
}

impl Peer {
    /// All programs, pause first.
    ///
    /// # Errors
    ///
    /// `bench/peers/build` has not written its table of peers.
    pub fn all() -> Result<Vec<Self>> {
        let table = built("bench/peers/built.tsv");
        let table = fs::read_to_string(&table).with_context(|| table.display().to_string())?;
        let lines = table
            .lines()
            .filter_map(|line| line.split('\t').collect_tuple());
        let pause = ("pause", env!("CARGO_PKG_VERSION"), "make");
        let told: Vec<_> = lines.chain([pause]).collect();
        let mut peers = rows("compared")?;
        for peer in &mut peers {
            let told = told.iter().find(|it| it.0 == peer.file);
            let (_, version, how) =
                told.with_context(|| format!("built.tsv lacks {}", peer.file))?;
            (peer.version, peer.how) = ((*version).to_owned(), (*how).to_owned());
        }
        Ok(peers)
    }

    /// The program's file for a platform.
    pub fn path(&self, platform: &Platform) -> PathBuf {
        if self.is_pause() {
            return built(&format!("pause/{}/pause", platform.arch));
        }
        built(&format!("bench/peers/{}/{}", platform.name, self.file))
    }

    /// The platforms that there is a file for, in the image's order.
    pub fn platforms(&self) -> impl Iterator<Item = &'static Platform> {
        let everywhere = self.is_pause() || self.name == EVERYWHERE;
        PLATFORMS
            .iter()
            .filter(move |platform| everywhere || BUILT_FOR.contains(&platform.name))
    }

    fn is_pause(&self) -> bool {
        self.file == "pause"
    }

    /// Whether it sleeps until a signal.
    pub fn sits(&self) -> bool {
        self.file != "leave"
    }

    /// The command line that makes it sleep until a signal, on this machine.
    pub fn words(&self) -> Vec<CString> {
        self.with(&self.sit)
    }

    /// The command line that makes it print its version and exit, if there is one.
    pub fn words_to_tell(&self) -> Option<Vec<CString>> {
        (!self.tell.is_empty()).then(|| self.with(&self.tell))
    }

    fn with(&self, arguments: &[String]) -> Vec<CString> {
        let path = self.path(Platform::native());
        let words = [path.to_str().unwrap()].into_iter();
        let words = words.chain(arguments.iter().map(|word| &**word));
        words.map(|word| CString::new(word).unwrap()).collect()
    }
}
