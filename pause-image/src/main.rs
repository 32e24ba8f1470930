//! Packs the image of pause, and gives others the means to check it: its digest and its SBOM.

mod binary;
mod pack;
mod referrer;
mod sbom;

use anyhow::{Context, Result};
use binary::Binary;
use clap::{Parser, Subcommand};
use pack::{About, Archive};
use pause_image::{
    layout::{json, write},
    name, platform,
    read::Image,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

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
    /// Check each blob of an archive, and print the image's digest, which a registry knows it by
    Digest {
        /// The archive: target/pause.tar
        archive: PathBuf,
    },
    /// Write the SBOM next to an archive: pause.cdx.json, and pause.referrers.tar for a registry
    Sbom {
        /// The archive: target/pause.tar
        archive: PathBuf,
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
        Command::Digest { archive } => {
            println!("{}", read(archive)?.index.digest());
            Ok(())
        }
        Command::Sbom { archive } => sbom(archive),
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

fn sbom(archive: &Path) -> Result<()> {
    const FILE: &str = "pause.cdx.json";
    let image = read(archive)?;
    let sbom = json(&sbom::of(&image)?)?;
    write(&archive.with_file_name(FILE), &sbom)?;
    let referrers = referrer::pack(&image, FILE, sbom)?;
    referrers.write(&archive.with_file_name("pause.referrers.tar"))
}

fn read(archive: &Path) -> Result<Image> {
    let shown = archive.display();
    let content = fs::read(archive).with_context(|| format!("cannot read {shown}"))?;
    Image::read(&content).with_context(|| shown.to_string())
}
