//! Embeds the image's archive, the file that PAUSE_ARCHIVE names. `make node` sets it. Without it the
//! executable has no image and asks for `--archive`; clippy and rustdoc need none.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-env-changed=PAUSE_ARCHIVE");
    let embedded = match env::var("PAUSE_ARCHIVE") {
        Ok(path) => {
            println!("cargo:rerun-if-changed={path}");
            fs::read(&path).unwrap_or_else(|error| panic!("PAUSE_ARCHIVE: {path}: {error}"))
        }
        Err(_) => Vec::new(),
    };
    let folder = env::var("OUT_DIR").unwrap();
    fs::write(Path::new(&folder).join("pause.tar"), embedded).unwrap();
}
