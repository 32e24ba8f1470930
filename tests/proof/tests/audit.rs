//! The listings and the seccomp profile in the repository are those of the files that ship.

use proof::audit;
use std::fs;

#[test]
fn the_listings_and_the_profile_are_not_stale() {
    for (path, text) in audit().unwrap() {
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "{} is stale: run `make audit`",
            path.display()
        );
    }
}
