//! Packs the image of pause, and gives others the means to check it: its digest and its SBOM.

mod pack;
mod sbom;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use pause_image::{
    layout::{json, write},
    read::Image,
};
use std::{fs, path::PathBuf, process::ExitCode};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pack one binary per platform into an archive that every engine loads
    Pack(pack::Pack),
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
    let read = |archive: &PathBuf| {
        let shown = archive.display();
        let content = fs::read(archive).with_context(|| format!("cannot read {shown}"))?;
        Image::read(&content).with_context(|| shown.to_string())
    };
    match command {
        Command::Pack(pack) => pack.run(),
        Command::Digest { archive } => {
            println!("{}", read(archive)?.index.digest());
            Ok(())
        }
        Command::Sbom { archive } => {
            let image = read(archive)?;
            let sbom = json(&sbom::of(&image)?)?;
            write(&archive.with_file_name(sbom::FILE), &sbom)?;
            let referrers = archive.with_file_name("pause.referrers.tar");
            sbom::write_referrers(&image, sbom, &referrers)
        }
    }
}
