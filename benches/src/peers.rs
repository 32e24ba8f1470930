//! What is measured: pause, and who else could sit in its place.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    ffi::CString,
    fs,
    path::{Path, PathBuf},
};
use tests::{
    built,
    program::{NATIVE_ARCH, PLATFORMS, Platform},
};

/// The peer that is measured on each platform, as Debian builds it for all of them.
pub const EVERYWHERE: &str = "catatonit -P";

/// The platforms of all other peers.
const BUILT_FOR: [&str; 2] = ["amd64", "arm64"];

/// A program, on some of the platforms.
#[derive(Clone, Serialize, Deserialize)]
pub struct Peer {
    /// As the report calls it.
    pub name: String,
    /// Its version, where it has one that is not pause's.
    pub version: String,
    /// How it was built, or where it is from.
    pub how: String,
    /// What has it sit there, behind its file's name.
    pub sit: Vec<String>,
    /// What has it tell its version.
    pub tell: Vec<String>,
    /// Whether it reaps, as the first process.
    pub reaps: bool,
    /// Where its files are: FOLDER/PLATFORM/FILE below target/, or FOLDER/ARCH/FILE of pause.
    folder: String,
    file: String,
}

/// A row for each: name in the report, folder and name of the file, how it sits, how it tells, and
/// whether it reaps.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    bool,
);

const SLEEP: &str = "/bin/sleep";

#[rustfmt::skip]
const PEERS: [Row; 11] = [
    ("pause", "pause", "pause", &[], &["-v"], true),
    ("floor: pause in assembly", "bench/peers", "floor", &[], &["-v"], true),
    ("floor: sleep alone", "bench/peers", "sleep", &[], &[], false),
    ("floor: exit alone", "bench/peers", "leave", &[], &["-v"], false),
    ("C, musl", "bench/peers", "c-musl", &[], &["-v"], true),
    ("C, glibc", "bench/peers", "c-glibc", &[], &["-v"], true),
    (EVERYWHERE, "bench/peers", "catatonit", &["-P"], &["--version"], true),
    ("tini, with a sleep", "bench/peers", "tini-static", &["--", SLEEP, "infinity"], &["--version"], true),
    ("dumb-init, with a sleep", "bench/peers", "dumb-init", &[SLEEP, "infinity"], &["--version"], true),
    ("sleep of coreutils", "bench/peers", "coreutils", &["infinity"], &["--version"], false),
    ("sleep of busybox", "bench/peers", "busybox", &["sleep", "infinity"], &["--help"], false),
];

/// Sleeps that save memory in ways that pause does not: how much that would be. They are there for
/// x86_64 alone.
pub fn tried() -> Vec<Peer> {
    let rows = [
        ("stack below its arguments given back", "below"),
        ("stack given back", "forget"),
        ("stack unmapped", "unmap"),
        ("code beside the stack", "beside"),
    ];
    let rows = rows.into_iter().filter(|_| NATIVE_ARCH == "amd64");
    rows.map(|(name, file)| Peer {
        name: name.to_owned(),
        version: String::new(),
        how: String::new(),
        sit: vec![],
        tell: vec![],
        reaps: false,
        folder: "bench/peers".to_owned(),
        file: file.to_owned(),
    })
    .collect()
}

impl Peer {
    /// All of them, pause first.
    ///
    /// # Errors
    ///
    /// What the script that builds them wrote is not there.
    pub fn all() -> Result<Vec<Self>> {
        let table = built("bench/peers/built.tsv");
        let table = fs::read_to_string(&table).with_context(|| table.display().to_string())?;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let peers = PEERS.iter().map(|(name, folder, file, sit, tell, reaps)| {
            let told = table.lines().find_map(|line| {
                let mut fields = line.split('\t');
                (fields.next() == Some(file)).then(|| fields.map(str::to_owned).collect())
            });
            let [version, how] = match (*file, told) {
                ("pause", _) => [env!("CARGO_PKG_VERSION").to_owned(), "make".to_owned()],
                (_, told) => {
                    let told: Option<Vec<String>> = told;
                    <[String; 2]>::try_from(told.unwrap_or_default())
                        .map_err(|_| anyhow::anyhow!("built.tsv does not tell of {file}"))?
                }
            };
            Ok(Self {
                name: (*name).to_owned(),
                version,
                how,
                sit: words(sit),
                tell: words(tell),
                reaps: *reaps,
                folder: (*folder).to_owned(),
                file: (*file).to_owned(),
            })
        });
        peers.collect()
    }

    /// Its file for that platform.
    pub fn path(&self, platform: &Platform) -> PathBuf {
        // One pause for arm runs on each variant; Debian has a catatonit for each.
        let folder = if self.is_pause() {
            platform.arch
        } else {
            platform.name
        };
        built(&format!("{}/{folder}/{}", self.folder, self.file))
    }

    /// The platforms that its size is measured on, in the image's order.
    pub fn platforms(&self) -> impl Iterator<Item = &'static Platform> {
        let everywhere = self.is_pause() || self.name == EVERYWHERE;
        PLATFORMS
            .iter()
            .filter(move |platform| everywhere || BUILT_FOR.contains(&platform.name))
    }

    fn is_pause(&self) -> bool {
        self.file == "pause"
    }

    /// Whether it sits until it is told to go.
    pub fn sits(&self) -> bool {
        self.file != "leave"
    }

    /// The words that have it sit there, on this machine.
    pub fn words(&self) -> Vec<CString> {
        self.with(&self.sit)
    }

    /// The words that have it tell its version and leave, if it can.
    pub fn words_to_tell(&self) -> Option<Vec<CString>> {
        (!self.tell.is_empty()).then(|| self.with(&self.tell))
    }

    fn with(&self, arguments: &[String]) -> Vec<CString> {
        let path = self.path(Platform::native());
        let path = Path::to_str(&path).unwrap().to_owned();
        let words = [path].into_iter().chain(arguments.iter().cloned());
        words.map(|word| CString::new(word).unwrap()).collect()
    }
}
