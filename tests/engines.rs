//! The engines of newer releases of Debian's, each in a root file system of its release: the story of a
//! pod, and pause under its seccomp profile. Each test tells, in a row for
//! `docs/tested.md`, which versions ran.

use std::fs;
use tests::{
    engine::{
        APP_IMAGE, Cli, Compose, Containerd, Cri, Docker, IMAGE, KubePlay, Nest, Podman, archive,
    },
    program::{Program, TERMINATED},
    project, said,
    sandbox::Processes,
    story::{self, Engine},
    wait_until,
};

/// Makes the tests of a release.
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

/// Writes a row of what ran into target/engines, and shows it.
fn report(release: &str, engine: &str, versions: &[String], what: &str) {
    let row = format!(
        "| {engine} | {} | {release} | {what} |\n",
        versions.join(", ")
    );
    print!("{row}");
    let folder = project().join("target/engines");
    fs::create_dir_all(&folder).unwrap();
    let name = format!("{engine} {what}").replace(['/', ' '], "-");
    fs::write(folder.join(format!("{name}-{release}")), row).unwrap();
}

/// What a command says of its version: its first word that begins like one.
fn version_of(nest: &Nest, command: &str) -> String {
    let said = said(nest.command(command).arg("--version"));
    let mut words = said
        .split_whitespace()
        .map(|word| word.trim_start_matches('v'));
    let version = words.find(|word| word.starts_with(|it: char| it.is_ascii_digit()));
    let version = version.unwrap_or_else(|| panic!("{command}: {said}"));
    let name = command.trim_start_matches("docker-");
    format!("{name} {}", version.trim_end_matches(','))
}

fn in_podman(release: &str, runtime: &'static str, rootless: bool) {
    let podman = Podman::in_release(release, runtime, rootless);
    story::tell(&podman);
    let versions = ["podman", runtime].map(|it| version_of(podman.nest(), it));
    let what = if rootless {
        "the story, without root"
    } else {
        "the story"
    };
    report(release, &format!("podman on {runtime}"), &versions, what);
}

fn in_kube_play(release: &str) {
    let podman = KubePlay::in_release(release);
    story::tell(&podman);
    let versions = ["podman", "crun"].map(|it| version_of(podman.nest(), it));
    report(
        release,
        "podman on crun",
        &versions,
        "the story, by kube play",
    );
}

/// With the store of containerd, it has all platforms, and gives each of them.
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
            assert!(
                fs::read(copy).unwrap() == fs::read(built).unwrap(),
                "{platform}"
            );
        }
    }
    let versions = ["dockerd", "runc"].map(|it| version_of(docker.nest(), it));
    let store = if in_containerd {
        "containerd's store"
    } else {
        "the classic store"
    };
    report(release, &format!("docker, {store}"), &versions, "the story");
}

fn in_compose(release: &str) {
    let compose = Compose::in_release(release);
    story::tell(&compose);
    let versions = ["dockerd", "docker-compose"].map(|it| version_of(compose.nest(), it));
    report(release, "docker compose", &versions, "the story");
}

fn in_containerd(release: &str, runtime: &str) {
    let containerd = Cri::of(Containerd::in_release(release, runtime));
    story::tell(&containerd);
    let versions = ["containerd", runtime].map(|it| version_of(containerd.nest(), it));
    report(
        release,
        &format!("containerd on {runtime}, by its CRI"),
        &versions,
        "the story",
    );
}

/// As it stands, and with as few rights as there can be.
fn under_seccomp(release: &str, runtime: &'static str) {
    let podman = Podman::in_release(release, runtime, false);
    let profile = project().join("image/seccomp.json");
    let profile = format!("seccomp={}", profile.display());
    let cgroup = podman.cgroup().unwrap();
    let few = [
        "--cap-drop=all",
        "--read-only",
        "--security-opt=no-new-privileges",
    ];
    for more in [&[][..], &few] {
        let run = [
            "run",
            "--detach",
            "--network=none",
            &cgroup,
            "--security-opt",
            &profile,
        ];
        let id = podman.run(&[&run[..], more, &[IMAGE]].concat());
        let processes = Processes(podman.nest().proc());
        let pid = podman.pid(&id);
        processes.wait_until_asleep(pid);
        assert_eq!(processes.status(pid, "Seccomp"), "2");
        podman.run(&["stop", "--time=20", &id]);
        assert_eq!(podman.end_of(&id), (0, TERMINATED.to_owned()));
        podman.run(&["rm", &id]);
    }
    let versions = ["podman", runtime].map(|it| version_of(podman.nest(), it));
    report(
        release,
        &format!("podman on {runtime}"),
        &versions,
        "the seccomp profile",
    );
}

/// gVisor's kernel, of which Debian has no shim for pods: pause alone, and as the first process of a
/// sandbox whose orphans it is left.
#[test]
#[ignore = "takes a root file system of another release: make test-engines"]
fn gvisor() {
    let docker = Docker::in_release("trixie", false);
    docker.run(&["load", "--input", archive().to_str().unwrap()]);
    docker.load_app();
    let run = [
        "run",
        "--detach",
        "--runtime=runsc",
        "--network=none",
        "--name=pause",
    ];
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
    let runsc = version_of(docker.nest(), "runsc");
    let versions = [version_of(docker.nest(), "dockerd"), runsc];
    report(
        "trixie",
        "gVisor, by docker",
        &versions,
        "start, orphans, stop",
    );
}
