//! Size: of the file, of its parts, and of an image.

use crate::peers::Peer;
use anyhow::{Context, Result, bail};
use engines::{
    built,
    engine::{Cli, Docker},
    output,
    program::Platform,
};
use flate2::{Compression, write::GzEncoder};
use object::{
    Endianness, File, Object, ObjectSection, SectionFlags, elf,
    read::elf::{ElfFile, FileHeader},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::Path,
    process::Command,
};

/// Sizes of one program, in bytes.
#[derive(Clone, Serialize, Deserialize)]
pub struct Size {
    pub file: u64,
    /// ELF header and program headers.
    pub headers: u64,
    /// Executable sections.
    pub code: u64,
    /// Compressed by gzip -9.
    pub gzip: u64,
    /// An image for one platform. Static programs only.
    pub image: Option<Image>,
}

/// Sizes of an image, in bytes.
#[derive(Clone, Serialize, Deserialize)]
pub struct Image {
    pub layer: u64,
    pub pulled: u64,
    /// The size that `docker images` shows, for this machine's platform.
    pub docker: Option<u64>,
}

/// Measures one program on each of its platforms.
///
/// # Errors
///
/// A file is not an ELF file. A failure of the packer panics.
pub fn measure(peer: &Peer, docker: &Docker, quick: bool) -> Result<BTreeMap<String, Size>> {
    let of = |platform: &'static Platform| {
        let path = peer.path(platform);
        let size = measure_file(&path, platform, docker, quick);
        let size = size.with_context(|| path.display().to_string())?;
        Ok((platform.name.to_owned(), size))
    };
    peer.platforms().map(of).collect()
}

fn measure_file(path: &Path, platform: &Platform, docker: &Docker, quick: bool) -> Result<Size> {
    let bytes = fs::read(path)?;
    let file = File::parse(&*bytes)?;
    let headers = headers(&file)?;
    let is_dynamic = file.section_by_name(".interp").is_some();
    // A large program takes seconds to pack.
    let is_packed = !is_dynamic && (!quick || bytes.len() < 100_000);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&bytes)?;
    Ok(Size {
        file: bytes.len() as u64,
        headers,
        code: code(&file, &bytes, headers),
        gzip: gzip.finish()?.len() as u64,
        image: is_packed
            .then(|| measure_image(path, platform, docker))
            .transpose()?,
    })
}

/// Bytes of the ELF header and the program headers (elf(5)).
fn headers(file: &File) -> Result<u64> {
    fn of<Elf: FileHeader<Endian = Endianness>>(elf: &ElfFile<Elf>) -> u64 {
        let (header, endian) = (elf.elf_header(), elf.endian());
        u64::from(header.e_ehsize(endian))
            + u64::from(header.e_phentsize(endian)) * u64::from(header.e_phnum(endian))
    }
    match file {
        File::Elf32(elf) => Ok(of(elf)),
        File::Elf64(elf) => Ok(of(elf)),
        _ => bail!("not an ELF file"),
    }
}

/// Bytes of code. In a file without sections, the code ends where the first message starts.
fn code(file: &File, bytes: &[u8], headers: u64) -> u64 {
    if file.sections().next().is_none() {
        let messages = [&b"Shutting down"[..], b"Warning", b"pause 0"];
        let starts = messages
            .iter()
            .filter_map(|text| bytes.windows(text.len()).position(|it| it == *text));
        return starts.min().unwrap_or(bytes.len()) as u64 - headers;
    }
    let sections = file.sections().filter(|section| {
        matches!(section.flags(), SectionFlags::Elf { sh_flags, .. } if sh_flags.contains(elf::SHF_EXECINSTR))
    });
    sections.map(|section| section.size()).sum()
}

/// Packs a program like pause, and measures the image.
fn measure_image(program: &Path, platform: &Platform, docker: &Docker) -> Result<Image> {
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("image.tar");
    let image = "localhost/measured:latest";
    pack(program, platform, image, &archive);
    let (layer, pulled) = pulled(&archive)?;
    let docker = (platform == Platform::native()).then(|| {
        docker.run(&["load", "--input", archive.to_str().unwrap()]);
        let size = docker.run(&["image", "inspect", "--format={{.Size}}", image]);
        docker.run(&["image", "rm", image]);
        size.parse().unwrap()
    });
    Ok(Image {
        layer,
        pulled,
        docker,
    })
}

/// The bytes of the layer in an archive for one platform, and the bytes that a pull transfers.
///
/// # Errors
///
/// The archive has no manifest.
pub fn pulled(archive: &Path) -> Result<(u64, u64)> {
    for entry in tar::Archive::new(fs::File::open(archive)?).entries()? {
        let mut content = Vec::new();
        entry?.read_to_end(&mut content)?;
        let json: Value = serde_json::from_slice(&content).unwrap_or_default();
        if json["layers"].is_array() {
            let size = |it: &Value| it["size"].as_u64().context("no size");
            let layer = size(&json["layers"][0])?;
            return Ok((layer, content.len() as u64 + size(&json["config"])? + layer));
        }
    }
    bail!("no manifest in the archive")
}

/// Packs a program for one platform like pause.
pub fn pack(program: &Path, platform: &Platform, image: &str, archive: &Path) {
    let mut pack = Command::new(built("cargo/release/pause-image"));
    // Any day does: all are equally long.
    pack.args(["pack", "--image", image, "--created=2026-11-25T00:00:00Z"]);
    pack.arg("--output").arg(archive);
    pack.arg(format!("{}={}", platform.name, program.display()));
    output(&mut pack);
}
