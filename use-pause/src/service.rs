//! What restarts a runtime: systemd, OpenRC or an init script.

use crate::{
    command::{command, find, run},
    process,
};
use anyhow::{Context, Result};
use std::{path::Path, process::Command};

/// A service of the node, by its name without ".service".
pub struct Service(pub String);

pub fn is_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

impl Service {
    /// The service of a process, or else the one of that name.
    pub fn of(pid: Option<i32>, otherwise: &str) -> Self {
        let found = pid.and_then(process::service);
        Self(found.unwrap_or_else(|| otherwise.to_owned()))
    }

    /// The command line; none if the node has none of the three.
    fn words(&self, verb: &str) -> Option<[String; 3]> {
        let name = &*self.0;
        let words = if is_systemd() {
            ["systemctl", verb, name]
        } else if find("rc-service").is_some() {
            ["rc-service", name, verb]
        } else if Path::new("/etc/init.d").join(name).exists() {
            ["service", name, verb]
        } else {
            return None;
        };
        Some(words.map(str::to_owned))
    }

    /// What to type.
    pub fn shown(&self, verb: &str) -> String {
        match self.words(verb) {
            Some(words) => words.join(" "),
            None => format!("{verb} {} by hand (found no systemd)", self.0),
        }
    }

    pub fn command(&self, verb: &str) -> Result<Command> {
        let words = self.words(verb).with_context(|| {
            let name = &self.0;
            format!("found neither systemd nor OpenRC nor /etc/init.d/{name}: run this without --restart, and {verb} {name} by hand")
        })?;
        let program = find(&words[0]).with_context(|| format!("cannot find {}", words[0]))?;
        let mut command = command(&program);
        command.args(&words[1..]);
        Ok(command)
    }

    pub fn run(&self, verb: &str) -> Result<()> {
        run(&mut self.command(verb)?, &[])
            .map(drop)
            .with_context(|| format!("{} failed", self.shown(verb)))
    }

    /// Lets systemd read its units again.
    pub fn reload_units() -> Result<()> {
        let systemctl = find("systemctl").context("cannot find systemctl")?;
        run(command(&systemctl).arg("daemon-reload"), &[]).map(drop)
    }
}
