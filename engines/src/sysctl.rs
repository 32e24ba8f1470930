//! Machine-wide sysctls that a kubelet changes, whatever its configuration says.

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

/// The sysctls' values. Drop restores them.
pub struct Sysctls([(PathBuf, String); CHANGED.len()]);

impl Sysctls {
    /// Records the present values.
    pub fn remember() -> Self {
        Self(CHANGED.map(|name| {
            let file = Path::new("/proc/sys").join(name);
            let value = fs::read_to_string(&file).unwrap();
            (file, value)
        }))
    }
}

impl Drop for Sysctls {
    fn drop(&mut self) {
        for (file, value) in &self.0 {
            fs::write(file, value).unwrap();
        }
    }
}
