//! Packs the image of pause, and gives others the means to check it: digests, SBOM and provenance.

mod binary;
mod facts;
mod pack;
mod provenance;
mod referrers;
mod sbom;

use anyhow::{Context, Result};
use binary::Binary;
use clap::{Parser, Subcommand};
use facts::Facts;
use pack::{About, Archive};
use pause_image::{
    layout::{sha256, write},
    name, platform,
    read::Image,
};
use provenance::Origin;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

const ARCHIVE: &str = "target/pause.tar";

/// The image's default name. The archive's digest in pause-image/digests is for this name.
const IMAGE: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pack one binary per platform into an archive that every engine loads
    Pack(Pack),
    /// Print the sha256 of each part of the image in an archive, and of the archive
    Digests {
        /// The archive: target/pause.tar
        archive: PathBuf,
    },
    /// Write SBOM, provenance, and both as referrers, next to an archive
    Attest {
        /// The archive: target/pause.tar
        archive: PathBuf,
        #[command(flatten)]
        origin: Origin,
    },
}

#[derive(clap::Args)]
#[command(
    after_help = "docker load with the classic store takes amd64, or else the first platform."
)]
struct Pack {
    /// The image's name with registry and tag: localhost/pause:0.1.0
    #[arg(long, value_name = "NAME")]
    image: String,
    #[command(flatten)]
    about: About,
    /// The archive to write, atomically
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Each platform with its binary: amd64=target/pause/amd64/pause
    #[arg(required = true, value_name = "PLATFORM=FILE")]
    binaries: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // An error from a library may have several lines.
            eprintln!("pause-image: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    match command {
        Command::Pack(arguments) => pack(arguments),
        Command::Digests { archive } => digests(archive),
        Command::Attest { archive, origin } => attest(archive, origin),
    }
}

fn pack(arguments: &Pack) -> Result<()> {
    let Pack { image, output, .. } = arguments;
    name::check(image)?;
    let binaries = Binary::read_all(&arguments.binaries)?;
    let archive = Archive::pack(image, &binaries, &arguments.about)?;
    archive.layout.write(output)?;

    println!("platform  bytes of /pause  bytes pulled");
    for (binary, pulled) in binaries.iter().zip(&archive.pulled) {
        let (name, bytes) = (platform::name(&binary.platform), binary.bytes.len());
        println!("{name:<8}  {bytes:>15}  {pulled:>12}");
    }
    println!("{image}\n{}\n{}", archive.index.digest(), output.display());
    Ok(())
}

/// Prints in the format of sha256sum. The name of the image changes the archive, but no part of the image.
fn digests(archive: &Path) -> Result<()> {
    let (content, image) = read(archive)?;
    println!("{}  index", image.index.digest().digest());
    for it in &image.platforms {
        let platform = &it.name;
        println!("{}  manifest of {platform}", it.manifest.digest().digest());
        println!("{}  config of {platform}", it.config.digest().digest());
        println!("{}  layer of {platform}", it.layer.digest().digest());
        println!("{}  layer of {platform}, unpacked", it.unpacked);
    }
    match image.name.filter(|name| name != IMAGE) {
        None => println!("{}  {ARCHIVE}", sha256(&content)),
        Some(name) => println!("# not compared with {ARCHIVE}: named {name} instead of {IMAGE}"),
    }
    Ok(())
}

fn attest(archive: &Path, origin: &Origin) -> Result<()> {
    let (_, image) = read(archive)?;
    let facts = Facts::collect()?;
    let provenance = provenance::of(&image, &facts, origin);
    let documents = [
        referrers::Document {
            file: "pause.cdx.json",
            media_type: "application/vnd.cyclonedx+json",
            content: sbom::of(&image, &facts)?,
        },
        referrers::Document {
            file: "pause.provenance.json",
            media_type: "application/vnd.in-toto+json",
            content: (serde_json::to_string_pretty(&provenance)? + "\n").into(),
        },
    ];
    let referrers = referrers::pack(&image, &documents)?;
    for document in documents {
        write(&archive.with_file_name(document.file), &document.content)?;
    }
    referrers.write(&archive.with_file_name("pause.referrers.tar"))
}

/// Reads an archive, and the image in it.
fn read(archive: &Path) -> Result<(Vec<u8>, Image)> {
    let shown = archive.display();
    let content = fs::read(archive).with_context(|| format!("cannot read {shown}"))?;
    let image = Image::read(&content).with_context(|| shown.to_string())?;
    Ok((content, image))
}
