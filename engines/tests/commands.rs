//! What people type: the README's commands as they stand there, make's targets, and messages if something is
//! missing.

use engines::{
    engine::{Cli, Docker, Podman},
    make, output,
    program::Program,
    project, sandbox, text, write_script,
};
use pause_image::read::Image;
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
fn run(engine: &impl Cli, name: &str) {
    engine.nest().shares_cgroup("libpod_parent");
    // nsenter ends up in the root directory.
    let script = format!(
        "cd '{}'\n{}",
        project().display(),
        commands()[name].join("\n")
    );
    let mut shell = engine.command_of("bash");
    let printed = output(shell.args(["-euxo", "pipefail", "-c", &script]));
    assert!(printed.contains(" /pause\n"), "{printed}");
    assert_eq!(engine.containers(), "");
}

#[test]
fn of_the_readme_for_podman() {
    let podman = Podman::empty();
    podman.load_app();
    run(&podman, "podman");
}

#[test]
fn of_the_readme_for_docker() {
    let docker = Docker::start();
    docker.load_app();
    run(&docker, "docker");
}

/// Each heading with commands is run, here or by the test named below.
#[test]
fn of_the_readme_all_are_run_somewhere() {
    let elsewhere = [
        "",                         // the_demo_shows_a_pod, and CI
        "A registry",               // registry.rs
        "Build it",                 // packager.rs
        "Switch a node",            // use_pause.rs
        "Use it on a kind cluster", // kind.rs
    ];
    let mut here: Vec<String> = commands().into_keys().collect();
    here.retain(|heading| !elsewhere.contains(&&**heading));
    assert_eq!(here, ["docker", "podman"]);
}

/// Every mention of an image, for people to copy, has this version.
#[test]
fn the_image_has_the_same_name_everywhere() {
    // A pattern has no version.
    let grep = r#"git grep -hoE "localhost/(use-)?pause:[^[:space:][]+" README.md docs examples"#;
    let mut bash = Command::new("bash");
    let names = output(bash.args(["-c", grep]).current_dir(project()));
    let versions = names.lines().map(|it| it.split_once(':').unwrap().1);
    assert!(names.lines().count() >= 10, "{names}");
    let is_ours = |it: &str| it.starts_with(env!("CARGO_PKG_VERSION"));
    assert!(versions.into_iter().all(is_ours), "{names}");
}

/// Each in one line besides make's own.
#[test]
fn make_names_what_is_wrong() {
    let known = "no platform \"mips\"; there are 386 amd64 arm/v6 arm/v7 arm64 loong64 ppc64le";
    for (argument, why) in [
        ("ARCHS=amd64 mips", known),
        ("ARCHS=", "ARCHS is empty"),
        ("push", "make push REGISTRY="),
    ] {
        let failed = make(Command::new("make")).arg(argument).output().unwrap();
        let stderr = text(failed.stderr);
        assert!(!failed.status.success(), "{stderr}");
        let mut lines: Vec<&str> = stderr.lines().collect();
        lines.retain(|line| !line.starts_with("make: *** ["));
        assert!(
            lines.len() == 1 && lines[0].contains(why),
            "{why}: {stderr}"
        );
    }
}

#[test]
fn make_has_nothing_to_do_the_second_time() {
    output(make(Command::new("make")).args(["--question", "all"]));
}

#[test]
fn make_help_lists_the_targets() {
    let help = output(make(Command::new("make")).arg("help"));
    for target in ["all", "build", "node", "test", "demo", "push"] {
        assert!(help.contains(&format!("\n  make {target} ")), "{help}");
    }
}

#[test]
fn the_demo_shows_a_pod() {
    let demo = project().join("examples/demo");
    let printed = output(Command::new(demo).arg(Program::native().path));
    println!("{printed}");
    for line in [
        "The app exited with code 3.",
        "Zombies: 0. The kernel reaped the orphans; pause woke up 0 times.",
        "pause prints: Shutting down, got signal: Terminated",
        "Its exit code is 0",
    ] {
        assert!(printed.contains(line), "{line}");
    }
    // Once for the sandbox, and once for each run of the app.
    let (_, network) = printed.split_once("network namespace ").unwrap();
    let (network, _) = network.split_once('.').unwrap();
    assert_eq!(printed.matches(network).count(), 3, "{network}");
}

/// `make kind` names a missing prerequisite in one line.
#[test]
fn make_kind_names_what_is_missing() {
    let bin = tempfile::tempdir().unwrap();
    for name in ["dirname", "realpath", "grep"] {
        fs::copy(format!("/usr/bin/{name}"), bin.path().join(name)).unwrap();
    }
    for (commands, why) in [
        (&[][..], "kind is not installed"),
        (&[("kind", "exit 0")], "docker is not installed"),
        (&[("docker", "exit 1")], "docker does not answer"),
        (
            &[("docker", "exit 0"), ("kind", "echo pause")],
            "kind delete cluster --name pause",
        ),
    ] {
        for (name, script) in commands {
            write_script(bin.path().join(name), &format!("#!/bin/sh\n{script}\n"));
        }
        let mut up = Command::new("/bin/bash");
        up.arg(project().join("examples/kind/up"));
        up.args(["image", "/"]).env("PATH", bin.path());
        let end = sandbox::run(&mut up);
        assert_eq!((end.status, &*end.stdout), (Ok(1), ""));
        let is_one = end.stderr.lines().count() == 1;
        assert!(is_one && end.stderr.contains(why), "{why}: {}", end.stderr);
    }
}

/// `make docker-load` loads the platform of docker's machine, or names it if the image has none for it.
#[test]
fn make_docker_load_packs_the_platform_of_docker() {
    let bin = tempfile::tempdir().unwrap();
    let loaded = bin.path().join("loaded.tar");
    let load = |arch: &str| {
        let script = format!(
            "#!/bin/sh\ncase $1 in version) echo {arch} ;; load) cp \"$3\" {} ;; esac\n",
            loaded.display()
        );
        write_script(bin.path().join("docker"), &script);
        let others = std::env::var("PATH").unwrap();
        let mut make = make(Command::new("make"));
        make.env("PATH", format!("{}:{others}", bin.path().display()));
        make.arg("docker-load").output().unwrap()
    };
    for (arch, platform) in [("amd64", "amd64"), ("arm", "arm/v6")] {
        assert!(load(arch).status.success());
        let image = Image::read(&fs::read(&loaded).unwrap()).unwrap();
        let platforms: Vec<&str> = image.platforms.iter().map(|it| &*it.name).collect();
        assert_eq!(platforms, [platform]);
    }
    let failed = load("mips64le");
    let stderr = text(failed.stderr);
    let why = "docker runs on mips64le, and there is no";
    assert!(!failed.status.success() && stderr.contains(why), "{stderr}");
}
