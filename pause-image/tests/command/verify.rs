//! `scripts/compare`, and so `make verify`, says that all digests match, or names what differs.

use crate::{digest_of, digests, pause_image};
use sandbox::{End, output, project, run};
use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;

const ARCHIVE: &str = "target/pause.tar";

/// The names in pause-image/digests that fit.
fn names(fits: fn(&str) -> bool) -> Vec<String> {
    let names = digests().into_iter().map(|(_, name)| name);
    names.filter(|name| fits(name)).collect()
}

/// A copy of what `make` built.
struct Copy(TempDir);

impl Copy {
    fn new() -> Self {
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
        self.0.path().join(file)
    }

    /// Flips a bit of a file.
    fn flip(&self, file: &str, at: usize) {
        let mut content = fs::read(self.path(file)).unwrap();
        content[at] ^= 1;
        fs::write(self.path(file), content).unwrap();
    }

    /// Compares the whole copy if `file` is empty. An archive may lack the programs.
    fn compare(&self, file: &str) -> Command {
        let mut compare = Command::new("scripts/compare");
        let optional = if file.is_empty() { "^$" } else { "^target/" };
        compare.args(["copy", optional]).arg(self.path(file));
        compare.current_dir(project());
        compare
    }

    /// What comparing prints as it fails.
    fn failure(&self, file: &str) -> String {
        let End { status, stderr, .. } = run(&mut self.compare(file));
        assert_eq!(status, Ok(1), "{stderr}");
        stderr
    }

    /// The names of digests that differ, if there is no other problem.
    fn differing(&self, file: &str) -> Vec<String> {
        let said = self.failure(file);
        let lines = said.lines().map(|line| {
            let name = line.strip_prefix("pause: copy: ").expect(line);
            name.split_once(" differs: ").expect(line).0.to_owned()
        });
        lines.collect()
    }
}

/// The offset of the middle of a blob in target/pause.tar.
fn middle_of(name: &str) -> usize {
    let digest = digest_of(name);
    let bytes = fs::read(project().join(ARCHIVE)).unwrap();
    let mut tar = tar::Archive::new(&*bytes);
    let mut entries = tar.entries().unwrap().map(Result::unwrap);
    let entry = entries.find(|entry| entry.path().unwrap().ends_with(&digest));
    let entry = entry.expect(name);
    (entry.raw_file_position() + entry.size() / 2) as usize
}

#[test]
fn accepts_what_make_built() {
    let copy = Copy::new();
    for (subject, count) in [
        ("", digests().len()),
        (ARCHIVE, names(|name| !name.ends_with("/pause")).len()),
    ] {
        let said = output(&mut copy.compare(subject));
        let told = format!("copy: all {count} digests match pause-image/digests\n");
        assert_eq!(said, told);
    }
}

#[test]
fn names_a_program_with_one_bit_flipped() {
    for program in names(|name| name.ends_with("/pause")) {
        let copy = Copy::new();
        copy.flip(&program, 300);
        assert_eq!(copy.differing(""), [program]);
    }
}

#[test]
fn names_a_program_that_is_missing() {
    let copy = Copy::new();
    let program = "target/pause/arm64/pause";
    fs::remove_file(copy.path(program)).unwrap();
    let told = format!("pause: copy: {program} is missing\n");
    assert_eq!(copy.failure(""), told);
}

#[test]
fn names_each_part_of_an_image_with_another_program() {
    let copy = Copy::new();
    copy.flip("target/pause/s390x/pause", 300);
    let mut pack = pause_image("pack --image");
    pack.arg(concat!("localhost/pause:", env!("CARGO_PKG_VERSION")));
    pack.arg("--output").arg(copy.path(ARCHIVE));
    for platform in names(|name| name.starts_with("config of ")) {
        let platform = platform.strip_prefix("config of ").unwrap();
        let arch = platform.split('/').next().unwrap();
        let program = copy.path(&format!("target/pause/{arch}/pause"));
        pack.arg(format!("{platform}={}", program.display()));
    }
    output(&mut pack);
    let mut differing = copy.differing(ARCHIVE);
    // The configs of a release have a time besides.
    differing.retain(|name| !name.contains(" of ") || name.contains("s390x"));
    let parts = [
        "index",
        "manifest of s390x",
        "config of s390x",
        "layer of s390x",
        "layer of s390x, unpacked",
        ARCHIVE,
    ];
    assert_eq!(differing, parts);
}

#[test]
fn names_the_first_blob_with_one_bit_flipped() {
    for platform in ["amd64", "arm64", "s390x"] {
        for name in [
            "index".to_owned(),
            format!("manifest of {platform}"),
            format!("config of {platform}"),
            format!("layer of {platform}"),
        ] {
            let copy = Copy::new();
            copy.flip(ARCHIVE, middle_of(&name));
            let told = format!("the {name} is damaged: ");
            for subject in [ARCHIVE, ""] {
                let said = copy.failure(subject);
                assert!(said.contains(&told), "{said}");
            }
        }
    }
}

#[test]
fn names_the_archive_if_no_blob_differs() {
    let copy = Copy::new();
    let end = fs::metadata(copy.path(ARCHIVE)).unwrap().len() as usize - 1;
    copy.flip(ARCHIVE, end);
    assert_eq!(copy.differing(ARCHIVE), [ARCHIVE]);
}

#[test]
fn accepts_an_archive_with_another_name() {
    let copy = Copy::new();
    let mut bytes = fs::read(copy.path(ARCHIVE)).unwrap();
    let (name, other) = (b"localhost/pause:", b"localhost/other:");
    let places: Vec<_> = (0..bytes.len() - name.len())
        .filter(|at| bytes[*at..].starts_with(name))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..][..name.len()].copy_from_slice(other);
    }
    fs::write(copy.path(ARCHIVE), bytes).unwrap();
    let said = output(&mut copy.compare(ARCHIVE));
    let note = "copy: not compared with target/pause.tar: named localhost/other:";
    assert!(said.starts_with(note), "{said}");
    let count = names(|name| !name.starts_with("target/")).len();
    let told = format!("\ncopy: all {count} digests match ");
    assert!(said.contains(&told), "{said}");
}

#[test]
fn names_what_is_no_image() {
    let copy = Copy::new();
    let said = copy.failure("target/pause/amd64/pause");
    assert!(said.contains("/pause: not a tar archive: "), "{said}");
    let said = copy.failure("nowhere");
    let told = "/nowhere: neither a file nor an image that skopeo can copy\n";
    assert!(said.ends_with(told), "{said}");
}
