//! What `pause-image verify` says: nothing is amiss, or which digest differs, by its name.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// Those of the digests' names that this is true of.
fn names(are_meant: fn(&str) -> bool) -> Vec<String> {
    let digests = fs::read_to_string(project().join("image/digests")).unwrap();
    let names = digests.lines().filter_map(|line| line.split_once("  "));
    let names = names.map(|(_, name)| name.to_owned());
    names.filter(|name| are_meant(name)).collect()
}

/// The programs.
fn programs() -> Vec<String> {
    names(|name| name.ends_with("/pause"))
}

const ARCHIVE: &str = "target/pause.tar";

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A copy of what `make` built, to be changed.
fn copy_of_target() -> TempDir {
    let copy = TempDir::new().unwrap();
    for file in names(|name| name.starts_with("target/")) {
        let to = copy.path().join(file.strip_prefix("target/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let from = project().join(file);
        assert!(from.exists(), "{} is missing: make test", from.display());
        fs::copy(from, to).unwrap();
    }
    copy
}

fn verify_with(digests: &Path, subject: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pause-image"));
    command.arg("verify").arg("--digests").arg(digests);
    command.arg(subject).output().unwrap()
}

fn verify(subject: &Path) -> Output {
    verify_with(&project().join("image/digests"), subject)
}

/// What it fails with: each line without the beginning that all have.
fn failures(output: Output, beginning: &str) -> Vec<String> {
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines = said.lines();
    let rest = lines.map(|line| match line.strip_prefix(beginning) {
        Some(rest) => rest.to_owned(),
        None => panic!("{line:?} does not begin with {beginning:?}"),
    });
    rest.collect()
}

/// The names that it says differ in a file or folder, and nothing else that it says.
fn differing(subject: &Path) -> Vec<String> {
    let beginning = format!("pause-image: {}: ", subject.display());
    let lines = failures(verify(subject), &beginning);
    let names = lines
        .iter()
        .map(|line| match line.split_once(" differs: ") {
            Some((name, _)) => name.to_owned(),
            None => panic!("{line}"),
        });
    names.collect()
}

/// Flips the lowest bit of a file's byte.
fn flip(file: &Path, at: usize) {
    let mut content = fs::read(file).unwrap();
    content[at] ^= 1;
    fs::write(file, content).unwrap();
}

/// Where the archive has the blob of that name.
fn offset(archive: &Path, name: &str) -> (usize, Vec<u8>) {
    let digests = fs::read_to_string(project().join("image/digests")).unwrap();
    let mut lines = digests.lines().filter_map(|line| line.split_once("  "));
    let (digest, _) = lines.find(|(_, it)| *it == name).expect(name);
    let bytes = fs::read(archive).unwrap();
    let mut tar = tar::Archive::new(&*bytes);
    for entry in tar.entries().unwrap() {
        let entry = entry.unwrap();
        if entry.path().unwrap().ends_with(digest) {
            let start = entry.raw_file_position() as usize;
            let size = entry.size() as usize;
            return (start, bytes[start..start + size].to_owned());
        }
    }
    panic!("no {name}");
}

#[test]
fn nothing_is_amiss_with_what_make_built() {
    let target = copy_of_target();
    for (subject, count) in [
        (target.path().to_owned(), names(|_| true).len()),
        (
            target.path().join("pause.tar"),
            names(|name| !name.ends_with("/pause")).len(),
        ),
    ] {
        let output = verify(&subject);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(output.stderr.is_empty());
        assert!(
            said.contains(&format!(": {count} digests are those of ")),
            "{said}"
        );
    }
}

#[test]
fn a_program_with_one_byte_changed_is_named() {
    for program in programs() {
        let target = copy_of_target();
        flip(
            &target.path().join(program.strip_prefix("target/").unwrap()),
            300,
        );
        assert_eq!(differing(target.path()), [program]);
    }
}

#[test]
fn a_blob_with_one_byte_changed_is_named() {
    for platform in ["amd64", "arm64", "s390x"] {
        for (name, within) in [
            ("index".to_owned(), Some("holds its namespaces")),
            (format!("manifest of {platform}"), Some("image.version")),
            (format!("config of {platform}"), Some("65535")),
            (format!("layer of {platform}"), None),
        ] {
            let target = copy_of_target();
            let archive = target.path().join("pause.tar");
            let (start, blob) = offset(&archive, &name);
            // Where the blob can still be read: in a text, or the time in the head of gzip's format.
            let place = within.map_or(4, |text| {
                let mut windows = blob.windows(text.len());
                windows.position(|it| it == text.as_bytes()).expect(text)
            });
            flip(&archive, start + place);
            assert_eq!(differing(&archive), [&name, ARCHIVE]);
            assert_eq!(differing(target.path()), [&name, ARCHIVE]);
        }
    }
}

#[test]
fn what_is_no_blob_is_of_the_archive() {
    let target = copy_of_target();
    let archive = target.path().join("pause.tar");
    let end = fs::metadata(&archive).unwrap().len() as usize - 1;
    flip(&archive, end);
    assert_eq!(differing(&archive), [ARCHIVE]);
}

#[test]
fn what_cannot_be_read_is_named_too() {
    let target = copy_of_target();
    let archive = target.path().join("pause.tar");
    let (start, _) = offset(&archive, "index");
    flip(&archive, start); // An index that is no JSON.
    let lines = failures(
        verify(&archive),
        &format!("pause-image: {}: ", archive.display()),
    );
    assert!(lines[0].starts_with("index differs: "), "{lines:?}");
    assert!(
        lines[1].starts_with("target/pause.tar differs: "),
        "{lines:?}"
    );
    assert!(
        lines[2].starts_with("the index cannot be read: "),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 3, "{lines:?}");

    let target = copy_of_target();
    fs::remove_file(target.path().join("pause/arm64/pause")).unwrap();
    let beginning = format!("pause-image: {}: ", target.path().display());
    let lines = failures(verify(target.path()), &beginning);
    assert_eq!(lines, ["target/pause/arm64/pause is missing"]);

    // One layer is that of two platforms: it is named for both.
    let target = copy_of_target();
    let archive = target.path().join("pause.tar");
    let (start, _) = offset(&archive, "layer of arm/v7");
    flip(&archive, start + 4);
    let layers = ["layer of arm/v6", "layer of arm/v7", ARCHIVE];
    assert_eq!(differing(&archive), layers);
}

#[test]
fn another_name_makes_another_archive_of_the_same_blobs() {
    let target = copy_of_target();
    let archive = target.path().join("pause.tar");
    let bytes = fs::read(&archive).unwrap();
    let (name, other) = (b"localhost/pause:", b"localhost/other:");
    let mut renamed = bytes.clone();
    for at in 0..bytes.len() - name.len() {
        if bytes[at..].starts_with(name) {
            renamed[at..at + name.len()].copy_from_slice(other);
        }
    }
    assert!(renamed != bytes);
    fs::write(&archive, renamed).unwrap();
    let output = verify(&archive);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("named localhost/other:"), "{said}");
    let count = names(|name| !name.starts_with("target/")).len();
    let told = format!(": {count} digests are those of ");
    assert!(said.contains(&told), "{said}");
}

#[test]
fn bad_input_gets_one_line() {
    let line = |digests: &Path, subject: &Path| {
        let lines = failures(verify_with(digests, subject), "pause-image: ");
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    };
    let digests = project().join("image/digests");
    let target = project().join("target");
    let said = line(Path::new("/nowhere/digests"), &target);
    assert!(
        said.contains("cannot read /nowhere/digests: No such file"),
        "{said}"
    );
    let said = line(&digests, Path::new("/nowhere/pause.tar"));
    assert!(
        said.contains("is neither a file nor the name of an image"),
        "{said}"
    );
    let said = line(&digests, &digests);
    assert!(said.contains("is no archive"), "{said}");

    let folder = TempDir::new().unwrap();
    let file: PathBuf = folder.path().join("digests");
    let right = fs::read_to_string(&digests).unwrap();
    let last = right.lines().last().unwrap();
    for (text, problem) in [
        ("", "has no digest"),
        ("abc  target/pause.tar\n", "line 1: no sha256 and name"),
        (&format!("{last}\n{last}\n"), "has target/pause.tar twice"),
    ] {
        fs::write(&file, text).unwrap();
        let said = line(&file, &target);
        assert!(said.contains(problem), "{said}");
    }
}

#[test]
fn digests_are_written_whole_or_not_at_all() {
    let target = copy_of_target();
    let file = target.path().join("digests");
    let write = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pause-image"));
        command
            .arg("digests")
            .arg(target.path())
            .arg("--output")
            .arg(&file);
        command.output().unwrap()
    };
    assert!(write().status.success());
    let written = fs::read_to_string(&file).unwrap();
    let kept = fs::read_to_string(project().join("image/digests")).unwrap();
    assert_eq!(written, kept, "make digests writes it anew");

    fs::remove_file(target.path().join("pause.tar")).unwrap();
    let lines = failures(write(), "pause-image: ");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
}
