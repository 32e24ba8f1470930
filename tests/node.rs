//! The first process of a machine with podman, containerd and a kubelet: runs the story of a pod in each,
//! then switches the machine off.

use nix::{
    mount::{MsFlags, mount, umount},
    sys::reboot::{RebootMode, reboot},
    unistd::{ForkResult, execv, fork},
};
use std::{ffi::CString, fs, os::unix::ffi::OsStrExt};
use tests::{
    engine::{Containerd, Cri, Podman},
    kubelet,
    machine::{self, Tap},
    program::Program,
    story,
};

/// Version 2 filters devices by a program of BPF, which refuses all of them on the aarch64 that QEMU 7.2
/// emulates.
fn use_cgroups_of_version_1() {
    let root = "/sys/fs/cgroup";
    umount(root).unwrap();
    let flags = MsFlags::empty();
    mount(Some("tmpfs"), root, Some("tmpfs"), flags, None::<&str>).unwrap();
    for controller in [
        "blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids",
    ] {
        let at = format!("{root}/{controller}");
        fs::create_dir(&at).unwrap();
        mount(
            Some("cgroup"),
            &*at,
            Some("cgroup"),
            flags,
            Some(controller),
        )
        .unwrap();
    }
}

fn main() {
    assert_eq!(std::process::id(), 1, "only a kernel starts this");
    machine::settle();
    machine::load_modules();
    use_cgroups_of_version_1();
    // An emulated processor is slow.
    for (name, value) in [
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        ("PATIENCE", "300"),
    ] {
        // SAFETY: there is no other thread yet.
        unsafe { std::env::set_var(name, value) };
    }
    // pause becomes the first process, to reap the orphans that podman leaves.
    let pause = CString::new(Program::native().path.as_os_str().as_bytes()).unwrap();
    // SAFETY: there is still no other thread.
    if let ForkResult::Parent { .. } = unsafe { fork() }.unwrap() {
        execv(&pause, &[&pause]).unwrap();
    }
    let mut tap = Tap::start();
    tap.test("the story of a pod, in podman", || {
        story::tell(&Podman::with("vfs"));
    });
    tap.test("the story of a pod, in containerd", || {
        story::tell(&Cri::of(Containerd::start()));
    });
    tap.test("a pod of a kubelet", || {
        kubelet::tell(&Cri::of(Containerd::start()));
    });
    tap.end();
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    panic!("still on: {error}");
}
