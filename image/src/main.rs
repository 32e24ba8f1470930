//! Packs the binaries of pause, one per platform, into one archive that every engine loads.

use anyhow::{Context, Result, bail};
use clap::Parser;
use pause_image::{
    archive::{Annotations, Archive},
    name::Name,
    platform::{Binary, Platform},
};
use std::{path::PathBuf, process::ExitCode};

#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "docker load into its classic store takes amd64, or else the first platform."
)]
struct Arguments {
    /// Name of the image, with registry and tag: localhost/pause:0.1.0
    #[arg(long, value_name = "NAME")]
    image: String,
    /// What the program is called, in the image and in its annotations
    #[arg(long, value_name = "NAME", default_value = "pause")]
    title: String,
    /// What the image's annotations say of it
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "The first process of a pod: holds its namespaces, reaps its orphans, sleeps"
    )]
    description: String,
    /// The archive to write; appears whole or not at all
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Each platform with its binary: amd64=target/pause/amd64/pause
    #[arg(required = true, value_name = "PLATFORM=FILE")]
    binaries: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever an error from below has in it.
            eprintln!("pause-image: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let name: Name = arguments
        .image
        .parse()
        .with_context(|| format!("{:?} names no image", arguments.image))?;
    let binaries = read_binaries(&arguments.binaries)?;
    let archive = Archive::pack(
        &name,
        &binaries,
        &Annotations {
            title: arguments.title.clone(),
            description: arguments.description.clone(),
            version: env!("CARGO_PKG_VERSION"),
            source: env!("CARGO_PKG_REPOSITORY"),
            licenses: env!("CARGO_PKG_LICENSE"),
        },
    )?;
    archive
        .write(&arguments.output)
        .with_context(|| format!("cannot write {}", arguments.output.display()))?;

    println!("platform  bytes of /pause  bytes pulled");
    for (binary, pulled) in binaries.iter().zip(archive.pulled()) {
        println!(
            "{:<8}  {:>15}  {:>12}",
            binary.platform.name(),
            binary.bytes.len(),
            pulled
        );
    }
    println!("{name}");
    println!("{}", archive.digest());
    println!("{}", arguments.output.display());
    Ok(())
}

/// Reads the binaries and sees that each is what it is given as.
///
/// # Errors
///
/// A platform that is unknown or given twice, a file that cannot be read or that is no ELF
/// executable; all files that are for another platform are named in one error.
fn read_binaries(arguments: &[String]) -> Result<Vec<Binary>> {
    let mut binaries: Vec<Binary> = Vec::new();
    let mut swapped = Vec::new();
    for argument in arguments {
        let Some((platform, path)) = argument.split_once('=') else {
            bail!("{argument:?} is not PLATFORM=FILE");
        };
        let platform: Platform = platform.parse()?;
        if binaries.iter().any(|binary| binary.platform == platform) {
            bail!("platform {} is given twice", platform.name());
        }
        let binary = Binary::read(platform, path.as_ref())?;
        let built_for = binary.arch()?;
        if built_for != platform.arch() {
            let given = platform.name();
            swapped.push(format!("{path}, given as {given}, is for {built_for}"));
        }
        binaries.push(binary);
    }
    if !swapped.is_empty() {
        bail!("{}", swapped.join("; "));
    }
    Ok(binaries)
}
