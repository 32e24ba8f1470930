//! Settings of the whole machine that a kubelet changes, whatever its configuration says.

use std::{
    fs,
    path::{Path, PathBuf},
};

const CHANGED: [&str; 6] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Puts them back when it is dropped.
pub struct Sysctls(Vec<(PathBuf, String)>);

impl Sysctls {
    /// As they are now.
    pub fn remember() -> Self {
        let files = CHANGED.map(|name| Path::new("/proc/sys").join(name));
        let values = files.into_iter().map(|file| {
            let value = fs::read_to_string(&file).unwrap();
            (file, value)
        });
        Self(values.collect())
    }
}

impl Drop for Sysctls {
    fn drop(&mut self) {
        for (file, value) in &self.0 {
            fs::write(file, value).unwrap();
        }
    }
}
