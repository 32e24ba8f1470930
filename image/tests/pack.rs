//! What the packer says of bad input: one line, exit code 1, and no file left behind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

fn binary(arch: &str) -> String {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pause");
    let path: PathBuf = target.join(arch).join("pause");
    assert!(
        path.exists(),
        "{} is missing: run `make build`",
        path.display()
    );
    path.to_str().unwrap().to_owned()
}

fn pack(image: &str, output: &Path, binaries: &[String]) -> Output {
    let mut packer = Command::new(env!("CARGO_BIN_EXE_pause-image"));
    packer
        .args(["pack", "--image", image, "--output"])
        .arg(output);
    packer.args(binaries).output().unwrap()
}

/// The line that the packer fails with, and that it leaves nothing in the folder.
fn failure(image: &str, binaries: &[String]) -> String {
    let folder = TempDir::new().unwrap();
    let line = line_of(pack(image, &folder.path().join("pause.tar"), binaries));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{line}");
    line
}

fn line_of(output: Output) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("pause-image: "), "{said}");
    said
}

const NAME: &str = "localhost/pause:test";

#[test]
fn names_all_that_are_for_another_platform() {
    let (amd64, arm64) = (binary("amd64"), binary("arm64"));
    let line = failure(NAME, &[format!("amd64={arm64}"), format!("arm64={amd64}")]);
    assert!(
        line.contains(&format!("{arm64}, given as amd64, is for arm64")),
        "{line}"
    );
    assert!(
        line.contains(&format!("{amd64}, given as arm64, is for amd64")),
        "{line}"
    );

    // Of 32 bits, and big-endian.
    let (arm, s390x) = (binary("arm"), binary("s390x"));
    for (platform, path, arch) in [("386", &arm, "arm"), ("riscv64", &s390x, "s390x")] {
        let line = failure(NAME, &[format!("{platform}={path}")]);
        let told = format!("{path}, given as {platform}, is for {arch}");
        assert!(line.contains(&told), "{line}");
    }
}

#[test]
fn names_a_binary_that_is_missing_or_is_none() {
    let line = failure(NAME, &["amd64=/nowhere/pause".into()]);
    assert!(
        line.contains("no binary for amd64: /nowhere/pause: No such file"),
        "{line}"
    );
    let line = failure(
        NAME,
        &[concat!("amd64=", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into()],
    );
    assert!(line.contains("Cargo.toml: no ELF file"), "{line}");

    let folder = TempDir::new().unwrap();
    let cut = folder.path().join("cut");
    fs::write(&cut, &fs::read(binary("amd64")).unwrap()[..40]).unwrap();
    let line = failure(NAME, &[format!("amd64={}", cut.display())]);
    assert!(line.contains(": no ELF file"), "{line}");
}

#[test]
fn names_a_platform_that_is_none_or_comes_twice() {
    let amd64 = binary("amd64");
    let line = failure(NAME, &[format!("mips={amd64}")]);
    assert!(
        line.contains("no platform \"mips\"; there are 386, amd64, arm/v6, arm/v7, arm64, ppc64le, riscv64, s390x"),
        "{line}"
    );
    let line = failure(NAME, &[format!("amd64={amd64}"), format!("amd64={amd64}")]);
    assert!(line.contains("platform amd64 is given twice"), "{line}");
    let line = failure(NAME, std::slice::from_ref(&amd64));
    assert!(line.contains("is not PLATFORM=FILE"), "{line}");
}

#[test]
fn takes_no_name_that_a_registry_would_not_take_or_an_engine_would_complete() {
    let binaries = [format!("amd64={}", binary("amd64"))];
    for name in [
        "",
        "localhost/Pause:1",
        "localhost/pause:",
        "localhost/pa use:1",
        "localhost//pause:1",
        "localhost/pause:.1",
        "localhost/pause:1:2",
        "https://localhost/pause:1",
        // In need of completion:
        "pause",
        "pause:1",
        "library/pause:1",
        "localhost/pause",
        // With a digest, which nobody knows before:
        "localhost/pause@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ] {
        let line = failure(name, &binaries);
        assert!(line.contains(&format!("{name:?} names no image")), "{line}");
    }
}

#[test]
fn keeps_what_was_there_where_it_cannot_write() {
    let binaries = [format!("amd64={}", binary("amd64"))];
    let line = line_of(pack(NAME, Path::new("/nowhere/pause.tar"), &binaries));
    assert!(
        line.contains("cannot write /nowhere/pause.tar: No such file"),
        "{line}"
    );

    // A folder is in the way.
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("pause.tar");
    fs::create_dir(&output).unwrap();
    let line = line_of(pack(NAME, &output, &binaries));
    assert!(line.contains("Is a directory"), "{line}");

    // An archive of before is there, and the next one fails.
    fs::remove_dir(&output).unwrap();
    fs::write(&output, "before").unwrap();
    line_of(pack(NAME, &output, &["amd64=/nowhere".into()]));
    assert_eq!(fs::read(&output).unwrap(), b"before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn packs_the_same_bytes_each_time() {
    let folder = TempDir::new().unwrap();
    let binaries = ["arm64", "amd64"].map(|arch| format!("{arch}={}", binary(arch)));
    let archives = ["one", "two"].map(|name| {
        let output = folder.path().join(name);
        let packed = pack(NAME, &output, &binaries);
        assert!(packed.status.success(), "{packed:?}");
        fs::read(output).unwrap()
    });
    assert!(archives[0] == archives[1]);
}

#[test]
fn takes_no_time_that_is_none() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("pause.tar");
    let words = ["--created=yesterday".to_owned(), binary("amd64")];
    let packed = pack(NAME, &output, &words);
    assert_eq!(packed.status.code(), Some(2));
    let said = String::from_utf8(packed.stderr).unwrap();
    assert!(said.contains("'yesterday' for '--created"), "{said}");
    assert!(!output.exists());
}
