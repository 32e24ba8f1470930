//! The programs that are measured: pause and its peers.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ffi::CString, fs, path::PathBuf};
use tests::{
    built,
    program::{NATIVE_ARCH, PLATFORMS, Platform},
};

/// The peer that is measured on every platform, as Debian builds it for all of them.
pub const EVERYWHERE: &str = "catatonit -P";

/// The platforms of all other peers.
const BUILT_FOR: [&str; 2] = ["amd64", "arm64"];

/// A program for some platforms.
#[derive(Clone, Serialize, Deserialize)]
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

/// The fields `name`, `file`, `sit`, `tell` and `reaps` of a [`Peer`].
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    bool,
);

const SLEEP: &str = "/bin/sleep";

#[rustfmt::skip]
const PEERS: [Row; 11] = [
    ("pause", "pause", &[], &["-v"], true),
    ("floor: pause in assembly", "floor", &[], &["-v"], true),
    ("floor: sleep alone", "sleep", &[], &[], false),
    ("floor: exit alone", "leave", &[], &["-v"], false),
    ("C, musl", "c-musl", &[], &["-v"], true),
    ("C, glibc", "c-glibc", &[], &["-v"], true),
    (EVERYWHERE, "catatonit", &["-P"], &["--version"], true),
    ("tini, with a sleep", "tini-static", &["--", SLEEP, "infinity"], &["--version"], true),
    ("dumb-init, with a sleep", "dumb-init", &[SLEEP, "infinity"], &["--version"], true),
    ("sleep of coreutils", "coreutils", &["infinity"], &["--version"], false),
    ("sleep of busybox", "busybox", &["sleep", "infinity"], &["--help"], false),
];

/// Programs that only sleep and save memory in ways that pause does not, to see how much. x86_64 only.
pub fn tried() -> Vec<Peer> {
    let rows = [
        ("stack below its arguments given back", "below"),
        ("stack given back", "forget"),
        ("stack unmapped", "unmap"),
        ("code beside the stack", "beside"),
    ];
    let rows = rows.into_iter().filter(|_| NATIVE_ARCH == "amd64");
    rows.map(|(name, file)| Peer::new((name, file, &[], &[], false), "", ""))
        .collect()
}

impl Peer {
    fn new((name, file, sit, tell, reaps): Row, version: &str, how: &str) -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            how: how.to_owned(),
            sit: owned(sit),
            tell: owned(tell),
            reaps,
            file: file.to_owned(),
        }
    }

    /// All programs, pause first.
    ///
    /// # Errors
    ///
    /// `benches/peers/build` has not written its table of peers.
    pub fn all() -> Result<Vec<Self>> {
        let table = built("bench/peers/built.tsv");
        let table = fs::read_to_string(&table).with_context(|| table.display().to_string())?;
        let lines = table.lines().filter_map(|line| line.split_once('\t'));
        let lines = lines.filter_map(|(file, told)| Some((file, told.split_once('\t')?)));
        let mut told: HashMap<&str, (&str, &str)> = lines.collect();
        told.insert("pause", (env!("CARGO_PKG_VERSION"), "make"));
        let peers = PEERS.iter().map(|row| {
            let told = told.get(row.1);
            let (version, how) = told.with_context(|| format!("built.tsv lacks {}", row.1))?;
            Ok(Self::new(*row, version, how))
        });
        peers.collect()
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
