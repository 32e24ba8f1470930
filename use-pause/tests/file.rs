//! An edit leaves alone a file that somebody changed since the plan, and what an earlier edit kept.

use std::{fs, os::unix::fs::MetadataExt};
use use_pause::file::{self, Edit, State};

#[test]
fn what_others_changed_meanwhile_stays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(&file, "before").unwrap();
    let mut edit = Edit::of(file.clone(), Some("ours".to_owned())).unwrap();
    edit.new.kept = Some(Some("before".to_owned()));
    fs::write(&file, "theirs").unwrap();
    let refused = format!("{:#}", edit.place().unwrap_err());
    assert!(
        refused.contains("it changed while use-pause ran"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn an_edit_is_placed_and_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let text = |it: &str| Some(it.to_owned());
    for content in [None, text("before")] {
        for kept in [None, Some(None), Some(text("earlier"))] {
            _ = fs::remove_file(&file);
            _ = fs::remove_file(file::before(&file));
            let mut edit = Edit::of(file.clone(), text("ours")).unwrap();
            edit.old = State {
                content: content.clone(),
                kept,
            };
            edit.take_back().unwrap();
            edit.new.kept = Some(content.clone());
            let inode = || fs::metadata(&file).map(|it| it.ino()).ok();
            let first = inode();
            for state in [&edit.old, &edit.new] {
                assert_eq!(State::of(&file).unwrap(), *state);
                edit.place().unwrap_or_default();
            }
            edit.take_back().unwrap();
            assert_eq!(State::of(&file).unwrap(), edit.old);
            assert_eq!(inode(), first, "a full disk has no space for a copy");
        }
    }
}
