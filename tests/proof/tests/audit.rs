//! The listings and the seccomp profile in the repository are those of the files that ship: `make audit`
//! sets AUDIT, which makes them so.

use proof::{Program, listing, seccomp};
use std::{collections::BTreeSet, env, fs};
use tests::{built, project};

#[test]
fn the_listings_and_the_profile_are_not_stale() {
    let (mut files, mut calls) = (Vec::new(), BTreeSet::new());
    for program in Program::all().unwrap() {
        let report = program.prove().unwrap();
        calls.extend(report.calls.iter().copied());
        if program.folder == "pause" {
            let name = program.platform.name;
            let unstripped = built(&format!("pause-unstripped/{name}/pause"));
            let text = listing::list(&program, &report, &unstripped).unwrap();
            files.push((format!("tests/proof/listings/{name}.txt"), text));
        }
    }
    files.push(("image/seccomp.json".to_owned(), seccomp::profile(&calls)));
    for (name, text) in files {
        let path = project().join(&name);
        if env::var_os("AUDIT").is_some() {
            let new = path.with_extension("new");
            fs::write(&new, &text).unwrap();
            fs::rename(new, &path).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(there == text, "{name} is stale: run `make audit`");
    }
}
