//! scripts/release makes a complete release, or none.

use engines::{End, built, output, project, sandbox, write_script};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A copy of the project in a commit, with what `make` built, and a stub of `make` that copies this instead
/// of building it, and runs no tests: they would run this test again.
pub struct Checkout(TempDir);

impl Checkout {
    pub fn new() -> Self {
        let checkout = Self(TempDir::with_prefix("pause-test-").unwrap());
        let make = "#!/bin/bash
            [ ! -e ../fails ] || { echo stub: fails >&2; exit 1; }
            case $1 in
              test) ;;
              sbom) exec target/debug/pause-image sbom target/pause.tar ;;
              --directory) exec cp --recursive --parents target/pause{,-sc,.tar} \"$2\" ;;
              *) exit 2 ;;
            esac";
        let to = checkout.0.path().display();
        let script = format!(
            "mkdir {to}/{{bin,project}}
            {{ tar --create --exclude=./target --exclude=./.git .
              tar --create target/pause{{,-sc,.tar}} target/use-pause target/debug/pause-image; }} |
              tar --extract --ignore-zeros --directory {to}/project
            git init --quiet {to}/project"
        );
        bash(project(), &script);
        write_script(checkout.0.path().join("bin/make"), make);
        let sections = [VERSION, "0.0.1"]
            .map(|version| format!("\n## [{version}] - 2030-01-02\n\n- Note on {version}.\n"));
        fs::write(checkout.path("CHANGELOG.md"), sections.concat()).unwrap();
        checkout.commit();
        checkout
    }

    /// A file of the copy.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("project").join(file)
    }

    /// The file that makes `make` fail.
    pub fn fails(&self) -> PathBuf {
        self.0.path().join("fails")
    }

    /// Runs a script of the copy with the stub.
    pub fn run(&self, script: &str, arguments: &[&str]) -> End {
        let mut command = Command::new(script);
        command.args(arguments).current_dir(self.path(""));
        let (bin, others) = (self.0.path().join("bin"), std::env::var("PATH").unwrap());
        sandbox::run(command.env("PATH", format!("{}:{others}", bin.display())))
    }

    /// Commits all changes of the copy.
    fn commit(&self) {
        let git = "git add --all
            git -c user.name=test -c user.email=test@localhost commit --quiet --message=Test";
        bash(&self.path(""), git);
    }

    /// The release fails with one line that contains `why`, and leaves nothing.
    fn fails_to_release(&self, version: &str, why: &str) {
        let End { status, stderr, .. } = self.run("scripts/release", &[version]);
        assert_eq!(status, Ok(1), "{stderr}");
        assert_eq!(
            stderr.replace("stub: fails\n", "").lines().count(),
            1,
            "{stderr}"
        );
        assert!(stderr.contains(why), "{stderr}");
        assert_eq!(
            names_in(&self.path("target"))
                .range("release-".to_owned().."release.".to_owned())
                .count(),
            0
        );
    }
}

/// Runs a script, which must succeed, in a directory.
fn bash(directory: &Path, script: &str) {
    let mut bash = Command::new("bash");
    output(
        bash.args(["-euo", "pipefail", "-c", script])
            .current_dir(directory),
    );
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_release_has_all_of_it() {
    let checkout = Checkout::new();
    let End { status, stderr, .. } = checkout.run("scripts/release", &[VERSION]);
    assert_eq!(status, Ok(0), "{stderr}");
    let release = checkout.path(&format!("target/release-{VERSION}"));
    let all = [
        "digests",
        "notes.md",
        "pause.cdx.json",
        "pause.referrers.tar",
        "pause.tar",
        "seccomp.json",
        "sha256sums",
        "use-pause-386",
        "use-pause-amd64",
        "use-pause-arm64",
    ];
    assert_eq!(names_in(&release), all.map(str::to_owned).into());
    let notes = fs::read_to_string(release.join("notes.md")).unwrap();
    assert_eq!(notes, format!("- Note on {VERSION}.\n"));
    let script = format!(
        "sha256sum --check sha256sums; cmp pause.tar {}",
        built("pause.tar").display()
    );
    bash(&release, &script);

    let End { status, stderr, .. } = checkout.run("scripts/release", &[VERSION]);
    assert_eq!(status, Ok(1));
    assert!(stderr.contains("exists already"), "{stderr}");
}

#[test]
fn a_release_is_whole_or_not_at_all() {
    let checkout = Checkout::new();
    let change = |file: &str, from: &str, to: &str| {
        let content = fs::read_to_string(checkout.path(file)).unwrap();
        fs::write(checkout.path(file), content.replace(from, to)).unwrap();
    };
    checkout.fails_to_release("1.2", "not of the form 1.2.3");
    checkout.fails_to_release("99.0.0", &format!("Cargo.toml has {VERSION}"));
    change("linker.ld", "ENTRY", " ENTRY");
    checkout.fails_to_release(VERSION, "uncommitted files: M linker.ld");
    checkout.commit();

    fs::write(checkout.fails(), "").unwrap();
    checkout.fails_to_release(VERSION, "a test fails");
    fs::remove_file(checkout.fails()).unwrap();

    let program = "target/pause/s390x/pause";
    let content = fs::read(checkout.path(program)).unwrap();
    fs::write(checkout.path(program), "another").unwrap();
    let why = format!("not the bytes in pause-image/digests: {program}: FAILED");
    checkout.fails_to_release(VERSION, &why);
    fs::write(checkout.path(program), content).unwrap();

    change("CHANGELOG.md", &format!("## [{VERSION}] - "), "## Once: ");
    checkout.commit();
    checkout.fails_to_release(VERSION, "CHANGELOG.md has nothing below");
}
