//! What restarts a runtime: systemd, or what else there is.

use crate::command::{command, find, run};
use anyhow::{Context, Result, bail};
use std::{path::Path, process::Command};

/// A service of the node.
pub struct Service {
    /// As systemd calls it, with or without its ending.
    pub name: String,
}

impl Service {
    /// The program and its arguments; none where nothing is known that would.
    fn words(&self, verb: &str) -> Option<Vec<String>> {
        let name = self.name.trim_end_matches(".service");
        let words = if Path::new("/run/systemd/system").is_dir() {
            vec!["systemctl", verb, name]
        } else if find("rc-service").is_some() {
            vec!["rc-service", name, verb]
        } else if Path::new("/etc/init.d").join(name).exists() {
            vec!["service", name, verb]
        } else {
            return None;
        };
        Some(words.into_iter().map(str::to_owned).collect())
    }

    /// What to type.
    pub fn shown(&self, verb: &str) -> String {
        match self.words(verb) {
            Some(words) => words.join(" "),
            None => format!(
                "{verb} {}, by what runs it on this node (there is no systemd)",
                self.name.trim_end_matches(".service")
            ),
        }
    }

    /// # Errors
    ///
    /// Nothing is known that would do it, or it fails.
    pub fn command(&self, verb: &str) -> Result<Command> {
        let Some(words) = self.words(verb) else {
            bail!(
                "there is neither systemd nor OpenRC nor /etc/init.d/{}: run this without --restart, and {verb} it by hand",
                self.name.trim_end_matches(".service")
            );
        };
        let program = find(&words[0]).with_context(|| format!("no command {}", words[0]))?;
        let mut command = command(&program);
        command.args(&words[1..]);
        Ok(command)
    }

    /// # Errors
    ///
    /// As of [`Self::command`].
    pub fn run(&self, verb: &str) -> Result<()> {
        run(&mut self.command(verb)?, &[])
            .map(drop)
            .with_context(|| format!("{} failed", self.shown(verb)))
    }
}
