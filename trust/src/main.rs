//! Lets others check the image of pause: its digests, and what it is made of.

mod digests;
mod facts;
mod image;
mod provenance;
mod referrers;
mod sbom;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use digests::{Digests, Found};
use facts::Facts;
use image::Image;
use pause_image::layout::write_whole;
use referrers::Document;
use std::{
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
    /// Writes the digests of what was built
    Digests {
        /// Where it was built: target
        #[arg(value_name = "FOLDER")]
        target: PathBuf,
        /// The file to write; appears whole or not at all
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Compares what was built, archives and images of registries with the digests
    Verify {
        /// The digests to compare with
        #[arg(long, value_name = "FILE")]
        digests: PathBuf,
        /// Takes a folder where not all was built
        #[arg(long)]
        partly: bool,
        /// What to call it, where its path says nothing
        #[arg(long, value_name = "WORDS")]
        called: Option<String>,
        /// Goes to skopeo copy: --pull-flag=--src-tls-verify=false
        #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
        pull_flag: Vec<String>,
        /// A folder of builds, an archive, or an image's name in a registry
        #[arg(value_name = "FOLDER|ARCHIVE|NAME")]
        subject: String,
    },
    /// Writes what goes with an archive, beside it: SBOM, provenance, and both as referrers
    Attest {
        /// The archive: target/pause.tar
        archive: PathBuf,
        /// Who builds, as a URI
        #[arg(long, value_name = "URI", default_value = provenance::BY_HAND)]
        builder: String,
    },
    /// Prints the tag under which a registry has what goes with an archive
    Tag {
        /// The archive: target/pause.tar
        archive: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // One line, whatever an error from below has in it.
            eprintln!("trust: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

/// Whether all is as it should be; what is not was said.
fn run(command: &Command) -> Result<bool> {
    match command {
        Command::Digests { target, output } => write_digests(target, output).map(|()| true),
        Command::Verify {
            digests,
            partly,
            called,
            pull_flag,
            subject,
        } => {
            let expected = Digests::read(digests)?;
            let found = find(subject, *partly, pull_flag)?;
            let subject = called.as_ref().unwrap_or(subject);
            Ok(report(subject, &found, &expected, digests))
        }
        Command::Attest { archive, builder } => attest(archive, builder).map(|()| true),
        Command::Tag { archive } => {
            println!("{}", referrers::tag(&Image::read(archive)?));
            Ok(true)
        }
    }
}

fn write_digests(target: &Path, output: &Path) -> Result<()> {
    let found = Found::in_folder(target, false);
    if let Some(problem) = found.problem {
        return Err(problem);
    }
    write_whole(output, |file| Ok(write!(file, "{}", found.digests)?))
        .with_context(|| format!("cannot write {}", output.display()))
}

fn attest(archive: &Path, builder: &str) -> Result<()> {
    let image = Image::read(archive)?;
    let facts = Facts::collect()?;
    let mut provenance = serde_json::to_vec_pretty(&provenance::of(&image, &facts, builder))?;
    provenance.push(b'\n');
    let documents = [
        Document {
            file: "pause.cdx.json",
            media_type: "application/vnd.cyclonedx+json",
            content: sbom::of(&image, &facts)?,
        },
        Document {
            file: "pause.provenance.json",
            media_type: "application/vnd.in-toto+json",
            content: provenance,
        },
    ];
    let referrers = referrers::pack(&image, &documents)?;
    for document in documents {
        let path = archive.with_file_name(document.file);
        write_whole(&path, |file| Ok(file.write_all(&document.content)?))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let path = archive.with_file_name("pause.referrers.tar");
    referrers
        .write(&path)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The digests of what is meant.
///
/// # Errors
///
/// It is neither there nor the name of an image that can be pulled.
fn find(subject: &str, partly: bool, pull_flags: &[String]) -> Result<Found> {
    let path = Path::new(subject);
    if path.is_dir() {
        Ok(Found::in_folder(path, partly))
    } else if path.exists() {
        Ok(Found::in_archive(path))
    } else {
        let folder = tempfile::tempdir()?;
        let archive = folder.path().join("pulled.tar");
        image::pull(subject, pull_flags, &archive)?;
        Ok(Found::in_pulled(&archive))
    }
}

/// Says what differs; whether nothing does.
fn report(subject: &str, found: &Found, expected: &Digests, file: &Path) -> bool {
    let mut same = 0;
    let mut differ = 0;
    for (name, digest) in &found.digests.0 {
        match expected.of(name) {
            Some(expected) if expected == digest => same += 1,
            expected => {
                differ += 1;
                let expected = expected.unwrap_or("none");
                eprintln!("trust: {subject}: {name} differs: {digest} instead of {expected}");
            }
        }
    }
    for (name, _) in &expected.0 {
        if found.wants(name) && found.digests.of(name).is_none() && found.problem.is_none() {
            differ += 1;
            eprintln!("trust: {subject}: {name} is missing");
        }
    }
    if let Some(problem) = &found.problem {
        differ += 1;
        let problem = format!("{problem:#}").replace('\n', " ");
        eprintln!("trust: {subject}: {problem}");
    }
    for note in &found.notes {
        println!("{subject}: {note}");
    }
    if differ == 0 {
        println!("{subject}: {same} digests are those of {}", file.display());
    }
    differ == 0
}
