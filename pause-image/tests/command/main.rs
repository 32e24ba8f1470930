//! The command pause-image, on what `make` built.

mod attest;
mod pack;
mod verify;

use sandbox::{project, text};
use std::{fs, process::Command};

/// The command with these arguments, separated by spaces, in the project's folder.
fn pause_image(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pause-image"));
    command.args(arguments.split(' ').filter(|it| !it.is_empty()));
    command.current_dir(project());
    command.env_remove("SOURCE_DATE_EPOCH");
    command
}

/// The one line that a command fails with, without its name.
fn failure(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let line = stderr.trim_end().strip_prefix("pause-image: ");
    line.expect(&stderr).to_owned()
}

/// The pairs of digest and name in pause-image/digests.
fn digests() -> Vec<(String, String)> {
    let digests = fs::read_to_string(project().join("pause-image/digests")).unwrap();
    let pairs = digests.lines().filter_map(|line| line.split_once("  "));
    pairs
        .map(|(digest, name)| (digest.to_owned(), name.to_owned()))
        .collect()
}

/// The digest of a name in pause-image/digests.
fn digest_of(name: &str) -> String {
    let mut digests = digests().into_iter();
    digests.find(|(_, it)| it == name).expect(name).0
}
