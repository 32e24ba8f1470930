//! The tests of pause on other kernels, booted in QEMU: older, newer, with larger pages, and one of each
//! architecture.

use engines::{
    built, output,
    program::{NATIVE_ARCH, TERMINATED},
    project,
};
use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Makes a test of each kernel in target/kernels, whose pages have that many KiB.
macro_rules! tests_of_kernels {
    ($($(#[$ignore:meta])? $name:ident $kernel:literal $page:literal;)*) => {
        $(
            #[test]
            $(#[$ignore])?
            fn $name() {
                boot($kernel, $page);
            }
        )*
    };
}

tests_of_kernels! {
    amd64_5_10 "amd64-5.10" 4;
    amd64_6_1 "amd64-6.1" 4;
    amd64_6_12 "amd64-6.12" 4;
    arm64_5_10 "arm64-5.10" 4;
    arm64_6_1 "arm64-6.1" 4;
    arm64_6_12_with_pages_of_16_kib "arm64-6.12-16k" 16;
}

/// The other platforms: `make test-platforms`. arm/v6 has the same binary as arm/v7, and Rust has no std for
/// it to build tests/init.rs with.
mod platforms {
    use super::boot;

    tests_of_kernels! {
        #[ignore = "takes another minute"]
        i386 "386-6.1" 4;
        #[ignore = "takes another minute"]
        arm_v7 "arm-6.1" 4;
        #[ignore = "takes another minute"]
        ppc64le_with_pages_of_64_kib "ppc64le-6.1" 64;
        #[ignore = "takes another minute"]
        riscv64 "riscv64-testing" 4;
        #[ignore = "takes another minute"]
        s390x "s390x-6.1" 4;
    }
}

/// Boots an emulated arm64 machine with Debian's podman and containerd and a kubelet. tests/node.rs runs a
/// pod in each.
#[test]
#[ignore = "takes a root file system of Debian's"]
fn an_arm64_node_acts_out_the_story_of_a_pod() {
    let in_project = |path: &str| {
        let path = built(path);
        (path.to_str().unwrap().to_owned(), path)
    };
    let kernel = "arm64-6.1";
    let mut files = vec![
        ("/init".to_owned(), built("node/arm64/node")),
        in_project("pause.tar"),
        in_project("pause/arm64/pause"),
        in_project("kubelet/arm64/kubelet"),
    ];
    for path in ["examples/pod.yaml", "examples/seccomp.json"] {
        let path = project().join(path);
        files.push((path.to_str().unwrap().to_owned(), path));
    }
    files.extend(modules_for(kernel));
    let mut initramfs = fs::read(built("node/arm64/root.cpio")).unwrap();
    // The kernel unpacks concatenated archives.
    pack(files, &mut initramfs);
    let console = run("arm64", kernel, 4096, &initramfs);
    println!("{console}");
    assert!(console.contains("\n1..3\n"));
    assert!(console.contains("Power down"));
}

/// Boots target/kernels/`kernel` (ARCH-VERSION), whose pages have `page` KiB, with tests/init.rs as its
/// init. All its tests must pass.
fn boot(kernel: &str, page: u32) {
    let mut parts = kernel.split('-');
    let [arch, version] = [(); 2].map(|()| parts.next().unwrap());
    let mut initramfs = Vec::new();
    pack(files_for(arch, version), &mut initramfs);
    let console = run(arch, kernel, 512, &initramfs);
    fs::write(built("kernels").join(format!("{kernel}.tap")), &console).unwrap();

    // Debian testing may have any version.
    let start = match version {
        "testing" => "# Linux ".to_owned(),
        _ => format!("# Linux {version}."),
    };
    let end = format!(", {arch}, pages of {} bytes", page << 10);
    let is_header = |line: &str| line.starts_with(&start) && line.ends_with(&end);
    assert!(console.lines().any(is_header), "another kernel:\n{console}");
    assert!(is_good(&console), "{kernel}:\n{console}");
}

/// QEMU's command, machine and processor for an architecture, and the kernel's name of the console.
fn machine(arch: &str) -> [&'static str; 4] {
    match arch {
        "386" => ["qemu-system-i386", "q35", "max", "ttyS0"],
        // Without cmpxchg16b: Linux 6.12's allocator crashes on QEMU 7.2's.
        "amd64" => ["qemu-system-x86_64", "q35", "max,cx16=off", "ttyS0"],
        "arm" => ["qemu-system-arm", "virt", "cortex-a15", "ttyAMA0"],
        // Not all of QEMU's processors support pages of 16 KiB.
        "arm64" => ["qemu-system-aarch64", "virt", "cortex-a76", "ttyAMA0"],
        "ppc64le" => ["qemu-system-ppc64", "pseries", "power8", "hvc0"],
        "riscv64" => ["qemu-system-riscv64", "virt", "rv64", "ttyS0"],
        "s390x" => ["qemu-system-s390x", "s390-ccw-virtio", "max", "ttysclp0"],
        _ => panic!("no machine for {arch}"),
    }
}

/// Runs a kernel with `memory` MiB and this initramfs until the machine ends. Returns the console's output.
fn run(arch: &str, kernel: &str, memory: u32, initramfs: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("initramfs");
    fs::write(&archive, initramfs).unwrap();
    let [qemu, machine, processor, console] = machine(arch);
    // A kernel that hangs is killed after ten minutes.
    let mut boot = Command::new("timeout");
    boot.args(["--kill-after=5", "600", qemu]);
    boot.args(["-machine", machine, "-cpu", processor]);
    boot.args(["-m", &memory.to_string(), "-accel", "tcg"]);
    boot.args(["-nodefaults", "-nographic", "-no-reboot"]);
    boot.args(["-serial", "stdio", "-kernel"]);
    boot.arg(built(&format!("kernels/{kernel}")));
    boot.arg("-initrd").arg(&archive);
    // panic=-1 and -no-reboot: a panic ends the machine.
    let append = format!("console={console} panic=-1 quiet rdinit=/init");
    boot.args(["-append", &append]).stdin(Stdio::null());
    output(&mut boot).replace('\r', "")
}

/// A file's name in the archive, and its path here.
type FileOf = (String, PathBuf);

/// The files that tests/init.rs needs on a kernel.
fn files_for(arch: &str, version: &str) -> Vec<FileOf> {
    let mut files = vec![
        ("/init".to_owned(), built(&format!("init/{arch}/init"))),
        ("/pause".to_owned(), built(&format!("pause/{arch}/pause"))),
    ];
    if arch == "arm64" {
        files.push(("/pause-4k".to_owned(), built("pause-4k/arm64/pause")));
    }
    // Debian's criu supports Debian's kernel of the same release. On others it may fail: 3.17 says
    // "Unexpected rt vDSO area bounds" on Linux 6.18.
    if arch == NATIVE_ARCH && version == "6.1" {
        let criu = "/usr/sbin/criu";
        let needed = output(Command::new("ldd").arg(criu));
        let libraries = needed.split_whitespace().filter(|it| it.starts_with('/'));
        files.extend(libraries.chain([criu]).map(|it| (it.to_owned(), it.into())));
        files.extend(modules_for(&format!("{arch}-{version}")));
    }
    files
}

/// The kernel's modules.
fn modules_for(kernel: &str) -> Vec<FileOf> {
    let modules = fs::read_dir(built(&format!("kernels/{kernel}.modules"))).unwrap();
    let name = |it: &Path| format!("/modules/{}", it.file_name().unwrap().to_str().unwrap());
    let modules = modules.map(|it| it.unwrap().path());
    modules.map(|it| (name(&it), it)).collect()
}

/// Appends an initramfs with these files to `archive` (cpio's format "newc").
fn pack(files: Vec<FileOf>, archive: &mut Vec<u8>) {
    let mut folders = BTreeSet::new();
    for (name, _) in &files {
        let folder = Path::new(name).parent().unwrap();
        folders.extend(folder.ancestors().map(|it| it.to_str().unwrap().to_owned()));
    }
    folders.remove("/");
    let folders = folders.into_iter().map(|name| (name, 0o040_755, vec![]));
    let files = files
        .into_iter()
        .map(|(name, path)| (name, 0o100_555, fs::read(path).unwrap()));
    for (name, mode, content) in folders.chain(files) {
        let entry = cpio::newc::Builder::new(&name[1..]).mode(mode);
        let mut entry = entry.write(&mut *archive, content.len() as u32);
        entry.write_all(&content).unwrap();
        entry.finish().unwrap();
    }
    cpio::newc::trailer(archive).unwrap();
}

/// Whether a console shows that all tests passed, and that pause then left with 0 on SIGTERM, whereupon
/// the kernel panicked.
fn is_good(console: &str) -> bool {
    // Tap prints the plan if all passed.
    let (_, end) = console.split_once("\n1..").unwrap_or_default();
    let is_panic = |line: &&str| line.contains("Kernel panic") || line.contains("Oops");
    let panics: Vec<&str> = console.lines().filter(is_panic).collect();
    let is_left = |panic: &str| panic.contains("Attempted to kill init! exitcode=0x00000000");
    end.contains(TERMINATED) && panics.len() == 1 && is_left(panics[0])
}

#[test]
fn a_boot_that_went_wrong_is_seen() {
    let good = "TAP version 13\nok 1 - a\nok 2 - b\n1..2\n\
        Shutting down, got signal: Terminated\n\
        [ 1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000000\n";
    assert!(is_good(good));
    for (from, to) in [
        ("1..2\n", ""),
        ("1..2", "Bail out! 1 of 2 tests failed"),
        ("Shutting down, got signal: Terminated\n", ""),
        ("exitcode=0x00000000", "exitcode=0x00000100"),
        (
            "ok 2",
            "[ 0.9] Kernel panic - not syncing: Fatal exception\nok 2",
        ),
        ("ok 2", "[ 0.9] Internal error: Oops: 96000004\nok 2"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(!is_good(&bad), "{bad}");
    }
    let cut = good.split_once("[").unwrap().0;
    assert!(!is_good(cut));
}
