//! `pause-image verify` says that all digests match, or names each that differs.

use crate::{digest_of, digests, failure, failures, pause_image};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;
use tests::{output, project};

const ARCHIVE: &str = "target/pause.tar";

/// The names in image/digests that fit.
fn names(fits: fn(&str) -> bool) -> Vec<String> {
    let names = digests().into_iter().map(|(_, name)| name);
    names.filter(|name| fits(name)).collect()
}

/// A copy of what `make` built.
struct Target(TempDir);

impl Target {
    fn copy() -> Self {
        let copy = Self(TempDir::new().unwrap());
        for file in names(|name| name.starts_with("target/")) {
            let to = copy.path(&file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let from = project().join(&file);
            assert!(from.exists(), "{file} is missing: make test");
            fs::copy(from, to).unwrap();
        }
        copy
    }

    /// The copy of a file.
    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file.strip_prefix("target/").unwrap())
    }

    /// Flips a bit of a file.
    fn flip(&self, file: &str, at: usize) {
        let mut content = fs::read(self.path(file)).unwrap();
        content[at] ^= 1;
        fs::write(self.path(file), content).unwrap();
    }
}

fn verify_with(digests: &Path, subject: &Path) -> Command {
    let mut verify = pause_image("verify --digests");
    verify.arg(digests).arg(subject);
    verify
}

fn verify(subject: &Path) -> Command {
    verify_with(Path::new("image/digests"), subject)
}

/// The lines that verification fails with, without the name of the subject.
fn problems(subject: &Path) -> Vec<String> {
    let start = format!("{}: ", subject.display());
    let lines = failures(&mut verify(subject)).into_iter();
    lines
        .map(|line| line.strip_prefix(&start).expect(&line).to_owned())
        .collect()
}

/// The names of digests that differ, if there is no other problem.
fn differing(subject: &Path) -> Vec<String> {
    let lines = problems(subject).into_iter();
    lines
        .map(|line| line.split_once(" differs: ").expect(&line).0.to_owned())
        .collect()
}

/// The offset of a blob in target/pause.tar, and its content.
fn blob(name: &str) -> (usize, Vec<u8>) {
    let digest = digest_of(name);
    let bytes = fs::read(project().join(ARCHIVE)).unwrap();
    let mut tar = tar::Archive::new(&*bytes);
    let mut entries = tar.entries().unwrap().map(Result::unwrap);
    let entry = entries.find(|entry| entry.path().unwrap().ends_with(&digest));
    let entry = entry.expect(name);
    let start = entry.raw_file_position() as usize;
    (start, bytes[start..][..entry.size() as usize].to_owned())
}

#[test]
fn accepts_what_make_built() {
    let target = Target::copy();
    for (subject, count) in [
        (target.0.path(), digests().len()),
        (
            &target.path(ARCHIVE),
            names(|name| !name.ends_with("/pause")).len(),
        ),
    ] {
        let said = output(&mut verify(subject));
        let told = format!("{}: all {count} digests match ", subject.display());
        assert!(said.starts_with(&told), "{said}");
    }
}

#[test]
fn names_a_program_with_one_bit_flipped() {
    for program in names(|name| name.ends_with("/pause")) {
        let target = Target::copy();
        target.flip(&program, 300);
        assert_eq!(differing(target.0.path()), [program]);
    }
}

#[test]
fn names_a_blob_with_one_bit_flipped() {
    for platform in ["amd64", "arm64", "s390x"] {
        for (name, within) in [
            ("index".to_owned(), Some("holds its namespaces")),
            (format!("manifest of {platform}"), Some("image.version")),
            (format!("config of {platform}"), Some("65535")),
            (format!("layer of {platform}"), None),
        ] {
            let target = Target::copy();
            let (start, content) = blob(&name);
            // A place that leaves the blob readable: a text, or the time in gzip's header.
            let place = within.map_or(4, |text| {
                let mut windows = content.windows(text.len());
                windows.position(|it| it == text.as_bytes()).expect(text)
            });
            target.flip(ARCHIVE, start + place);
            assert_eq!(differing(&target.path(ARCHIVE)), [&name, ARCHIVE]);
            assert_eq!(differing(target.0.path()), [&name, ARCHIVE]);
            let line = failure(pause_image("tag").arg(target.path(ARCHIVE)));
            let told = format!("the {name} is damaged: ");
            assert!(line.contains(&told), "{line}");
        }
    }
}

#[test]
fn names_the_archive_if_no_blob_differs() {
    let target = Target::copy();
    let end = fs::metadata(target.path(ARCHIVE)).unwrap().len() as usize - 1;
    target.flip(ARCHIVE, end);
    assert_eq!(differing(&target.path(ARCHIVE)), [ARCHIVE]);
}

#[test]
fn names_what_cannot_be_parsed_or_is_missing() {
    let target = Target::copy();
    target.flip(ARCHIVE, blob("index").0); // The JSON's first brace.
    let lines = problems(&target.path(ARCHIVE));
    let told = [
        "index differs: ",
        "target/pause.tar differs: ",
        "cannot parse the index: ",
    ];
    assert_eq!(lines.len(), told.len(), "{lines:?}");
    for (line, told) in lines.iter().zip(told) {
        assert!(line.starts_with(told), "{line}");
    }

    let target = Target::copy();
    fs::remove_file(target.path("target/pause/arm64/pause")).unwrap();
    let lines = problems(target.0.path());
    assert_eq!(lines, ["target/pause/arm64/pause is missing"]);

    // Two platforms share a layer: verify names it for both.
    let target = Target::copy();
    target.flip(ARCHIVE, blob("layer of arm/v7").0 + 4);
    let layers = ["layer of arm/v6", "layer of arm/v7", ARCHIVE];
    assert_eq!(differing(&target.path(ARCHIVE)), layers);
}

#[test]
fn accepts_an_archive_with_another_name() {
    let target = Target::copy();
    let archive = target.path(ARCHIVE);
    let mut bytes = fs::read(&archive).unwrap();
    let (name, other) = (b"localhost/pause:", b"localhost/other:");
    let places: Vec<_> = (0..bytes.len() - name.len())
        .filter(|at| bytes[*at..].starts_with(name))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..][..name.len()].copy_from_slice(other);
    }
    fs::write(&archive, bytes).unwrap();
    let said = output(&mut verify(&archive));
    assert!(said.contains("named localhost/other:"), "{said}");
    let count = names(|name| !name.starts_with("target/")).len();
    let told = format!(": all {count} digests match ");
    assert!(said.contains(&told), "{said}");
}

#[test]
fn bad_input_gives_one_line() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let archive = Path::new(ARCHIVE);
    let digests = Path::new("image/digests");
    let line = format!("{}  {ARCHIVE}\n", digest_of(ARCHIVE));
    for (digests, subject, told) in [
        (
            Path::new("/nowhere/digests"),
            archive,
            "cannot read /nowhere/digests: No such file",
        ),
        (
            digests,
            Path::new("/nowhere/pause.tar"),
            "/nowhere/pause.tar: neither a file nor an image name",
        ),
        (digests, digests, "not a tar archive"),
        (&file("none", ""), archive, "has no digest"),
        (
            &file("short", "abc  target/pause.tar\n"),
            archive,
            "line 1: not a sha256 and a name",
        ),
        (
            &file("double", &line.repeat(2)),
            archive,
            "has target/pause.tar twice",
        ),
    ] {
        let said = failure(&mut verify_with(digests, subject));
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn writes_all_digests_or_no_file() {
    let target = Target::copy();
    let file = target.0.path().join("digests");
    let write = || {
        let mut command = pause_image("digests");
        command.arg(target.0.path()).arg("--output").arg(&file);
        command
    };
    output(&mut write());
    let written = fs::read_to_string(&file).unwrap();
    let kept = fs::read_to_string(project().join("image/digests")).unwrap();
    assert_eq!(written, kept, "make digests updates it");

    fs::remove_file(target.path(ARCHIVE)).unwrap();
    failure(&mut write());
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
}
