//! Bad input gives one line and exit code 1, and leaves no file behind.

use crate::{failure, pause_image};
use sandbox::built;
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

const NAME: &str = "localhost/pause:test";

/// A `pause-image pack` of binaries that are separated by spaces.
fn pack(image: &str, output: &Path, binaries: &str) -> Command {
    let mut pack = pause_image("pack --image");
    pack.arg(image).arg("--output").arg(output);
    pack.args(binaries.split(' '));
    pack
}

/// The line that packing fails with, into a folder that stays empty.
fn failure_of(image: &str, binaries: &str) -> String {
    let folder = TempDir::new().unwrap();
    let line = failure(&mut pack(image, &folder.path().join("pause.tar"), binaries));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{line}");
    line
}

#[test]
fn refuses_wrong_arguments() {
    let folder = TempDir::new().unwrap();
    let cut = folder.path().join("cut");
    fs::write(&cut, &fs::read(built("pause/amd64/pause")).unwrap()[..40]).unwrap();
    for (binaries, told) in [
        (
            "amd64=target/pause/arm64/pause arm64=target/pause/amd64/pause",
            "target/pause/arm64/pause, given as amd64, is for arm64; \
             target/pause/amd64/pause, given as arm64, is for amd64",
        ),
        (
            "386=target/pause/arm/pause",
            "target/pause/arm/pause, given as 386, is for arm",
        ),
        (
            "riscv64=target/pause/s390x/pause",
            "target/pause/s390x/pause, given as riscv64, is for s390x",
        ),
        (
            "amd64=/nowhere/pause",
            "no binary for amd64: /nowhere/pause: No such file",
        ),
        ("amd64=Cargo.toml", "Cargo.toml: not an ELF file"),
        (&format!("amd64={}", cut.display()), "/cut: not an ELF file"),
        (
            "mips=target/pause/amd64/pause",
            "no platform \"mips\"; there are 386, amd64, arm/v6, arm/v7, arm64, ppc64le, riscv64, s390x",
        ),
        (
            "amd64=target/pause/amd64/pause amd64=target/pause/amd64/pause",
            "platform amd64 is given twice",
        ),
        (
            "target/pause/amd64/pause",
            "\"target/pause/amd64/pause\" is not PLATFORM=FILE",
        ),
        (
            "--created=yesterday amd64=target/pause/amd64/pause",
            "\"yesterday\" is not a time",
        ),
    ] {
        let line = failure_of(NAME, binaries);
        assert!(line.contains(told), "{line}");
    }
}

#[test]
fn refuses_names_that_a_registry_would_refuse_or_an_engine_would_complete() {
    for name in [
        "",
        "localhost/Pause:1",
        "localhost/pause:",
        "localhost/pa use:1",
        "localhost//pause:1",
        "localhost/pause:.1",
        "localhost/pause:1:2",
        "https://localhost/pause:1",
        // Incomplete:
        "pause",
        "pause:1",
        "library/pause:1",
        "localhost/pause",
        // With a digest, which nobody knows before:
        "localhost/pause@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ] {
        let line = failure_of(name, "amd64=target/pause/amd64/pause");
        let told = format!("{name:?} is not an image name");
        assert!(line.contains(&told), "{line}");
    }
}

#[test]
fn keeps_the_old_archive_if_it_cannot_write() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("pause.tar");
    // A folder that is not there, and one in place of the file.
    fs::create_dir(&output).unwrap();
    for (output, told) in [
        (
            Path::new("/nowhere/pause.tar"),
            "cannot write /nowhere/pause.tar: No such file",
        ),
        (&output, "Is a directory"),
    ] {
        let line = failure(&mut pack(NAME, output, "amd64=target/pause/amd64/pause"));
        assert!(line.contains(told), "{line}");
    }

    fs::remove_dir(&output).unwrap();
    fs::write(&output, "before").unwrap();
    failure(&mut pack(NAME, &output, "amd64=/nowhere"));
    assert_eq!(fs::read(&output).unwrap(), b"before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
