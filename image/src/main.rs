//! Packs the image of pause, and gives others the means to check it: digests, SBOM and provenance.

mod binary;
mod digests;
mod facts;
mod pack;
mod provenance;
mod referrers;
mod sbom;
mod verify;

use anyhow::{Context, Result};
use binary::Binary;
use clap::{Parser, Subcommand};
use digests::{Found, read};
use facts::Facts;
use pack::{About, Archive};
use pause_image::{layout::write, name, platform, read::Image};
use provenance::Origin;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use verify::Verify;

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
    /// Write the digests of a build
    Digests {
        /// The folder of the build: target
        #[arg(value_name = "FOLDER")]
        target: PathBuf,
        /// The file to write, atomically
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Compare a build, an archive or an image in a registry with the digests
    Verify(Verify),
    /// Write SBOM, provenance, and both as referrers, next to an archive
    Attest {
        /// The archive: target/pause.tar
        archive: PathBuf,
        #[command(flatten)]
        origin: Origin,
    },
    /// Print the tag of an archive's referrers in a registry
    Tag {
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
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // An error from a library may have several lines.
            eprintln!("pause-image: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

/// Returns false if a verification failed and printed why.
fn run(command: &Command) -> Result<bool> {
    match command {
        Command::Verify(verify) => return verify.run(),
        Command::Pack(arguments) => pack(arguments)?,
        Command::Digests { target, output } => {
            let mut found = Found::default();
            found.add_folder(target, false)?;
            write(output, found.digests.to_string().as_bytes())?;
        }
        Command::Attest { archive, origin } => attest(archive, origin)?,
        Command::Tag { archive } => println!("{}", referrers::tag(&image(archive)?)),
    }
    Ok(true)
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

fn attest(archive: &Path, origin: &Origin) -> Result<()> {
    let image = image(archive)?;
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

/// Reads the image in an archive.
fn image(archive: &Path) -> Result<Image> {
    Image::read(&read(archive)?).with_context(|| archive.display().to_string())
}
