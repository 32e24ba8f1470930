//! The tests of pause on other kernels, booted in QEMU: older, newer, with larger pages, and one of each
//! architecture.

use engines::{built, output, program::TERMINATED, project};
use std::{
    fs,
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
                crate::kernels::boot($kernel, $page);
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

/// The other platforms. arm/v6 has arm/v7's program, and Rust has no std for it to build an init with.
mod platforms {
    tests_of_kernels! {
        #[ignore = "takes another minute: make test-platforms"]
        i386 "386-6.1" 4;
        #[ignore = "takes another minute: make test-platforms"]
        arm_v7 "arm-6.1" 4;
        #[ignore = "takes another minute: make test-platforms"]
        loong64 "loong64-testing" 16;
        #[ignore = "takes another minute: make test-platforms"]
        ppc64le_with_pages_of_64_kib "ppc64le-6.1" 64;
        #[ignore = "takes another minute: make test-platforms"]
        riscv64 "riscv64-testing" 4;
        #[ignore = "takes another minute: make test-platforms"]
        s390x "s390x-6.1" 4;
    }
}

mod arm64_node {
    use super::*;

    /// Boots an emulated arm64 machine with Debian's podman and containerd and a kubelet. engines/src/bin
    /// runs a pod in each.
    #[test]
    #[ignore = "takes a root file system of Debian's: make test-arm64-node"]
    fn runs_pods() {
        let mut files = vec![("/init".into(), built("node/arm64/arm64-node"))];
        let here = [
            built("pause.tar"),
            built("pause/arm64/pause"),
            built("kubelet/arm64/kubelet"),
            project().join("examples/pod.yaml"),
            project().join("examples/seccomp.json"),
        ];
        files.extend(here.map(|path| (path.clone(), path)));
        for module in fs::read_dir(built("kernels/arm64-6.1.modules")).unwrap() {
            let module = module.unwrap();
            files.push((
                Path::new("/modules").join(module.file_name()),
                module.path(),
            ));
        }
        let root = Some(built("node/arm64/root.cpio"));
        let console = run("arm64", "arm64-6.1", 4096, root, files);
        println!("{console}");
        assert!(console.contains("\n1..3\n"));
        assert!(console.contains("Power down"));
    }
}

/// Boots target/kernels/`kernel` (ARCH-VERSION), whose pages have `page` KiB, with tests/init as its init. All
/// its tests must pass.
fn boot(kernel: &str, page: u32) {
    let mut parts = kernel.split('-');
    let [arch, version] = [(); 2].map(|()| parts.next().unwrap());
    let files = vec![
        ("/init".into(), built(&format!("init/{arch}/init"))),
        ("/pause".into(), built(&format!("pause/{arch}/pause"))),
    ];
    let console = run(arch, kernel, 512, None, files);
    fs::write(built("kernels").join(format!("{kernel}.tap")), &console).unwrap();

    // Debian testing may have any version.
    let start = match version {
        "testing" => "# Linux ".to_owned(),
        _ => format!("# Linux {version}."),
    };
    let end = format!(", {arch}, pages of {} bytes", page << 10);
    let is_header = |line: &str| line.starts_with(&start) && line.ends_with(&end);
    assert!(console.lines().any(is_header), "another kernel:\n{console}");
    // init prints the plan if all passed. On SIGTERM pause then exits with 0, and the kernel panics.
    let (tests, end) = console.split_once("\n1..").unwrap_or_default();
    let is_good = end.contains(TERMINATED)
        && end.contains("Attempted to kill init! exitcode=0x00000000\n")
        && !tests.contains("Oops");
    assert!(is_good, "{kernel}:\n{console}");
}

/// QEMU's command, machine and processor for an architecture, and the kernel's name of the console, with what
/// else it has to be told. Debian 12's QEMU boots no Linux on loong64.
fn machine(arch: &str) -> [&'static str; 4] {
    match arch {
        "386" => ["qemu-system-i386", "q35", "max", "ttyS0"],
        // Without cmpxchg16b: Linux 6.12's allocator crashes on QEMU 7.2's.
        "amd64" => ["qemu-system-x86_64", "q35", "max,cx16=off", "ttyS0"],
        "arm" => ["qemu-system-arm", "virt", "cortex-a15", "ttyAMA0"],
        // Not all of QEMU's processors support pages of 16 KiB.
        "arm64" => ["qemu-system-aarch64", "virt", "cortex-a76", "ttyAMA0"],
        // Without firmware Linux looks for a keyboard, and does not find one.
        "loong64" => [
            "target/qemu-10/qemu-system-loongarch64",
            "virt",
            "la464",
            "ttyS0 initcall_blacklist=i8042_init",
        ],
        "ppc64le" => ["qemu-system-ppc64", "pseries", "power8", "hvc0"],
        "riscv64" => ["qemu-system-riscv64", "virt", "rv64", "ttyS0"],
        "s390x" => ["qemu-system-s390x", "s390-ccw-virtio", "max", "ttysclp0"],
        _ => panic!("no machine for {arch}"),
    }
}

/// A file's path on the machine that boots, and its path here.
type FileOf = (PathBuf, PathBuf);

/// Runs a kernel with `memory` MiB until the machine ends. Its initramfs has the archive `root`, if there is
/// one, and these files. Returns the console's output.
fn run(arch: &str, kernel: &str, memory: u32, root: Option<PathBuf>, files: Vec<FileOf>) -> String {
    let directory = tempfile::tempdir().unwrap();
    let initramfs = directory.path().join("initramfs");
    for (path, file) in files {
        let copy = directory
            .path()
            .join("files")
            .join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(file, copy).unwrap();
    }
    // The kernel unpacks concatenated archives.
    let pack = r#"[ ! "$2" ] || cp "$2" "$1"
        cd "$0"; find . -mindepth 1 | cpio --create --format=newc --quiet >>"$1""#;
    let mut bash = Command::new("bash");
    bash.args(["-euc", pack])
        .arg(directory.path().join("files"));
    output(bash.arg(&initramfs).arg(root.unwrap_or_default()));

    let [qemu, machine, processor, console] = machine(arch);
    // A kernel that hangs is killed after ten minutes.
    let mut boot = Command::new("timeout");
    boot.args(["--kill-after=5", "600", qemu]);
    boot.args(["-machine", machine, "-cpu", processor]);
    boot.args(["-m", &memory.to_string(), "-accel", "tcg"]);
    boot.args(["-nodefaults", "-nographic", "-no-reboot"]);
    boot.args(["-serial", "stdio", "-kernel"]);
    boot.arg(built(&format!("kernels/{kernel}")));
    boot.arg("-initrd").arg(&initramfs);
    // panic=-1 and -no-reboot: a panic ends the machine.
    let append = format!("console={console} panic=-1 quiet rdinit=/init");
    boot.args(["-append", &append]).stdin(Stdio::null());
    boot.current_dir(project());
    output(&mut boot).replace('\r', "")
}
