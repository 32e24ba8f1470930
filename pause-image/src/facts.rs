//! How the image was made: crates, compiler, commit and time.

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use pause_image::layout::sha256;
use rustc_version::{VersionMeta, version_meta};
use std::{env, fs, path::Path, process::Command};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A crate of the program.
pub struct Crate {
    pub package: Package,
    /// The sha256 of the package in Cargo.lock, in hex. The program itself has none.
    pub checksum: Option<String>,
    /// The package URLs of its dependencies.
    pub needs: Vec<String>,
}

/// A package URL.
pub fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

pub struct Facts {
    /// The program first.
    pub crates: Vec<Crate>,
    pub rustc: VersionMeta,
    /// sha256 of Cargo.lock, in hex.
    pub lock: String,
    /// The commit, if git knows it and no file differs from it.
    pub revision: Option<String>,
    /// The time in SOURCE_DATE_EPOCH, in RFC 3339. Never that of a clock.
    pub time: Option<String>,
}

impl Facts {
    /// Collects the facts on the project in the current folder.
    ///
    /// # Errors
    ///
    /// cargo or rustc fails, or SOURCE_DATE_EPOCH is not a time.
    pub fn collect() -> Result<Self> {
        let lock = fs::read("Cargo.lock").context("cannot read Cargo.lock")?;
        Ok(Self {
            crates: crates(str::from_utf8(&lock)?)?,
            rustc: version_meta().context("cannot get the version of rustc")?,
            lock: sha256(&lock),
            revision: revision(),
            time: time()?,
        })
    }
}

/// The program and its dependencies, breadth first, with the features that the image is built with.
fn crates(lock: &str) -> Result<Vec<Crate>> {
    // This platform has all dependencies. Some platforms have fewer: their programs need no crate for
    // system calls.
    let options = ["--locked", "--filter-platform=x86_64-unknown-linux-gnu"];
    let metadata = MetadataCommand::new()
        .other_options(options.map(str::to_owned))
        .exec()
        .context("cargo metadata")?;
    let lock: toml::Table = lock.parse().context("Cargo.lock")?;
    let mut ids = vec![program(&metadata)?];
    let mut crates = Vec::new();
    while let Some(id) = ids.get(crates.len()) {
        let package = metadata[*id].clone();
        let needed = needed_by(&metadata, id)?;
        crates.push(Crate {
            checksum: checksum(&lock, &package),
            needs: needed.iter().map(|id| purl(&metadata[*id])).collect(),
            package,
        });
        for id in needed {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    Ok(crates)
}

fn program(metadata: &Metadata) -> Result<&PackageId> {
    let mut packages = metadata.workspace_packages().into_iter();
    let program = packages.find(|package| package.name == "pause");
    Ok(&program.context("no package pause in this folder")?.id)
}

/// The dependencies that get into the program, without those of build scripts and tests.
fn needed_by<'a>(metadata: &'a Metadata, id: &PackageId) -> Result<Vec<&'a PackageId>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata")?;
    let node = resolve.nodes.iter().find(|node| node.id == *id);
    let dependencies = node.context("cargo metadata")?.deps.iter();
    let normal = dependencies.filter(|dependency| {
        let mut kinds = dependency.dep_kinds.iter();
        kinds.any(|it| it.kind == DependencyKind::Normal)
    });
    Ok(normal.map(|dependency| &dependency.pkg).collect())
}

fn checksum(lock: &toml::Table, package: &Package) -> Option<String> {
    let (name, version) = (package.name.as_str(), package.version.to_string());
    let mut packages = lock["package"].as_array()?.iter();
    let locked = packages
        .find(|it| it["name"].as_str() == Some(name) && it["version"].as_str() == Some(&version));
    locked?.get("checksum")?.as_str().map(str::to_owned)
}

fn revision() -> Option<String> {
    // A repository further up has commits of something else.
    let is_top = Path::new(".git").exists();
    let changed = output(Command::new("git").args(["status", "--porcelain"])).ok()?;
    let revision = output(Command::new("git").args(["rev-parse", "HEAD"])).ok()?;
    (is_top && changed.is_empty()).then(|| revision.trim().to_owned())
}

fn time() -> Result<Option<String>> {
    let Ok(seconds) = env::var("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    let format = || -> Result<String> {
        Ok(OffsetDateTime::from_unix_timestamp(seconds.parse()?)?.format(&Rfc3339)?)
    };
    let time = format().with_context(|| format!("SOURCE_DATE_EPOCH is not a time: {seconds:?}"))?;
    Ok(Some(time))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
