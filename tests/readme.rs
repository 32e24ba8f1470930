//! The README's commands, run as they stand there.

use std::{collections::BTreeMap, fs, path::Path, process::Command};
use tests::{
    engine::{Cli, Docker, Podman},
    output, project,
    story::Engine,
    write_script,
};

/// Each heading that has commands, with all of them.
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

/// The command of a nest as a shell would be given it, for the folder that the shell is in.
fn quoted(command: &Command) -> String {
    let variables = command.get_envs().map(|(name, value)| {
        let [name, value] = [name, value.unwrap()].map(|it| it.to_str().unwrap());
        format!("{name}='{value}'")
    });
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words = words.map(|word| match word.to_str().unwrap() {
        // From here on it is in the nest, in the root folder.
        "timeout" => r#"sh -c 'cd "$0" && exec "$@"' "$PWD" timeout"#.to_owned(),
        word => format!("'{word}'"),
    });
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

/// Runs what is below a heading, where its engine is under its name that of the nest.
fn run(engine: &(impl Cli + Engine), name: &str) -> String {
    let folder = engine.nest().path("bin");
    fs::create_dir(&folder).unwrap();
    let others = std::env::var("PATH").unwrap();
    let file = Path::new(&folder).join(name);
    let script = format!(
        "#!/bin/sh\nPATH='{others}' {} \"$@\"\n",
        quoted(&engine.command())
    );
    write_script(file, &script);
    let mut shell = Command::new("bash");
    shell.args(["-euxo", "pipefail", "-c", &commands()[name].join("\n")]);
    let said = output(
        shell
            .env("PATH", format!("{folder}:{others}"))
            .current_dir(project()),
    );
    println!("{said}");
    said
}

#[test]
fn podman() {
    let podman = Podman::with_app();
    podman.nest().shares_cgroup("libpod_parent");
    run(&podman, "podman");
    assert_eq!(podman.run(&["ps", "--all", "--quiet"]), "");
}

#[test]
fn docker() {
    let docker = Docker::start();
    docker.load_app();
    assert!(run(&docker, "docker").contains(" /pause\n"));
    assert_eq!(docker.run(&["ps", "--all", "--quiet"]), "");
}

/// What runs the others: a command may not come into the README without a test.
#[test]
fn all_are_run_somewhere() {
    let elsewhere = [
        "A node",     // tests/use_pause.rs
        "A registry", // tests/registry.rs
        "Try it",     // tests/commands.rs, and whoever runs this
        "kind",       // tests/kind.rs
    ];
    let mut here: Vec<String> = commands().into_keys().collect();
    here.retain(|heading| !elsewhere.contains(&&**heading));
    assert_eq!(here, ["docker", "podman"]);
}

/// What people copy names the image of this version.
#[test]
fn the_image_has_the_same_name_everywhere() {
    let ending = concat!(":", env!("CARGO_PKG_VERSION"));
    let list = output(Command::new("git").current_dir(project()).args([
        "ls-files",
        "README.md",
        "docs",
        "examples",
    ]));
    let mut count = 0;
    for file in list.lines() {
        let text = fs::read_to_string(project().join(file)).unwrap();
        for image in ["localhost/pause", "localhost/use-pause"] {
            for (_, after) in text
                .match_indices(image)
                .map(|(at, it)| text.split_at(at + it.len()))
            {
                // A pattern has none.
                let is_named = after.starts_with(':') && !after.starts_with(":[");
                assert!(
                    !is_named || after.starts_with(ending),
                    "{file}: {image}{after:.20}"
                );
                count += usize::from(is_named);
            }
        }
    }
    assert!(count >= 10, "{count}");
}
