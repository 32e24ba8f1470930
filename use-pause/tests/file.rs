//! An edit leaves alone a file that somebody changed since the plan, and what an earlier edit kept.

use std::fs;
use use_pause::file::{self, Before, Edit};

#[test]
fn what_others_changed_meanwhile_stays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(&file, "theirs").unwrap();
    let edit = Edit {
        file: file.clone(),
        old: Some("before".to_owned()),
        new: Some("ours".to_owned()),
        before: Before::Keep,
        earlier: None,
        note: None,
    };
    let refused = format!("{:#}", edit.place().unwrap_err());
    assert!(
        refused.contains("it changed while use-pause ran"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);

    fs::write(&file, "before").unwrap();
    edit.place().unwrap();
    edit.take_back().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "before");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

/// Somebody removed the configuration after a switch, and the next switch is taken back.
#[test]
fn what_an_earlier_switch_kept_stays() {
    let directory = tempfile::tempdir().unwrap();
    let edit = Edit {
        file: directory.path().join("config.toml"),
        old: None,
        new: Some("ours".to_owned()),
        before: Before::Keep,
        earlier: Some(Some("before".to_owned())),
        note: None,
    };
    let kept = file::before(&edit.file);
    fs::write(&kept, "before").unwrap();
    edit.place().unwrap();
    edit.take_back().unwrap();
    assert_eq!(fs::read_to_string(kept).unwrap(), "before");
    assert!(!edit.file.exists());
}
