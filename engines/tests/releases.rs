//! The engines of newer Debian releases, each in a root file system of its release: the story of a pod, pause
//! under its seccomp profile, and pause restored by criu; and crates.io's youki and its shim for containerd
//! under those engines. Each test prints a row for `docs/tested.md` with the versions.

use engines::{
    engine::{APP_IMAGE, Cli, Containerd, Docker, IMAGE, Nest, Podman},
    printed,
    program::{Program, TERMINATED},
    story::{self, Engine},
    wait_until,
};
use std::fs;

/// Makes the tests of each release.
macro_rules! tests_of_releases {
    ($release:ident: $($name:ident $test:expr;)*) => {
        mod $release {
            use super::*;
            $(
                #[test]
                #[ignore = "takes a root file system of another release: make test-releases"]
                fn $name() {
                    let test: fn(&'static str) = $test;
                    test(stringify!($release));
                }
            )*
        }
    };
    ($($release:ident)*) => {
        $(tests_of_releases! {
            $release:
            podman_on_crun |it| podman(it, "crun", false);
            podman_on_runc |it| podman(it, "runc", false);
            podman_on_crun_without_root |it| podman(it, "crun", true);
            podman_on_runc_without_root |it| podman(it, "runc", true);
            podman_kube_play
                |it| story(it, "podman on crun", "by kube play", Podman::in_release(it, "crun", false).playing());
            podman_on_youki |it| podman(it, "youki", false);
            docker |it| story(it, "dockerd on runc", "in the classic store", Docker::in_release(it, false));
            docker_compose |it| story(it, "docker-compose on dockerd", "", Docker::in_release(it, true).composing());
            containerd_on_runc |it| story(it, "containerd on runc", "by its CRI", Containerd::in_release(it, "runc"));
            containerd_on_crun |it| story(it, "containerd on crun", "by its CRI", Containerd::in_release(it, "crun"));
            containerd_on_youki |it| story(it, "containerd on youki", "by its CRI", Containerd::in_release(it, "youki"));
            docker_on_youki |it| orphans(it, "youki");
            docker_with_the_store_of_containerd in_the_store_of_containerd;
            seccomp_on_crun |it| under_seccomp(it, "crun");
            seccomp_on_runc |it| under_seccomp(it, "runc");
            restored_on_runc restored_by_criu;
        })*
    };
}
tests_of_releases!(trixie forky experimental);

/// Prints a row. `commands` are the engine's, "podman on crun".
fn report(release: &str, commands: &str, what: &str, nest: &Nest) {
    let version = |command| {
        let printed = printed(nest.command(command).arg("--version"));
        printed.lines().next().unwrap_or_default().to_owned()
    };
    let versions: Vec<_> = commands.split(" on ").map(version).collect();
    println!("| {} | {release} | {what} |", versions.join(" on "));
}

/// `how` is what the story's row adds to the commands.
fn story(release: &str, commands: &str, how: &str, engine: impl Engine) {
    story::run(&engine);
    let what = ["the story", how].join(if how.is_empty() { "" } else { ", " });
    report(release, commands, &what, engine.nest());
}

fn podman(release: &str, runtime: &str, rootless: bool) {
    let how = if rootless { "without root" } else { "" };
    let podman = Podman::in_release(release, runtime, rootless);
    story(release, &format!("podman on {runtime}"), how, podman);
}

/// With containerd's store, docker loads all platforms, and creates containers of each.
fn in_the_store_of_containerd(release: &str) {
    let docker = Docker::in_release(release, true);
    story::run(&docker);
    for platform in ["arm/v7", "riscv64", "s390x"] {
        let of = format!("--platform=linux/{platform}");
        let id = docker.run(&["create", &of, "--network=none", IMAGE]);
        let copy = docker.nest().path("copy");
        docker.run(&["cp", &format!("{id}:/pause"), &copy]);
        let built = Program::new("pause", platform).path;
        let is_same = fs::read(copy).unwrap() == fs::read(built).unwrap();
        assert!(is_same, "{platform}: docker has another program");
    }
    let what = "the story, in containerd's store";
    report(release, "dockerd on runc", what, docker.nest());
}

/// Without more options, and with as few rights as podman can give.
fn under_seccomp(release: &str, runtime: &'static str) {
    let podman = Podman::in_release(release, runtime, false);
    podman.expect_pause_under_seccomp(&[], &[]);
    let few = [
        "--cap-drop=all",
        "--read-only",
        "--security-opt=no-new-privileges",
    ];
    podman.expect_pause_under_seccomp(&few, &[]);
    let commands = format!("podman on {runtime}");
    report(release, &commands, "the seccomp profile", podman.nest());
}

/// By `runc checkpoint` and `restore`. As criu's user, whose limits criu may read without CAP_SYS_RESOURCE.
fn restored_by_criu(release: &str) {
    let podman = Podman::in_release(release, "runc", false);
    // Of cgroups v1 criu would dump all of the machine's, while others end.
    let file = podman.nest().path("criu.conf");
    fs::write(&file, "manage-cgroups=ignore\n").unwrap();
    let config = format!("--annotation=org.criu.config={file}");
    podman.expect_pause_under_seccomp(&["--user=0", &config], &["checkpoint", "restore"]);
    let commands = "podman on runc on criu";
    report(
        release,
        commands,
        "checkpoint, restore, the seccomp profile",
        podman.nest(),
    );
}

/// crates.io's shim for containerd, mounted over the release's own, so that no other can run. containerd 1.7 does
/// not know its version of the protocol.
#[test]
#[ignore = "takes a root file system of another release: make test-releases"]
fn shim_in_rust() {
    for release in ["forky", "experimental"] {
        let containerd = Containerd::in_release(release, "runc");
        let rust = "/usr/local/bin/containerd-shim-runc-v2-rs";
        let own = "/usr/bin/containerd-shim-runc-v2";
        containerd.nest().mount(&["--bind", rust, own]);
        let how = "by its CRI, with the shim in Rust";
        story(release, "containerd on runc", how, containerd);
    }
}

/// Debian has no gVisor shim for containerd, so no pod runs there.
#[test]
#[ignore = "takes a root file system of another release: make test-releases"]
fn gvisor() {
    orphans("trixie", "runsc");
}

/// On a runtime of docker's pause exits on SIGTERM, and reaps the orphans of a container.
fn orphans(release: &str, runtime: &'static str) {
    let docker = Docker::in_release(release, false);
    docker.load_images();
    let start = |what: &[&str]| {
        let run = [
            "run",
            "--detach",
            "--name=pause",
            "--network=none",
            "--runtime",
            runtime,
        ];
        docker.run(&[&run[..], what].concat())
    };
    start(&[IMAGE]);
    docker.run(&["stop", "--time=20", "pause"]);
    assert_eq!(docker.end_of("pause"), (0, TERMINATED.to_owned()));
    docker.run(&["rm", "pause"]);

    let pause = format!("--volume={}:/pause:ro", Program::native().path.display());
    start(&[&pause, "--entrypoint=/pause", APP_IMAGE]);
    let orphans = "for i in 1 2 3 4 5; do (sleep 0.1 &); done";
    docker.run(&["exec", "pause", "sh", "-c", orphans]);
    let mut shown = String::new();
    wait_until("the orphans are reaped", || {
        shown = docker.run(&["exec", "pause", "ps"]);
        !shown.contains("sleep")
    });
    assert!(shown.contains("/pause"), "{shown}");
    docker.run(&["rm", "--force", "pause"]);
    let commands = format!("dockerd on {runtime}");
    report(release, &commands, "start, orphans, stop", docker.nest());
}
