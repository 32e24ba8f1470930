//! A release has all that belongs to it, or there is none.

use std::{collections::BTreeSet, fs, process::Command};
use tempfile::TempDir;
use tests::{
    built,
    engine::archive,
    output,
    program::Program,
    project, said,
    sandbox::{self, End},
};

/// A copy of the project in a commit, with what `make` built, and a `make` that takes the tests and the
/// build as done: they would be these tests again.
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
        checkout.bash(
            &format!(
                "mkdir bin project && cat > bin/make && chmod +x bin/make
            cd {}
            {{ tar --create --exclude=./target --exclude=./.git .
              tar --create target/pause target/pause.tar target/pause.tar.args target/use-pause; }} |
              tar --extract --ignore-zeros --directory $OLDPWD/project
            cd - && cd project && git init --quiet",
                project().display()
            ),
            &make,
        );
        let sections = [env!("CARGO_PKG_VERSION"), "0.0.1"]
            .map(|version| format!("\n## [{version}] - 2030-01-02\n\n- Note on {version}.\n"));
        let changelog = checkout.0.path().join("project/CHANGELOG.md");
        fs::write(changelog, sections.concat()).unwrap();
        checkout.commit();
        checkout
    }

    fn bash(&self, script: &str, input: &str) {
        let file = self.0.path().join("input");
        fs::write(&file, input).unwrap();
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]);
        bash.stdin(fs::File::open(file).unwrap());
        output(bash.current_dir(&self.0));
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.0.path().join("project").join(file);
        let content = fs::read_to_string(&path).unwrap();
        fs::write(path, content + text).unwrap();
    }

    fn commit(&self) {
        self.bash(
            "cd project && git add --all && git -c user.name=test -c user.email=test@localhost commit --quiet --message=Test",
            "",
        );
    }

    fn release(&self, version: &str) -> End {
        let mut release = Command::new("image/release");
        release
            .arg(version)
            .current_dir(self.0.path().join("project"));
        let path = format!(
            "{}/bin:{}",
            self.0.path().display(),
            std::env::var("PATH").unwrap()
        );
        sandbox::run(release.env("PATH", path).env_remove("SOURCE_DATE_EPOCH"))
    }

    /// The one line that a release fails with, which leaves nothing.
    fn failure(&self, version: &str) -> String {
        let End { status, stderr, .. } = self.release(version);
        assert_eq!(status, Ok(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let target = fs::read_dir(self.0.path().join("project/target")).unwrap();
        let names = target.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(names.filter(|name| name.starts_with("release-")).count() == 0);
        stderr
    }
}

#[test]
fn a_release_has_all_of_it() {
    let checkout = Checkout::new();
    let version = env!("CARGO_PKG_VERSION");
    let End { status, stderr, .. } = checkout.release(version);
    assert_eq!(status, Ok(0), "{stderr}");
    let folder = checkout
        .0
        .path()
        .join(format!("project/target/release-{version}"));
    let names = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
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
        "use-pause-arm64",
    ];
    assert_eq!(names, all.map(str::to_owned).into());
    let notes = fs::read_to_string(folder.join("notes.md")).unwrap();
    assert_eq!(
        notes,
        format!(
            "- Note on {version}.
"
        )
    );
    assert_eq!(
        fs::read(folder.join("pause.tar")).unwrap(),
        fs::read(archive()).unwrap()
    );
    output(
        Command::new("sha256sum")
            .args(["--check", "sha256sums"])
            .current_dir(&folder),
    );
    let provenance = fs::read_to_string(folder.join("pause.provenance.json")).unwrap();
    let mut head = Command::new("git");
    let head = said(
        head.args(["rev-parse", "HEAD"])
            .current_dir(checkout.0.path().join("project")),
    );
    assert!(provenance.contains(&head), "{provenance}");
    let sbom = fs::read_to_string(folder.join("pause.cdx.json")).unwrap();
    assert!(sbom.contains("\"timestamp\""), "{sbom}");

    let again = checkout.release(version);
    assert_eq!(again.status, Ok(1));
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
}

#[test]
fn a_release_is_whole_or_not_at_all() {
    let checkout = Checkout::new();
    let version = env!("CARGO_PKG_VERSION");
    assert!(checkout.failure("1.2").contains("not of the form 1.2.3"));
    assert!(
        checkout
            .failure("99.0.0")
            .contains(&format!("Cargo.toml has {version}"))
    );
    checkout.append("linker.ld", " ");
    assert!(
        checkout
            .failure(version)
            .contains("uncommitted files: M linker.ld")
    );
    checkout.commit();

    let fails = checkout.0.path().join("fails");
    fs::write(&fails, "").unwrap();
    assert!(checkout.failure(version).contains("a test fails"));
    fs::remove_file(fails).unwrap();

    let project = checkout.0.path().join("project");
    let native = project
        .join("target/pause")
        .join(Program::native().platform.name)
        .join("pause");
    let program = fs::read(&native).unwrap();
    fs::write(&native, "#!/bin/sh\necho pause 0.0.0\n").unwrap();
    assert!(
        checkout
            .failure(version)
            .contains("/pause -v says pause 0.0.0")
    );
    fs::write(&native, program).unwrap();
    fs::write(
        project.join("target/pause.tar.args"),
        "localhost/other:1 amd64\n",
    )
    .unwrap();
    assert!(
        checkout
            .failure(version)
            .contains("target/pause.tar is localhost/other:1 amd64")
    );

    let changelog = fs::read_to_string(project.join("CHANGELOG.md")).unwrap();
    let heading = format!("## [{version}] - ");
    fs::write(
        project.join("CHANGELOG.md"),
        changelog.replace(&heading, "## Once: "),
    )
    .unwrap();
    checkout.commit();
    assert!(
        checkout
            .failure(version)
            .contains("CHANGELOG.md has nothing below")
    );
}
