//! make's targets, and their messages if something is missing.

use engines::{make, output, program::Program, project, sandbox, text, write_script};
use pause_image::read::Image;
use std::{fs, process::Command};

/// Runs make, which must fail with one line besides make's own, and returns that line.
fn failure(arguments: &[&str]) -> String {
    let failed = make(Command::new("make")).args(arguments).output().unwrap();
    let stderr = text(failed.stderr);
    assert!(!failed.status.success(), "{stderr}");
    let is_own = |line: &&str| line.starts_with("make: *** [");
    let lines: Vec<&str> = stderr.lines().filter(|line| !is_own(line)).collect();
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
    for target in [
        "all", "build", "image", "node", "test", "demo", "push", "clean",
    ] {
        let line = format!("\n  make {target} ");
        assert!(help.contains(&line), "{target}: {help}");
    }
}

#[test]
fn make_names_a_platform_that_is_none() {
    let line = failure(&["ARCHS=amd64 mips"]);
    assert!(
        line.contains("no platform \"mips\"; there are 386 amd64 arm/v6 arm/v7 arm64 ppc64le"),
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
    let demo = project().join("examples/demo");
    let said = output(Command::new(demo).arg(Program::native().path));
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
    // Once for the sandbox, and once for each run of the app.
    assert_eq!(said.matches(network).count(), 3, "{network}");
}

/// `make kind` names a missing prerequisite in one line.
#[test]
fn make_kind_names_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let command = |name: &str, script: &str| {
        write_script(folder.path().join(name), &format!("#!/bin/sh\n{script}\n"));
    };
    for name in ["dirname", "realpath"] {
        fs::copy(format!("/usr/bin/{name}"), folder.path().join(name)).unwrap();
    }
    let line = || {
        let mut up = Command::new("/bin/bash");
        up.arg(project().join("examples/kind/up"));
        up.args(["image", "/"]).env("PATH", folder.path());
        let end = sandbox::run(&mut up);
        assert_eq!((end.status, &*end.stdout), (Ok(1), ""));
        assert_eq!(end.stderr.lines().count(), 1, "{}", end.stderr);
        end.stderr
    };
    assert!(line().contains("no command kind"));
    command("kind", "exit 0");
    assert!(line().contains("no command docker"));
    command("docker", "exit 1");
    assert!(line().contains("docker's daemon does not answer"));
    command("docker", "exit 0");
    command("kind", "echo pause");
    fs::copy("/bin/grep", folder.path().join("grep")).unwrap();
    assert!(line().contains("kind delete cluster --name pause"));
}

/// `make docker-load` loads the platform of docker's machine, or says that the image has none for it.
#[test]
fn make_docker_load_packs_the_platform_of_docker() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = folder.path().join("loaded.tar");
    let load = |arch: &str| {
        let script = format!(
            "#!/bin/sh\ncase $1 in version) echo {arch} ;; load) cp \"$3\" {} ;; esac\n",
            loaded.display()
        );
        write_script(folder.path().join("docker"), &script);
        let others = std::env::var("PATH").unwrap();
        let mut make = make(Command::new("make"));
        make.env("PATH", format!("{}:{others}", folder.path().display()));
        make.arg("docker-load").output().unwrap()
    };
    for (arch, platform) in [("amd64", "amd64"), ("arm64", "arm64"), ("arm", "arm/v6")] {
        assert!(load(arch).status.success());
        let image = Image::read(&fs::read(&loaded).unwrap()).unwrap();
        let platforms: Vec<&str> = image.platforms.iter().map(|it| &*it.name).collect();
        assert_eq!(platforms, [platform]);
    }
    let failed = load("loong64");
    assert!(!failed.status.success());
    let stderr = text(failed.stderr);
    let why = "docker runs on loong64, and there is no";
    assert!(stderr.contains(why), "{stderr}");
}
