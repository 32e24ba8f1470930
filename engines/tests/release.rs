//! scripts/release makes a complete release, or none.

use engines::{End, output, project, sandbox, write_script};
use std::process::Command;
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Stands in for `make`: copies what `make` built instead of building it, and runs no tests, as they would
/// run this test again.
const MAKE: &str = "#!/bin/bash
[ ! -e ../fails ] || { echo stub: fails >&2; exit 1; }
case $1 in
  test) ;;
  node)
    for arch in 386 amd64; do install -D /bin/true target/use-pause/$arch/use-pause; done
    exec target/debug/pause-image sbom target/pause.tar ;;
  --directory) exec cp --recursive --parents target/pause{,-sc,.tar} \"$2\" ;;
  *) exit 2 ;;
esac
";

/// A copy of the project in a commit, with what `make` built.
pub struct Checkout(TempDir);

impl Checkout {
    pub fn new() -> Self {
        let checkout = Self(TempDir::with_prefix("pause-test-").unwrap());
        let copy = r#"mkdir "$0"/{bin,project}
            { tar --create --exclude=./target --exclude=./.git .
              tar --create target/pause{,-sc,.tar} target/debug/pause-image; } |
            tar --extract --ignore-zeros --directory "$0/project""#;
        let mut bash = Command::new("bash");
        bash.args(["-c", copy]).arg(checkout.0.path());
        output(bash.current_dir(project()));
        write_script(checkout.0.path().join("bin/make"), MAKE);
        checkout.succeeds(&format!(
            "git init --quiet
            for version in {VERSION} 0.0.1; do
              printf '\n## [%s] - 2030-01-02\n\n- Note on %s.\n' $version $version
            done >CHANGELOG.md
            git config user.name test; git config user.email test@localhost
            git add --all; git commit --quiet --message=Test"
        ));
        checkout
    }

    fn run(&self, script: &str) -> End {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]);
        bash.current_dir(self.0.path().join("project"));
        let others = std::env::var("PATH").unwrap();
        let bin = self.0.path().join("bin");
        sandbox::run(bash.env("PATH", format!("{}:{others}", bin.display())))
    }

    /// Runs a script in the copy, which must succeed, and returns what it prints.
    pub fn succeeds(&self, script: &str) -> String {
        let end = self.run(script);
        assert_eq!(end.status, Ok(0), "{script}: {}", end.stderr);
        end.stdout
    }

    /// Runs a script in the copy, which must fail, and returns its standard error.
    pub fn fails(&self, script: &str) -> String {
        let end = self.run(script);
        assert_eq!(end.status, Ok(1), "{script}: {}", end.stderr);
        end.stderr
    }
}

#[test]
fn a_release_has_all_of_it() {
    let checkout = Checkout::new();
    let release = format!("scripts/release {VERSION}");
    checkout.succeeds(&release);
    let files = format!(
        "cd target/release-{VERSION}; sha256sum --check --quiet sha256sums; echo *; cat notes.md"
    );
    let all = "digests notes.md pause.cdx.json pause.referrers.tar pause.tar seccomp.json sha256sums \
        use-pause-386 use-pause-amd64";
    let expected = format!("{all}\n- Note on {VERSION}.\n");
    assert_eq!(checkout.succeeds(&files), expected);
    assert!(checkout.fails(&release).contains("exists already"));
}

#[test]
fn a_release_is_whole_or_not_at_all() {
    let checkout = Checkout::new();
    for (change, version, why) in [
        ("", "1.2", "not of the form 1.2.3"),
        ("", "99.0.0", &*format!("Cargo.toml has {VERSION}")),
        (
            "echo >>linker.ld",
            VERSION,
            "uncommitted files: M linker.ld",
        ),
        (
            "git checkout --quiet linker.ld; touch ../fails",
            VERSION,
            "a test fails",
        ),
        (
            "rm ../fails; mv target/pause/s390x/pause ..; echo other >target/pause/s390x/pause",
            VERSION,
            "not the bytes in pause-image/digests: target/pause/s390x/pause: FAILED",
        ),
        (
            "mv ../pause target/pause/s390x; sed -i 's/^## .* - /## Once: /' CHANGELOG.md; git commit -qam Test",
            VERSION,
            "CHANGELOG.md has nothing below",
        ),
    ] {
        checkout.succeeds(change);
        let stderr = checkout.fails(&format!("scripts/release {version}"));
        let line = stderr.replace("stub: fails\n", "");
        assert!(
            line.lines().count() == 1 && line.contains(why),
            "{why}: {stderr}"
        );
        checkout.succeeds("! compgen -G 'target/release-*'");
    }
}
