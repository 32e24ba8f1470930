//! The README's commands, run as they stand there.

use engines::{
    engine::{Cli, Docker, Podman},
    output, project,
    story::Engine,
};
use std::{collections::BTreeMap, fs, process::Command};

/// The README's commands by heading.
fn commands() -> BTreeMap<String, Vec<String>> {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let mut commands: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut heading = "";
    for line in readme.lines() {
        if let Some(it) = line.strip_prefix("## ").or(line.strip_prefix("### ")) {
            heading = it;
        } else if let Some(command) = line.strip_prefix("$ ") {
            let of = commands.entry(heading.to_owned()).or_default();
            of.push(command.to_owned());
        }
    }
    commands
}

/// Runs the commands under the heading `name` in a shell that finds this engine.
fn run(engine: &impl Cli, name: &str) -> String {
    // nsenter ends up in the root folder.
    let script = format!(
        "cd '{}'\n{}",
        project().display(),
        commands()[name].join("\n")
    );
    let mut shell = engine.command_of("bash");
    let said = output(shell.args(["-euxo", "pipefail", "-c", &script]));
    println!("{said}");
    said
}

#[test]
fn podman() {
    let podman = Podman::with_app();
    podman.nest().shares_cgroup("libpod_parent");
    assert!(run(&podman, "podman").contains(" /pause\n"));
    assert_eq!(podman.containers(), "");
}

#[test]
fn docker() {
    let docker = Docker::start();
    docker.load_app();
    assert!(run(&docker, "docker").contains(" /pause\n"));
    assert_eq!(docker.containers(), "");
}

/// Each heading with commands is run, here or by the test named below.
#[test]
fn all_are_run_somewhere() {
    let elsewhere = [
        "A node",     // tests/use_pause.rs
        "A registry", // tests/registry.rs
        "Try it",     // engines/tests/commands.rs
        "kind",       // tests/kind.rs
    ];
    let mut here: Vec<String> = commands().into_keys().collect();
    here.retain(|heading| !elsewhere.contains(&&**heading));
    assert_eq!(here, ["docker", "podman"]);
}

/// Every mention of an image, for people to copy, has this version.
#[test]
fn the_image_has_the_same_name_everywhere() {
    let ending = concat!(":", env!("CARGO_PKG_VERSION"));
    let mut list = Command::new("git");
    list.args(["ls-files", "README.md", "docs", "examples"]);
    let list = output(list.current_dir(project()));
    let mut count = 0;
    for file in list.lines() {
        let text = fs::read_to_string(project().join(file)).unwrap();
        for image in ["localhost/pause", "localhost/use-pause"] {
            for after in text.split(image).skip(1) {
                // A pattern has no version.
                if after.starts_with(':') && !after.starts_with(":[") {
                    assert!(after.starts_with(ending), "{file}: {image}{after:.20}");
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 10, "{count}");
}
