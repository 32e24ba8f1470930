//! The machine that a run was made on.

use anyhow::Result;
use engines::{program::NATIVE_ARCH, said};
use procfs::{CpuInfo, Current, Meminfo, sys::kernel::Version};
use serde::{Deserialize, Serialize};
use std::{fs, process::Command, thread::available_parallelism};

/// The machine, as far as it matters for the numbers.
#[derive(Clone, Serialize, Deserialize)]
pub struct Machine {
    /// The day in UTC: 2026-01-31.
    pub date: String,
    pub arch: String,
    pub processor: String,
    pub processors: usize,
    /// In GiB.
    pub memory: u64,
    pub kernel: String,
    /// Whether the machine is virtual.
    pub hypervisor: bool,
    pub distribution: String,
    /// The version of cgroups.
    pub cgroups: u32,
}

impl Machine {
    /// This machine, today.
    ///
    /// # Errors
    ///
    /// /proc lacks a file.
    pub fn this() -> Result<Self> {
        let cpus = CpuInfo::current()?;
        let processor = cpus.model_name(0).or(cpus.get_field(0, "CPU part"));
        let flags = cpus.flags(0).unwrap_or_default();
        let kernel = Version::current()?;
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let mut release = release.lines();
        let distribution = release.find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let version_2 = fs::exists("/sys/fs/cgroup/cgroup.controllers")?;
        Ok(Self {
            date: said(Command::new("date").args(["-u", "+%F"])),
            arch: NATIVE_ARCH.to_owned(),
            processor: processor.unwrap_or_default().to_owned(),
            processors: available_parallelism()?.get(),
            memory: Meminfo::current()?.mem_total.div_ceil(1 << 30),
            kernel: format!("{}.{}.{}", kernel.major, kernel.minor, kernel.patch),
            hypervisor: flags.contains(&"hypervisor"),
            distribution: distribution.unwrap_or("Linux").trim_matches('"').to_owned(),
            cgroups: if version_2 { 2 } else { 1 },
        })
    }

    /// The date and the machine in one line.
    pub fn describe(&self) -> String {
        format!(
            "{} on {} × {}{}, {} GiB of memory, {}, Linux {}, cgroup v{}",
            self.date,
            self.processors,
            self.processor,
            if self.hypervisor { " (virtual)" } else { "" },
            self.memory,
            self.distribution,
            self.kernel,
            self.cgroups,
        )
    }
}
