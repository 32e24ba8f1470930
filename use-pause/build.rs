//! Embeds the image's archive, target/pause.tar, if make has packed it. Without it the executable has no image and
//! asks for `--archive`.

use std::{env, fs, path::Path};

fn main() {
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/pause.tar");
    println!("cargo:rerun-if-changed={packed}");
    let directory = env::var("OUT_DIR").unwrap();
    fs::write(
        Path::new(&directory).join("pause.tar"),
        fs::read(packed).unwrap_or_default(),
    )
    .unwrap();
}
