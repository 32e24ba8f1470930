//! scripts/release makes a complete release, or none.

use engines::{
    End, built, engine::archive, output, program::Program, project, said, sandbox, write_script,
};
use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};
use tempfile::TempDir;

/// A copy of the project in a commit, with what `make` built, and a stub of `make` that builds nothing and
/// runs no tests: they would run this test again.
struct Checkout(TempDir);

impl Checkout {
    fn new() -> Self {
        let checkout = Self(TempDir::with_prefix("pause-test-").unwrap());
        let make = format!(
            "#!/bin/bash
            case $1 in
              test) [ ! -e ../fails ] ;;
              attestations) exec {} attest target/pause.tar ;;
              *) exit 2 ;;
            esac",
            built("cargo/debug/pause-image").display()
        );
        let folder = checkout.0.path().display();
        checkout.bash(&format!(
            "mkdir {folder}/{{bin,project}}
            {{ tar --create --exclude=./target --exclude=./.git .
              tar --create target/pause target/pause.tar target/pause.tar.args target/use-pause; }} |
              tar --extract --ignore-zeros --directory {folder}/project
            git init --quiet {folder}/project"
        ));
        write_script(checkout.0.path().join("bin/make"), &make);
        let sections = [env!("CARGO_PKG_VERSION"), "0.0.1"]
            .map(|version| format!("\n## [{version}] - 2030-01-02\n\n- Note on {version}.\n"));
        fs::write(checkout.path("CHANGELOG.md"), sections.concat()).unwrap();
        checkout.commit();
        checkout
    }

    /// A file of the copy.
    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("project").join(file)
    }

    /// Runs a script in the project.
    fn bash(&self, script: &str) {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]);
        output(bash.current_dir(project()));
    }

    /// Replaces text in a file of the copy.
    fn change(&self, file: &str, from: &str, to: &str) {
        let content = fs::read_to_string(self.path(file)).unwrap();
        fs::write(self.path(file), content.replace(from, to)).unwrap();
    }

    /// Commits all changes of the copy.
    fn commit(&self) {
        let commit = "commit --quiet --message=Test";
        let user = "-c user.name=test -c user.email=test@localhost";
        self.bash(&format!(
            "cd {}; git add --all; git {user} {commit}",
            self.path("").display()
        ));
    }

    fn release(&self, version: &str) -> End {
        let mut release = Command::new("scripts/release");
        release.arg(version).current_dir(self.path(""));
        let (bin, others) = (self.0.path().join("bin"), std::env::var("PATH").unwrap());
        release.env("PATH", format!("{}:{others}", bin.display()));
        sandbox::run(release.env_remove("SOURCE_DATE_EPOCH"))
    }

    /// Expects the release to fail with one line that contains `why`, and to leave nothing.
    fn expect_failure(&self, version: &str, why: &str) {
        let End { status, stderr, .. } = self.release(version);
        assert_eq!(status, Ok(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
        let target = fs::read_dir(self.path("target")).unwrap();
        let mut names = target.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(!names.any(|name| name.starts_with("release-")));
    }
}

#[test]
fn a_release_has_all_of_it() {
    let checkout = Checkout::new();
    let version = env!("CARGO_PKG_VERSION");
    let End { status, stderr, .. } = checkout.release(version);
    assert_eq!(status, Ok(0), "{stderr}");
    let folder = checkout.path(&format!("target/release-{version}"));
    let entries = fs::read_dir(&folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.collect();
    let all = [
        "digests",
        "notes.md",
        "pause.cdx.json",
        "pause.provenance.json",
        "pause.referrers.tar",
        "pause.tar",
        "seccomp.json",
        "sha256sums",
        "use-pause-386",
        "use-pause-amd64",
        "use-pause-arm",
        "use-pause-arm64",
        "use-pause-ppc64le",
        "use-pause-riscv64",
        "use-pause-s390x",
    ];
    assert_eq!(names, all.map(str::to_owned).into());
    let read = |file| fs::read_to_string(folder.join(file)).unwrap();
    assert_eq!(read("notes.md"), format!("- Note on {version}.\n"));
    let released = fs::read(folder.join("pause.tar")).unwrap();
    assert!(released == fs::read(archive()).unwrap(), "another archive");
    let mut sums = Command::new("sha256sum");
    output(sums.args(["--check", "sha256sums"]).current_dir(&folder));
    let mut head = Command::new("git");
    head.args(["rev-parse", "HEAD"]);
    let head = said(head.current_dir(checkout.path("")));
    let provenance = read("pause.provenance.json");
    assert!(provenance.contains(&head), "{provenance}");
    let sbom = read("pause.cdx.json");
    assert!(sbom.contains("\"timestamp\""), "{sbom}");

    let End { status, stderr, .. } = checkout.release(version);
    assert_eq!(status, Ok(1));
    assert!(stderr.contains("exists already"), "{stderr}");
}

#[test]
fn a_release_is_whole_or_not_at_all() {
    let checkout = Checkout::new();
    let version = env!("CARGO_PKG_VERSION");
    checkout.expect_failure("1.2", "not of the form 1.2.3");
    checkout.expect_failure("99.0.0", &format!("Cargo.toml has {version}"));
    checkout.change("linker.ld", "ENTRY", " ENTRY");
    checkout.expect_failure(version, "uncommitted files: M linker.ld");
    checkout.commit();

    let fails = checkout.0.path().join("fails");
    fs::write(&fails, "").unwrap();
    checkout.expect_failure(version, "a test fails");
    fs::remove_file(fails).unwrap();

    let arch = Program::native().platform.arch;
    let native = checkout.path(&format!("target/pause/{arch}/pause"));
    let program = fs::read(&native).unwrap();
    fs::write(&native, "#!/bin/sh\necho pause 0.0.0\n").unwrap();
    checkout.expect_failure(version, "/pause -v says pause 0.0.0");
    fs::write(&native, program).unwrap();
    let packed = checkout.path("target/pause.tar.args");
    fs::write(packed, "localhost/other:1 amd64\n").unwrap();
    checkout.expect_failure(version, "target/pause.tar is localhost/other:1 amd64");

    checkout.change("CHANGELOG.md", &format!("## [{version}] - "), "## Once: ");
    checkout.commit();
    checkout.expect_failure(version, "CHANGELOG.md has nothing below");
}
