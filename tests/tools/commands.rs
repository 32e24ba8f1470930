//! The commands that people type: make's targets, and what they say where something is amiss.

use serde_json::Value;
use std::{
    fs,
    io::Read,
    process::{Command, Output},
};
use tests::{make, output, program::Program, project, sandbox, text, write_script};

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
    for target in [
        "all", "build", "image", "node", "test", "demo", "push", "clean",
    ] {
        assert!(
            help.contains(&format!("\n  make {target} ")),
            "{target}: {help}"
        );
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
    assert_eq!(
        said.matches(network).count(),
        3,
        "the same before and after: {network}"
    );
}

/// Without what it needs, `make kind` says so in one line.
#[test]
fn make_kind_names_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let command = |name: &str, script: &str| {
        write_script(folder.path().join(name), &format!("#!/bin/sh\n{script}\n"));
    };
    let dirname = "/usr/bin/dirname";
    fs::copy(dirname, folder.path().join("dirname")).unwrap();
    fs::copy("/usr/bin/realpath", folder.path().join("realpath")).unwrap();
    let line = || {
        let mut up = Command::new("/bin/bash");
        let up = up
            .arg(project().join("examples/kind/up"))
            .args(["image", "/"]);
        let end = sandbox::run(up.env("PATH", folder.path()));
        assert_eq!((end.status, end.stdout.lines().count()), (Ok(1), 0));
        assert_eq!(end.stderr.lines().count(), 1, "{}", end.stderr);
        end.stderr
    };
    assert!(line().contains("no command kind"));
    command("kind", "exit 0");
    assert!(line().contains("no command docker"));
    command("docker", "exit 1");
    assert!(line().contains("its daemon does not answer"));
    command("docker", "exit 0");
    command("kind", "echo pause");
    fs::copy("/bin/grep", folder.path().join("grep")).unwrap();
    assert!(line().contains("kind delete cluster --name pause"));
}

/// `make docker-load` gives docker the platform of its machine, or says that there is none.
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
    for (arch, variant) in [("amd64", None), ("arm64", Some("v8")), ("arm", Some("v6"))] {
        assert!(load(arch).status.success());
        let archive = tar::Archive::new(fs::File::open(&loaded).unwrap());
        let platforms = configs(archive);
        let found: Vec<_> = platforms
            .iter()
            .map(|it| (it["architecture"].as_str().unwrap(), it["variant"].as_str()))
            .collect();
        assert_eq!(found, [(arch, variant)]);
    }
    let failed = load("loong64");
    assert!(!failed.status.success());
    let stderr = text(failed.stderr);
    assert!(
        stderr.contains("docker runs on loong64, and there is no"),
        "{stderr}"
    );
}

/// The configurations of an archive's images.
fn configs(mut archive: tar::Archive<fs::File>) -> Vec<Value> {
    let contents = archive.entries().unwrap().map(|entry| {
        let mut content = Vec::new();
        entry.unwrap().read_to_end(&mut content).unwrap();
        serde_json::from_slice(&content).unwrap_or_default()
    });
    contents
        .filter(|it: &Value| it["rootfs"].is_object())
        .collect()
}
