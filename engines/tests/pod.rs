//! The story of a pod on each engine: its app exits and comes back, its network stays, and no zombie does.

use engines::{
    Processes, built,
    engine::{Containerd, Docker, Podman},
    program::{NATIVE_ARCH, Platform},
    project,
    story::{self, Engine},
    wait_until,
};
use nix::sys::statvfs::{FsFlags, statvfs};

#[test]
fn in_podman() {
    story::run(&Podman::with_images());
}

#[test]
fn in_podman_from_a_manifest_of_kubernetes() {
    story::run(&Podman::with_images().playing());
}

/// In a user namespace of its own.
#[test]
fn in_podman_on_crun() {
    story::run(&Podman::with_crun());
}

/// In an emulator: platforms of 32 and 64 bits, little-endian and big-endian.
mod in_podman_for {
    use super::*;

    macro_rules! platforms {
        ($($name:ident $platform:literal)*) => {
            $(
                #[test]
                fn $name() {
                    let platform = Platform::of($platform);
                    if !platform.is_native() {
                        story::run(&Podman::with_foreign_image(platform));
                    }
                }
            )*
        };
    }
    platforms!(arm_v7 "arm/v7" arm64 "arm64" riscv64 "riscv64" s390x "s390x");
}

/// amd64 only: of an archive, docker's classic store loads amd64 on any machine.
#[test]
fn in_docker() {
    if NATIVE_ARCH == "amd64" {
        story::run(&Docker::start());
    }
}

#[test]
fn in_docker_compose() {
    if NATIVE_ARCH == "amd64" {
        story::run(&Docker::start().composing());
    }
}

#[test]
fn in_containerd() {
    story::run(&Containerd::start());
}

mod containerd_2 {
    use super::*;

    #[test]
    #[ignore = "fetches a containerd that changes: make test-containerd-2"]
    fn in_containerd() {
        let containerd = Containerd::start_at(built("containerd-2"));
        println!("{}", containerd.ctr(&["version"]));
        story::run(&containerd);
    }
}

/// The sandbox runs under our seccomp profile with the rights that a kubelet asks for, and containerd notices
/// when it is killed.
#[test]
fn containerd_gives_it_no_rights_and_sees_its_end() {
    let profile = project().join("examples/seccomp.json");
    let containerd = Containerd::start().with_seccomp(&profile);
    let sandbox = containerd.create_pod();
    let processes = Processes(containerd.nest().proc());
    processes.wait_until_asleep(sandbox);
    for (field, value) in [
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(processes.status(sandbox, field), value, "{field}");
    }
    let root = containerd.nest().proc().join(format!("{sandbox}/root"));
    let flags = statvfs(&root).unwrap().flags();
    assert!(flags.contains(FsFlags::ST_RDONLY), "{flags:?}");

    containerd.nest().kill(sandbox);
    wait_until("containerd sees the end", || !containerd.is_ready());
    containerd.stop_pod();
    assert_eq!(containerd.remove_pod(), "");
}

/// With no_new_privileges and without.
fn under_its_seccomp_profile(podman: &Podman) {
    podman.expect_pause_under_seccomp(&[], &[]);
    podman.expect_pause_under_seccomp(&["--security-opt=no-new-privileges"], &[]);
}

#[test]
fn under_its_seccomp_profile_on_runc() {
    under_its_seccomp_profile(&Podman::with_images());
}

#[test]
fn under_its_seccomp_profile_on_crun() {
    under_its_seccomp_profile(&Podman::with_crun());
}
