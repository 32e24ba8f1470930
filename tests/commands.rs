//! The commands that people type: make's targets, and what they say where something is amiss.

use std::process::{Command, Output};
use tests::{make, output, program::Program, project, text};

/// The one line that make's failure shows, but for make's own.
fn failure(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } =
        make(Command::new("make")).args(arguments).output().unwrap();
    assert!(!status.success());
    let stderr = text(stderr);
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.starts_with("make: *** ["))
        .collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    lines[0].to_owned()
}

#[test]
fn make_has_nothing_to_do_the_second_time() {
    let said = output(make(Command::new("make")).arg("all"));
    assert!(said.contains("Nothing to be done for 'all'"), "{said}");
}

#[test]
fn make_help_lists_the_targets() {
    let help = output(make(Command::new("make")).args(["--no-print-directory", "help"]));
    for target in ["all", "build", "image", "test", "demo", "push", "clean"] {
        assert!(
            help.contains(&format!("\n  make {target} "))
                || help.starts_with(&format!("  make {target} ")),
            "{target}: {help}"
        );
    }
}

#[test]
fn make_names_an_architecture_that_is_none() {
    let line = failure(&["ARCHS=amd64 mips"]);
    assert!(
        line.contains("no architecture \"mips\"; there are amd64 arm64"),
        "{line}"
    );
    let line = failure(&["ARCHS="]);
    assert!(line.contains("ARCHS is empty"), "{line}");
}

#[test]
fn make_push_asks_where_to() {
    let line = failure(&["push"]);
    assert!(line.contains("make push REGISTRY="), "{line}");
}

#[test]
fn the_demo_tells_its_story() {
    let demo = project().join("tests/demo");
    let said = output(Command::new(demo).arg(Program::native("pause").path));
    println!("{said}");
    for told in [
        "The app is gone, with exit code 3.",
        "Zombies: 0. pause told the kernel to reap them, and woke up 0 times.",
        "pause says: Shutting down, got signal: Terminated",
        "Its exit code is 0",
    ] {
        assert!(said.contains(told), "{told}");
    }
    let networks = said.matches("my network is net:[").count();
    assert_eq!(networks, 2);
    let network = said.split("network namespace ").nth(1).unwrap();
    let network = network.split('.').next().unwrap();
    assert_eq!(
        said.matches(network).count(),
        3,
        "the same before and after: {network}"
    );
}
