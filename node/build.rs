//! Puts the image's archive into the executable: the file that PAUSE_ARCHIVE names, which `make node`
//! sets. Without it there is none, so that clippy and rustdoc need no image, and the command asks for
//! one with `--archive`.

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
