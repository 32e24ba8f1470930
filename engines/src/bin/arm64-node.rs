//! The first process of a machine with podman, containerd and a kubelet: runs the story of a pod in each,
//! then switches the machine off.

use engines::{
    PATIENCE,
    engine::{Containerd, Podman},
    kubelet,
    program::Program,
    story,
};
use init::{Tap, mount_new};
use nix::{
    mount::umount,
    sys::reboot::{RebootMode, reboot},
    unistd::{ForkResult, execv, fork},
};
use std::{ffi::CString, os::unix::ffi::OsStrExt, sync::atomic::Ordering};

/// Version 2 filters devices by a program of BPF, which refuses all of them on the aarch64 that QEMU 7.2
/// emulates.
fn use_cgroups_of_version_1() {
    umount("/sys/fs/cgroup").unwrap();
    mount_new("tmpfs", "/sys/fs/cgroup", None);
    for controller in [
        "blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids",
    ] {
        let at = format!("/sys/fs/cgroup/{controller}");
        mount_new("cgroup", &at, Some(controller));
    }
}

fn main() {
    assert_eq!(std::process::id(), 1, "only a kernel starts this");
    init::settle();
    init::load_modules();
    use_cgroups_of_version_1();
    // An emulated processor is slow.
    PATIENCE.store(300, Ordering::Relaxed);
    // SAFETY: there is no other thread yet.
    unsafe { std::env::set_var("PATH", "/usr/sbin:/usr/bin:/sbin:/bin") };
    // pause becomes the first process, to reap the orphans that podman leaves.
    let pause = CString::new(Program::native().path.as_os_str().as_bytes()).unwrap();
    // SAFETY: there is still no other thread.
    if let ForkResult::Parent { .. } = unsafe { fork() }.unwrap() {
        execv(&pause, &[&pause]).unwrap();
    }
    let mut tap = Tap::start();
    tap.test("the story of a pod, in podman", || {
        story::run(&Podman::with_images());
    });
    tap.test("the story of a pod, in containerd", || {
        story::run(&Containerd::start());
    });
    tap.test("a pod of a kubelet", || {
        kubelet::run_pod(&Containerd::start());
    });
    tap.end();
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    panic!("still on: {error}");
}
