//! The command pause-image, on what `make` built.

use oci_spec::image::MediaType;
use pause_image::{
    layout::{Layout, append},
    sha256,
};
use sandbox::{
    built, output,
    program::{PLATFORMS, Program},
    project, text,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, io::Read, path::Path, process::Command};
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
            "amd64=target/pause/arm64/pause arm64=target/pause/amd64/pause",
            "target/pause/arm64/pause, given as amd64, is for arm64; \
             target/pause/amd64/pause, given as arm64, is for amd64",
        ),
        ("386=target/pause/arm/pause", "as 386, is for arm"),
        ("riscv64=target/pause/s390x/pause", "is for s390x"),
        ("amd64=/nowhere", "no binary for amd64: /nowhere: No such"),
        ("amd64=Cargo.toml", "Cargo.toml: not an ELF file"),
        (&changed("cut", |it| it.truncate(40)), "not an ELF file"),
        (&changed("core", |it| it[16] = 4), "not an executable"),
        (&changed("vax", |it| it[18] = 75), "pause is not built for"),
        (
            "mips=target/pause/amd64/pause",
            "no platform \"mips\"; there are 386, amd64, arm/v6, arm/v7, arm64, ppc64le, riscv64, s390x",
        ),
        (&[BINARY; 2].join(" "), "platform amd64 is given twice"),
        ("target/pause/amd64/pause", "is not PLATFORM=FILE"),
        (
            &format!("--created=yesterday {BINARY}"),
            "\"yesterday\" is not a time",
        ),
    ] {
        refuses(NAME, binaries, why);
    }
}

#[test]
fn refuses_names_that_a_registry_would_refuse_or_an_engine_would_complete() {
    let invalid = [
        "",
        "localhost/Pause:1",
        "localhost/pause:",
        "localhost//pause:1",
        "https://localhost/pause:1",
    ];
    let incomplete = ["pause", "pause:1", "library/pause:1", "localhost/pause"];
    // Nobody knows the digest before.
    let digest = format!("localhost/pause@sha256:{}", sha256(b""));
    for name in invalid.into_iter().chain(incomplete).chain([&*digest]) {
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

    // A bit of each kind of blob.
    let archive = fs::read(built("pause.tar")).unwrap();
    let mut blobs = BTreeMap::new();
    for entry in tar::Archive::new(&*archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (path, at) = (
            entry.path().unwrap().into_owned(),
            entry.raw_file_position(),
        );
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        blobs.insert(path, (at as usize, content));
    }
    let find = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        &blobs[Path::new(&format!("blobs/{}", digest.replace(':', "/")))]
    };
    let parse = |content: &[u8]| -> Value { serde_json::from_slice(content).unwrap() };
    let index = find(&parse(&blobs[Path::new("index.json")].1)["manifests"][0]);
    let manifest = find(&parse(&index.1)["manifests"][7]);
    let parts = parse(&manifest.1);
    for ((at, content), name) in [
        (index, "index"),
        (manifest, "manifest of s390x"),
        (find(&parts["config"]), "config of s390x"),
        (find(&parts["layers"][0]), "layer of s390x"),
    ] {
        let mut archive = archive.clone();
        archive[at + content.len() / 2] ^= 1;
        refuses(&archive, &format!("the {name} is damaged: "));
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
    assert_eq!(
        (&sbom["bomFormat"], &sbom["specVersion"]),
        (&json!("CycloneDX"), &json!("1.5"))
    );
    let read = |file: &str| fs::read_to_string(project().join(file)).unwrap();
    let heading = concat!("\n## [", env!("CARGO_PKG_VERSION"), "] - ");
    let changelog = read("CHANGELOG.md");
    let day = changelog
        .split_once(heading)
        .map(|(_, it)| format!("{it:.10}T00:00:00Z"));
    assert_eq!(sbom["metadata"]["timestamp"].as_str(), day.as_deref());

    let mut expected = Vec::new();
    for platform in &PLATFORMS {
        let program = fs::read(Program::new("pause", platform.name).path).unwrap();
        expected.push(format!(
            "file linux/{}/pause {}",
            platform.name,
            sha256(&program)
        ));
    }
    expected.push(
        concat!(
            "application pkg:cargo/pause@",
            env!("CARGO_PKG_VERSION"),
            " "
        )
        .to_owned(),
    );
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
    let digest = output(&mut pause_image("digest target/pause.tar"));
    let digest = digest.trim();
    let (_, hash) = digest.split_once(':').unwrap();
    expected.push(format!("container pkg:oci/pause@{digest} {hash}"));

    let components = sbom["components"].as_array().unwrap().iter();
    let components: Vec<&Value> = components.chain([&sbom["metadata"]["component"]]).collect();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let found = components.iter().map(|it| {
        let words = [&it["type"], &it["bom-ref"], &it["hashes"][0]["content"]];
        words.map(text).join(" ")
    });
    assert_eq!(found.collect::<Vec<_>>(), expected);
    for dependency in sbom["dependencies"].as_array().unwrap() {
        let on = dependency["dependsOn"].as_array().unwrap();
        for reference in on.iter().chain([&dependency["ref"]]) {
            assert!(
                components.iter().any(|it| it["bom-ref"] == *reference),
                "{dependency}"
            );
        }
    }
}
