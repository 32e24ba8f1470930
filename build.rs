//! Lays the program out: a static, position-independent executable without libc, by linker.ld.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=linker.ld");
    // The largest page that a kernel of the architecture may have, in bytes: the segment's alignment.
    let page = match &*env::var("CARGO_CFG_TARGET_ARCH").unwrap() {
        "x86" | "x86_64" | "s390x" => 0x1000,
        _ => 0x10000,
    };
    let layout = [
        "--no-dynamic-linker".to_owned(),
        "-Tlinker.ld".to_owned(),
        format!("-zmax-page-size={page:#x}"),
    ];
    // make names rust-lld. By default the C compiler links, and takes the linker's options after -Wl.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let is_lld = flags.contains("linker-flavor=ld.lld");
    let (own, prefix) = match is_lld {
        true => (&["-pie"][..], ""),
        false => (&["-nostartfiles", "-nostdlib", "-static-pie"][..], "-Wl,"),
    };
    for argument in own {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    for argument in layout {
        println!("cargo:rustc-link-arg-bins={prefix}{argument}");
    }
}
