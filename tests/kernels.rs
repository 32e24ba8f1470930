//! Other kernels, booted in QEMU: pause does there what it does here, on an older one, a newer one,
//! ones with larger pages, and one of each architecture.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tests::{
    built, output,
    program::{NATIVE_ARCH, TERMINATED},
    project,
};

#[test]
fn amd64_5_10() {
    boot("amd64-5.10", 4);
}

#[test]
fn amd64_6_1() {
    boot("amd64-6.1", 4);
}

#[test]
fn amd64_6_12() {
    boot("amd64-6.12", 4);
}

#[test]
fn arm64_5_10() {
    boot("arm64-5.10", 4);
}

#[test]
fn arm64_6_1() {
    boot("arm64-6.1", 4);
}

#[test]
fn arm64_6_12_with_pages_of_16_kib() {
    boot("arm64-6.12-16k", 16);
}

/// The other platforms, by `make test-platforms`. Of arm it is v7: for v6 there is no std of Rust's
/// to build tests/init.rs with, and the file is the same.
mod platforms {
    use super::boot;

    #[test]
    #[ignore = "takes another minute"]
    fn i386() {
        boot("386-6.1", 4);
    }

    #[test]
    #[ignore = "takes another minute"]
    fn arm_v7() {
        boot("arm-6.1", 4);
    }

    #[test]
    #[ignore = "takes another minute"]
    fn ppc64le_with_pages_of_64_kib() {
        boot("ppc64le-6.1", 64);
    }

    #[test]
    #[ignore = "takes another minute"]
    fn riscv64() {
        boot("riscv64-testing", 4);
    }

    #[test]
    #[ignore = "takes another minute"]
    fn s390x() {
        boot("s390x-6.1", 4);
    }
}

/// A machine with Debian's podman and containerd and a kubelet on it, whose processor is emulated: what
/// a pod of arm64 is there.
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
    for path in ["examples/pod.yaml", "image/seccomp.json"] {
        let path = project().join(path);
        files.push((path.to_str().unwrap().to_owned(), path));
    }
    files.extend(modules_for(kernel));
    let mut initramfs = fs::read(built("node/arm64/root.cpio")).unwrap();
    // The kernel takes one archive behind another.
    pack(files, &mut initramfs);
    let console = run("arm64", kernel, 4096, &initramfs);
    println!("{console}");
    let ok = |line: &&str| line.starts_with("ok ");
    assert_eq!(console.lines().filter(ok).count(), 3);
    assert!(
        console.contains("\n1..3\n")
            && !console.contains("not ok")
            && console.contains("Power down")
    );
}

/// Starts that kernel of target/kernels, ARCH-VERSION, whose pages have so many KiB, with
/// tests/init.rs as its first process, and sees that all went well there.
fn boot(kernel: &str, page: u32) {
    let mut parts = kernel.split('-');
    let (arch, version) = (parts.next().unwrap(), parts.next().unwrap());
    let mut initramfs = Vec::new();
    pack(files_for(arch, version), &mut initramfs);
    let console = run(arch, kernel, 512, &initramfs);
    fs::write(built("kernels").join(format!("{kernel}.tap")), &console).unwrap();

    // Of a release that changes, any version will do.
    let header = match version {
        "testing" => "# Linux ".to_owned(),
        _ => format!("# Linux {version}."),
    };
    let header = console.lines().find(|line| line.starts_with(&header));
    let header = header.unwrap_or_else(|| panic!("another kernel:\n{console}"));
    let end = format!(", {arch}, pages of {} bytes", page << 10);
    assert!(header.ends_with(&end), "{header}");
    if let Err(why) = judge(&console) {
        panic!("{kernel}: {why}:\n{console}");
    }
}

/// What QEMU makes for a kernel of that architecture: its command, the machine, the processor, and
/// what the kernel calls the console.
fn machine(arch: &str) -> [&'static str; 4] {
    match arch {
        "386" => ["qemu-system-i386", "q35", "max", "ttyS0"],
        // Without cmpxchg16b, as QEMU 7.2 has it: Linux 6.12's allocator crashes there.
        "amd64" => ["qemu-system-x86_64", "q35", "max,cx16=off", "ttyS0"],
        "arm" => ["qemu-system-arm", "virt", "cortex-a15", "ttyAMA0"],
        // Not each processor that QEMU knows has pages of 16 KiB.
        "arm64" => ["qemu-system-aarch64", "virt", "cortex-a76", "ttyAMA0"],
        "ppc64le" => ["qemu-system-ppc64", "pseries", "power8", "hvc0"],
        "riscv64" => ["qemu-system-riscv64", "virt", "rv64", "ttyS0"],
        "s390x" => ["qemu-system-s390x", "s390-ccw-virtio", "max", "ttysclp0"],
        _ => panic!("no machine for {arch}"),
    }
}

/// Runs the kernel of that name, on a machine with so many MiB of memory, from that archive, until
/// the machine ends: what its console said.
fn run(arch: &str, kernel: &str, memory: u32, initramfs: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("initramfs");
    fs::write(&archive, initramfs).unwrap();
    let [qemu, machine, processor, console] = machine(arch);
    // For ten minutes at most: a kernel that hangs says so by a plan that is missing.
    let mut boot = Command::new("timeout");
    boot.args(["--kill-after=5", "600", qemu]);
    boot.args(["-machine", machine, "-cpu", processor]);
    boot.args(["-m", &memory.to_string(), "-accel", "tcg"]);
    boot.args(["-nodefaults", "-nographic", "-no-reboot"]);
    boot.args(["-serial", "stdio", "-kernel"]);
    boot.arg(built(&format!("kernels/{kernel}")));
    boot.arg("-initrd").arg(&archive);
    // Where the kernel panics, the machine ends.
    let append = format!("console={console} panic=-1 quiet rdinit=/init");
    boot.args(["-append", &append]).stdin(Stdio::null());
    output(&mut boot).replace('\r', "")
}

/// A file's name in the archive, and where it is.
type FileOf = (String, PathBuf);

/// What the first process of a kernel of that version wants.
fn files_for(arch: &str, version: &str) -> Vec<FileOf> {
    let mut files = vec![
        ("/init".to_owned(), built(&format!("init/{arch}/init"))),
        ("/pause".to_owned(), built(&format!("pause/{arch}/pause"))),
    ];
    if arch == "arm64" {
        files.push(("/pause-4k".to_owned(), built("pause-4k/arm64/pause")));
    }
    // Debian's criu knows Debian's kernel. That of the machine it may not: 3.17 says "Unexpected rt
    // vDSO area bounds" on Linux 6.18.
    if arch == NATIVE_ARCH && version == "6.1" {
        let criu = "/usr/sbin/criu";
        let libraries = output(Command::new("ldd").arg(criu));
        let libraries = libraries
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        files.extend(libraries.chain([criu]).map(|it| (it.to_owned(), it.into())));
        files.extend(modules_for(&format!("{arch}-{version}")));
    }
    files
}

/// What a kernel loads, that has it apart.
fn modules_for(kernel: &str) -> Vec<FileOf> {
    let modules = fs::read_dir(built(&format!("kernels/{kernel}.modules"))).unwrap();
    let name = |it: &Path| format!("/modules/{}", it.file_name().unwrap().to_str().unwrap());
    let modules = modules.map(|it| it.unwrap().path());
    modules.map(|it| (name(&it), it)).collect()
}

/// Packs what the kernel unpacks as its first root file system (cpio's format "newc").
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

/// Why what the console says is not what it has to: all tests went well, there were as many as
/// planned, and then the first process left with 0, which is the end of the machine.
fn judge(console: &str) -> Result<(), String> {
    let plan = console.lines().find_map(|line| line.strip_prefix("1.."));
    let plan: usize = plan.and_then(|it| it.parse().ok()).ok_or("no plan")?;
    let failed = console.lines().find(|line| line.starts_with("not ok"));
    if let Some(failed) = failed {
        return Err(failed.to_owned());
    }
    for number in 1..=plan {
        let ok = format!("ok {number} - ");
        if !console.lines().any(|line| line.starts_with(&ok)) {
            return Err(format!("no test {number}"));
        }
    }
    if plan == 0
        || console
            .lines()
            .any(|line| line.starts_with(&format!("ok {} ", plan + 1)))
    {
        return Err("more or fewer tests than planned".to_owned());
    }
    let (_, end) = console.split_once("\n1..").unwrap_or_default();
    if !end.contains(TERMINATED) {
        return Err("no line of the first process".to_owned());
    }
    let panics: Vec<&str> = console
        .lines()
        .filter(|line| line.contains("Kernel panic") || line.contains("Oops"))
        .collect();
    match panics[..] {
        [panic] if panic.contains("Attempted to kill init! exitcode=0x00000000") => Ok(()),
        _ => Err(format!("{panics:?}")),
    }
}

/// What it has to see, on consoles that are made up.
#[test]
fn a_boot_that_went_wrong_is_seen() {
    let good = "TAP version 13\nok 1 - a\nok 2 - b\n1..2\n\
        Shutting down, got signal: Terminated\n\
        [ 1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000000\n";
    assert_eq!(judge(good), Ok(()));
    for (from, to) in [
        ("ok 2 - b", "not ok 2 - b"),
        ("ok 2 - b\n", ""),
        ("1..2\n", ""),
        ("1..2", "1..1"),
        ("1..2", "1..3"),
        ("1..2", "1..0"),
        ("Shutting down, got signal: Terminated\n", ""),
        ("exitcode=0x00000000", "exitcode=0x00000100"),
        (
            "ok 2",
            "[ 0.9] Kernel panic - not syncing: Fatal exception\nok 2",
        ),
        ("ok 2", "[ 0.9] Internal error: Oops: 96000004\nok 2"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(judge(&bad).is_err(), "{bad}");
    }
    let cut = good.split_once("[").unwrap().0;
    assert!(judge(cut).is_err());
}
