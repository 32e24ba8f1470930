//! The engines of newer Debian releases, each in a root file system of its release: the story of a pod,
//! and pause under its seccomp profile. Each test writes a row for `docs/tested.md` with the versions.

use engines::{
    engine::{APP_IMAGE, Cli, Containerd, Docker, IMAGE, Nest, Podman},
    program::{Program, TERMINATED},
    project, said,
    story::{self, Engine},
    wait_until,
};
use std::fs;

/// Makes the tests of each release.
macro_rules! tests_of_release {
    ($release:ident: $($name:ident $test:expr;)*) => {
        mod $release {
            use super::*;
            const RELEASE: &str = stringify!($release);
            $(
                #[test]
                #[ignore = "takes a root file system of another release: make test-engines"]
                fn $name() {
                    $test(RELEASE);
                }
            )*
        }
    };
    ($($release:ident)*) => {
        $(tests_of_release! {
            $release:
            podman_on_crun |it| in_podman(it, "crun", false);
            podman_on_runc |it| in_podman(it, "runc", false);
            podman_on_crun_without_root |it| in_podman(it, "crun", true);
            podman_on_runc_without_root |it| in_podman(it, "runc", true);
            podman_kube_play in_kube_play;
            docker |it| in_docker(it, false);
            docker_with_the_store_of_containerd |it| in_docker(it, true);
            docker_compose in_compose;
            containerd_on_runc |it| in_containerd(it, "runc");
            containerd_on_crun |it| in_containerd(it, "crun");
            seccomp_on_crun |it| under_seccomp(it, "crun");
            seccomp_on_runc |it| under_seccomp(it, "runc");
        })*
    };
}
tests_of_release!(trixie forky);

/// Prints a row with the versions of these commands, and writes it into target/engines.
fn report(nest: &Nest, release: &str, engine: &str, commands: [&str; 2], what: &str) {
    let versions = commands.map(|it| version_of(nest, it)).join(", ");
    let row = format!("| {engine} | {versions} | {release} | {what} |\n");
    print!("{row}");
    let folder = project().join("target/engines");
    fs::create_dir_all(&folder).unwrap();
    let name = format!("{engine} {what}").replace(['/', ' '], "-");
    fs::write(folder.join(format!("{name}-{release}")), row).unwrap();
}

/// A command's name and version: the first word of --version that begins with a digit.
fn version_of(nest: &Nest, command: &str) -> String {
    let said = said(nest.command(command).arg("--version"));
    let mut words = said.split_whitespace().map(|it| it.trim_start_matches('v'));
    let version = words.find(|it| it.starts_with(|first: char| first.is_ascii_digit()));
    let version = version.unwrap_or_else(|| panic!("{command}: {said}"));
    let name = command.trim_start_matches("docker-");
    format!("{name} {}", version.trim_end_matches(','))
}

fn in_podman(release: &str, runtime: &'static str, rootless: bool) {
    let podman = Podman::in_release(release, runtime, rootless);
    story::tell(&podman);
    let what = match rootless {
        true => "the story, without root",
        false => "the story",
    };
    let (engine, commands) = (format!("podman on {runtime}"), ["podman", runtime]);
    report(podman.nest(), release, &engine, commands, what);
}

fn in_kube_play(release: &str) {
    let podman = Podman::in_release(release, "crun", false).playing();
    story::tell(&podman);
    let (commands, what) = (["podman", "crun"], "the story, by kube play");
    report(podman.nest(), release, "podman on crun", commands, what);
}

/// With containerd's store, docker loads all platforms, and creates containers of each.
fn in_docker(release: &str, in_containerd: bool) {
    let docker = Docker::in_release(release, in_containerd);
    story::tell(&docker);
    if in_containerd {
        for platform in ["arm/v7", "riscv64", "s390x"] {
            let of = format!("--platform=linux/{platform}");
            let id = docker.run(&["create", &of, "--network=none", IMAGE]);
            let copy = docker.nest().path("copy");
            docker.run(&["cp", &format!("{id}:/pause"), &copy]);
            let built = Program::new("pause", platform).path;
            let is_same = fs::read(copy).unwrap() == fs::read(built).unwrap();
            assert!(is_same, "{platform}: docker has another program");
        }
    }
    let engine = match in_containerd {
        true => "docker, containerd's store",
        false => "docker, the classic store",
    };
    let commands = ["dockerd", "runc"];
    report(docker.nest(), release, engine, commands, "the story");
}

fn in_compose(release: &str) {
    let docker = Docker::in_release(release, true).composing();
    story::tell(&docker);
    let (nest, commands) = (docker.nest(), ["dockerd", "docker-compose"]);
    report(nest, release, "docker compose", commands, "the story");
}

fn in_containerd(release: &str, runtime: &str) {
    let containerd = Containerd::in_release(release, runtime);
    story::tell(&containerd);
    let engine = format!("containerd on {runtime}, by its CRI");
    let (nest, commands) = (containerd.nest(), ["containerd", runtime]);
    report(nest, release, &engine, commands, "the story");
}

/// Without further options, and with as few rights as podman can give.
fn under_seccomp(release: &str, runtime: &'static str) {
    let podman = Podman::in_release(release, runtime, false);
    podman.expect_pause_under_seccomp(&[]);
    podman.expect_pause_under_seccomp(&[
        "--cap-drop=all",
        "--read-only",
        "--security-opt=no-new-privileges",
    ]);
    let (engine, commands) = (format!("podman on {runtime}"), ["podman", runtime]);
    let what = "the seccomp profile";
    report(podman.nest(), release, &engine, commands, what);
}

/// On gVisor's kernel pause leaves on SIGTERM, and reaps the orphans of a container. No pod: Debian has no
/// gVisor shim for containerd.
#[test]
#[ignore = "takes a root file system of another release: make test-engines"]
fn gvisor() {
    let docker = Docker::in_release("trixie", false);
    docker.load_images();
    let run = ["run", "--detach", "--name=pause", "--network=none"];
    let run = [&run[..], &["--runtime=runsc"]].concat();
    docker.run(&[&run[..], &[IMAGE]].concat());
    docker.run(&["stop", "--time=20", "pause"]);
    assert_eq!(docker.end_of("pause"), (0, TERMINATED.to_owned()));
    docker.run(&["rm", "pause"]);

    let pause = format!("--volume={}:/pause:ro", Program::native().path.display());
    docker.run(&[&run[..], &[&pause, "--entrypoint=/pause", APP_IMAGE]].concat());
    let orphans = "for i in 1 2 3 4 5; do (sleep 0.1 &); done";
    docker.run(&["exec", "pause", "sh", "-c", orphans]);
    let mut shown = String::new();
    wait_until("reaped", || {
        shown = docker.run(&["exec", "pause", "ps"]);
        !shown.contains("sleep")
    });
    assert!(shown.contains("/pause"), "{shown}");
    docker.run(&["rm", "--force", "pause"]);
    let (engine, commands) = ("gVisor, by docker", ["dockerd", "runsc"]);
    let what = "start, orphans, stop";
    report(docker.nest(), "trixie", engine, commands, what);
}
