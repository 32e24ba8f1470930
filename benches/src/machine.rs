//! The machine that a run was made on.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{fs, process::Command, thread::available_parallelism};
use tests::{output, program::NATIVE_ARCH};

/// What matters of it for the numbers.
#[derive(Clone, Serialize, Deserialize)]
pub struct Machine {
    /// The day, in UTC: 2026-01-31.
    pub date: String,
    pub arch: String,
    pub processor: String,
    pub processors: usize,
    /// In GiB.
    pub memory: u64,
    pub kernel: String,
    /// The hypervisor that it runs on, or none.
    pub hypervisor: bool,
    pub distribution: String,
    pub cgroups: u32,
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    ///
    /// /proc is not what it is on Linux.
    pub fn this() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let field = |name| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(": "))
                .map(|(_, value)| value.to_owned())
        };
        let memory = fs::read_to_string("/proc/meminfo")?;
        let memory = memory.split_whitespace().nth(1).context("/proc/meminfo")?;
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let distribution = release
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let version_2 = fs::exists("/sys/fs/cgroup/cgroup.controllers")?;
        Ok(Self {
            date: output(Command::new("date").args(["-u", "+%F"]))
                .trim()
                .to_owned(),
            arch: NATIVE_ARCH.to_owned(),
            processor: field("model name")
                .or(field("CPU part"))
                .unwrap_or_default(),
            processors: available_parallelism()?.get(),
            memory: memory.parse::<u64>()?.div_ceil(1 << 20),
            // Without what its builder calls it.
            kernel: kernel
                .split(['-', '+'])
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
            hypervisor: field("flags").is_some_and(|flags| flags.contains("hypervisor")),
            distribution: distribution.unwrap_or("Linux").trim_matches('"').to_owned(),
            cgroups: if version_2 { 2 } else { 1 },
        })
    }

    /// In one sentence.
    pub fn describe(&self) -> String {
        format!(
            "{}, on {} of {}{}, {} GiB, {}, Linux {}, cgroups of version {}",
            self.date,
            self.processors,
            self.processor,
            if self.hypervisor {
                " (a virtual machine)"
            } else {
                ""
            },
            self.memory,
            self.distribution,
            self.kernel,
            self.cgroups,
        )
    }
}
