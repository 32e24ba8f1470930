//! The command pause-image, on what `make` built.

use oci_spec::image::MediaType;
use pause_image::{
    layout::{Layout, append},
    read::Image,
    sha256,
};
use sandbox::{built, output, project, text};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

const NAME: &str = "localhost/pause:test";
const BINARY: &str = "amd64=target/pause/amd64/pause";

/// The command with these arguments, separated by spaces, in the project's directory.
fn pause_image(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pause-image"));
    command.args(arguments.split(' '));
    command.current_dir(project());
    command
}

/// A `pause-image pack` of binaries that are separated by spaces.
fn pack(image: &str, output: &Path, binaries: &str) -> Command {
    let mut pack = pause_image("pack --image");
    pack.arg(image).arg("--output").arg(output);
    pack.args(binaries.split(' '));
    pack
}

/// The command fails with one line that contains `why`.
fn fails(command: &mut Command, why: &str) {
    let output = command.output().unwrap();
    let stderr = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let is_named = stderr.starts_with("pause-image: ") && stderr.contains(why);
    assert!(is_named, "{why}: {stderr}");
}

/// Packing fails with a line that contains `why`, and writes nothing.
fn refuses(image: &str, binaries: &str, why: &str) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("pause.tar");
    fails(&mut pack(image, &file, binaries), why);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{why}");
}

#[test]
fn refuses_wrong_arguments() {
    let directory = TempDir::new().unwrap();
    let changed = |name: &str, change: fn(&mut Vec<u8>)| {
        let mut program = fs::read(built("pause/amd64/pause")).unwrap();
        change(&mut program);
        let file = directory.path().join(name);
        fs::write(&file, program).unwrap();
        format!("amd64={}", file.display())
    };
    for (binaries, why) in [
        (
            "amd64=target/pause/arm64/pause",
            "target/pause/arm64/pause, given as amd64, is for arm64",
        ),
        ("386=target/pause/arm/pause", "as 386, is for arm"),
        ("riscv64=target/pause/s390x/pause", "is for s390x"),
        ("amd64=/nowhere", "no binary for amd64: /nowhere: No such"),
        ("amd64=Cargo.toml", "Cargo.toml: not an ELF file"),
        (&changed("cut", |it| it.truncate(40)), "not an ELF file"),
        (&changed("core", |it| it[16] = 4), "not an executable"),
        (&changed("vax", |it| it[18] = 75), "pause is not built for"),
        (
            "mips=/",
            "no platform \"mips\"; there are 386, amd64, arm/v6,",
        ),
        (&[BINARY; 2].join(" "), "platform amd64 is given twice"),
        ("target/pause/amd64/pause", "is not PLATFORM=FILE"),
    ] {
        refuses(NAME, binaries, why);
    }
}

#[test]
fn refuses_names_that_a_registry_would_refuse_or_an_engine_would_complete() {
    // Nobody knows the digest before.
    let digest = format!("localhost/pause@sha256:{}", sha256(b""));
    let wrong =
        ",localhost/Pause:1,https://localhost/pause:1,pause:1,library/pause:1,localhost/pause";
    for name in wrong.split(',').chain([&*digest]) {
        refuses(name, BINARY, &format!("{name:?} is not an image name"));
    }
}

#[test]
fn keeps_the_old_archive_if_it_cannot_write() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("pause.tar");
    fs::write(&file, "before").unwrap();
    // As on a full disk.
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]);
    let pack_it = pack(NAME, &file, BINARY);
    limited.arg(pack_it.get_program()).args(pack_it.get_args());
    fails(limited.current_dir(project()), "File too large");
    assert_eq!(fs::read(&file).unwrap(), b"before");
    let nowhere = Path::new("/nowhere/pause.tar");
    fails(&mut pack(NAME, nowhere, BINARY), "cannot write /nowhere/");
    fails(&mut pack(NAME, directory.path(), BINARY), "Is a directory");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn names_what_is_wrong_with_an_archive() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("changed.tar");
    let refuses = |content: &[u8], why: &str| {
        fs::write(&file, content).unwrap();
        fails(pause_image("digest").arg(&file), why);
    };
    fails(
        &mut pause_image("digest /nowhere"),
        "cannot read /nowhere: No such",
    );
    refuses(b"text", "changed.tar: not a tar archive: ");
    let mut layout = Layout::default();
    let manifest = layout.add_json(MediaType::ImageManifest, &json!({}));
    layout.write(&manifest.unwrap(), &file).unwrap();
    refuses(
        &fs::read(&file).unwrap(),
        "not an image of several platforms",
    );

    // A bit of each blob.
    let archive = fs::read(built("pause.tar")).unwrap();
    for entry in tar::Archive::new(&*archive).entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap();
        if let Ok(digest) = path.strip_prefix("blobs/sha256") {
            let mut archive = archive.clone();
            archive[(entry.raw_file_position() + entry.size() / 2) as usize] ^= 1;
            let why = format!("is damaged: its digest is not sha256:{}", digest.display());
            refuses(&archive, &why);
        }
    }

    // Files that no digest is for. A tar file ends in two empty blocks.
    let end = archive.iter().rposition(|byte| *byte != 0).unwrap() / 512 * 512 + 512;
    for (path, why) in [
        ("layer", "a file that is no part of the image: layer"),
        ("index.json", "the archive has index.json twice"),
    ] {
        let mut tar = tar::Builder::new(archive[..end].to_vec());
        append(&mut tar, path, 0o444, b"").unwrap();
        refuses(&tar.into_inner().unwrap(), why);
    }
}

#[test]
fn the_sbom_lists_the_programs_and_the_crates() {
    let directory = TempDir::new().unwrap();
    let archive = directory.path().join("pause.tar");
    fs::copy(built("pause.tar"), &archive).unwrap();
    output(pause_image("sbom").arg(&archive));
    let sbom = fs::read(directory.path().join("pause.cdx.json")).unwrap();
    let sbom: Value = serde_json::from_slice(&sbom).unwrap();
    let image = Image::read(&fs::read(archive).unwrap()).unwrap();
    let created = image.platforms[0].created.as_deref();
    assert_eq!(sbom["metadata"]["timestamp"].as_str(), created);

    let programs = image.platforms.iter();
    let programs = programs.map(|it| format!("file linux/{}/pause {}", it.name, it.program));
    let mut expected: Vec<String> = programs.collect();
    let pause = concat!(
        "application pkg:cargo/pause@",
        env!("CARGO_PKG_VERSION"),
        " "
    );
    expected.push(pause.to_owned());
    let read = |file: &str| fs::read_to_string(project().join(file)).unwrap();
    let lock = read("Cargo.lock");
    for name in ["linux-raw-sys", "syscalls"] {
        let (_, entry) = lock.split_once(&format!("name = \"{name}\"\n")).unwrap();
        let values: Vec<&str> = entry.split('"').skip(1).step_by(2).take(3).collect();
        let (version, checksum) = (values[0], values[2]);
        expected.push(format!("library pkg:cargo/{name}@{version} {checksum}"));
    }
    let toolchain = read("rust-toolchain.toml");
    let rustc = toolchain.split('"').nth(1).unwrap();
    expected.push(format!("library pkg:generic/rust-core@{rustc} "));
    let digest = image.index.digest();
    let container = format!("container pkg:oci/pause@{digest} {}", digest.digest());
    expected.push(container);

    let components = sbom["components"].as_array().unwrap().iter();
    let components: Vec<&Value> = components.chain([&sbom["metadata"]["component"]]).collect();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let found = components.iter().map(|it| {
        let words = [&it["type"], &it["bom-ref"], &it["hashes"][0]["content"]];
        words.map(text).join(" ")
    });
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let is_listed = |reference: &Value| components.iter().any(|it| it["bom-ref"] == *reference);
    for dependency in sbom["dependencies"].as_array().unwrap() {
        let on = dependency["dependsOn"].as_array().unwrap();
        assert!(
            on.iter().chain([&dependency["ref"]]).all(is_listed),
            "{dependency}"
        );
    }
}
