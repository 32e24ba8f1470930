//! How the image was made: crates, compiler, commit and time.

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use pause_image::layout::sha256;
use rustc_version::{VersionMeta, version_meta};
use std::{env, fs, path::Path, process::Command};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A crate of the program.
pub struct Crate {
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    /// The sha256 of the package in Cargo.lock, in hex. The program itself has none.
    pub checksum: Option<String>,
    /// The package URLs of its dependencies.
    pub needs: Vec<String>,
}

impl Crate {
    /// The crate's package URL.
    pub fn purl(&self) -> String {
        purl(&self.name, &self.version)
    }
}

fn purl(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{version}")
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
    let mut ids = vec![program(&metadata)?.id.clone()];
    let mut crates = Vec::new();
    let mut next = 0;
    while let Some(id) = ids.get(next).cloned() {
        next += 1;
        let mut needs = Vec::new();
        for (id, package) in needed_by(&metadata, &id)? {
            needs.push(purl(&package.name, &package.version.to_string()));
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let package = &metadata[&id];
        let version = package.version.to_string();
        crates.push(Crate {
            checksum: checksum(&lock, &package.name, &version),
            name: package.name.to_string(),
            version,
            license: package.license.clone(),
            needs,
        });
    }
    Ok(crates)
}

fn program(metadata: &Metadata) -> Result<&Package> {
    let mut packages = metadata.workspace_packages().into_iter();
    packages
        .find(|package| package.name == "pause")
        .context("no package pause in this folder")
}

/// The dependencies that get into the program, without those of build scripts and tests.
fn needed_by<'a>(metadata: &'a Metadata, id: &PackageId) -> Result<Vec<(PackageId, &'a Package)>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata")?;
    let node = resolve.nodes.iter().find(|node| node.id == *id);
    let dependencies = node.context("cargo metadata")?.deps.iter();
    let normal = dependencies.filter(|dependency| {
        let mut kinds = dependency.dep_kinds.iter();
        kinds.any(|it| it.kind == DependencyKind::Normal)
    });
    Ok(normal
        .map(|dependency| (dependency.pkg.clone(), &metadata[&dependency.pkg]))
        .collect())
}

fn checksum(lock: &toml::Table, name: &str, version: &str) -> Option<String> {
    let packages = lock["package"].as_array()?;
    let package = packages.iter().find(|package| {
        package["name"].as_str() == Some(name) && package["version"].as_str() == Some(version)
    });
    package?.get("checksum")?.as_str().map(str::to_owned)
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
