//! Lays the program out: a static, position-independent executable without libc, by linker.ld.

use std::{env, process::Command};

fn main() {
    let variable = |name| env::var(name).unwrap_or_default();
    let arch = variable("CARGO_CFG_TARGET_ARCH");
    // The largest page that a kernel of the architecture may have, in bytes: the segment's alignment.
    let page = match &*arch {
        "x86" | "x86_64" | "s390x" => 0x1000,
        _ => 0x10000,
    };
    // make names rust-lld. By default the C compiler links, and takes the linker's options after -Wl.
    let is_lld = variable("CARGO_ENCODED_RUSTFLAGS").contains("linker-flavor=ld.lld");
    let options = match is_lld {
        true => "-pie --no-dynamic-linker -Tlinker.ld -zmax-page-size=",
        false => {
            "-nostartfiles -nostdlib -static-pie -Wl,--no-dynamic-linker,-Tlinker.ld,-zmax-page-size="
        }
    };
    for option in format!("{options}{page:#x}").split(' ') {
        println!("cargo:rustc-link-arg-bins={option}");
    }
    if arch == "arm" && !is_lld {
        // GNU ld refuses rustc's list of symbols, an object without arm's ABI version. rustc brings lld.
        let sysroot = Command::new(variable("RUSTC"))
            .arg("--print=sysroot")
            .output();
        let sysroot = String::from_utf8(sysroot.unwrap().stdout).unwrap();
        let (sysroot, host) = (sysroot.trim(), variable("HOST"));
        println!("cargo:rustc-link-arg-bins=-fuse-ld=lld");
        println!("cargo:rustc-link-arg-bins=-B{sysroot}/lib/rustlib/{host}/bin/gcc-ld");
    }
    // Whether arm's code is Thumb: rustc tells no program so.
    println!("cargo:rustc-check-cfg=cfg(thumb)");
    if variable("TARGET").starts_with("thumb") {
        println!("cargo:rustc-cfg=thumb");
    }
    println!("cargo:rerun-if-changed=linker.ld");
}
