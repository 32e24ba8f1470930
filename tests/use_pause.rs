//! use-pause on a node: each configuration that nodes have, by each containerd at hand.

use similar::TextDiff;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};
use tests::{
    built,
    engine::{IMAGE, sha256},
    node::{Node, copy_configuration},
    program::Program,
    project,
};

/// What use-pause makes of a configuration.
enum Result {
    /// It names the image there, as the file of that name in tests/configurations/diffs says.
    Switched(&'static str),
    /// It says why not, and nothing changes.
    Refused(&'static str),
}
use Result::{Refused, Switched};

/// The releases of containerd in the table, and what has their commands.
const RELEASES: [&str; 3] = ["1.6", "1.7", "2.1"];

fn commands(release: &str) -> PathBuf {
    match release {
        "1.6" => "/usr/bin".into(),
        "1.7" => built("containerd-1.7"),
        _ => built("containerd-2"),
    }
}

const CRI: &str = "disabled_plugins has \"cri\"";
const URI: &str = "invalid disabled plugin URI \"cri\"";
const OF_3: &str = "does not read the sandbox image of a file of version 3";

/// Each file of tests/configurations, with what comes of it on each of [`RELEASES`].
fn table() -> Vec<(&'static str, [Result; 3])> {
    let all = |name| [Switched(name), Switched(name), Switched(name)];
    let refused = |why| [Refused(why), Refused(why), Refused(why)];
    let on_2 = |name| [Refused(OF_3), Refused(OF_3), Switched(name)];
    vec![
        ("debian", all("debian")),
        ("default-1.6", all("default-1.6")),
        ("default-1.7", all("default-1.7")),
        ("default-2.1", on_2("default-2.1")),
        (
            "version-4",
            [
                Refused("of version 4"),
                Refused("of version 4"),
                Refused("version"),
            ],
        ),
        ("kind", all("kind")),
        ("k3s", on_2("k3s")),
        ("docker", [Refused(CRI), Refused(CRI), Refused(URI)]),
        (
            "version-1",
            [
                Switched("version-1"),
                Switched("version-1"),
                Switched("version-1.2"),
            ],
        ),
        (
            "no-version",
            [
                Switched("no-version"),
                Switched("no-version"),
                Switched("no-version.2"),
            ],
        ),
        (
            "empty",
            [Switched("empty"), Switched("empty"), Switched("empty.2")],
        ),
        ("bare-3", on_2("bare-3")),
        ("single-quotes", all("single-quotes")),
        ("double-quotes-3", on_2("double-quotes-3")),
        ("dotted", all("dotted")),
        ("inline", all("inline")),
        ("comments", all("comments")),
        ("carriage-returns", all("carriage-returns")),
        ("no-newline", all("no-newline")),
        ("imports", all("imports")),
        ("imports-other", all("imports-other")),
        (
            "imports-table",
            [
                Switched("imports-table.1"),
                Switched("imports-table.1"),
                Switched("imports-table"),
            ],
        ),
        ("broken", refused("config.toml: line 4: duplicate key")),
        ("version-9", refused("version")),
    ]
}

/// Each file below a folder, with its content and what else is to stay as it is.
fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>, u32, u32)> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            found.extend(snapshot(&path));
        } else {
            let content = fs::read(&path).unwrap_or_default();
            found.push((path, content, metadata.mode(), metadata.uid()));
        }
    }
    found
}

/// The diff that is expected, or, with BLESS set, is from now on.
fn expect_diff(name: &str, diff: &str) {
    let file = project().join(format!("tests/configurations/diffs/{name}.diff"));
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, diff).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(diff, expected, "{}", file.display());
}

/// Tells of each configuration, and fails in the end if one was not as the table says.
fn tell(release: &str) {
    let column = RELEASES.iter().position(|it| *it == release).unwrap();
    let amiss: Vec<&str> = table()
        .into_iter()
        .filter(|(name, results)| {
            let told = || tell_of(release, name, &results[column]);
            panic::catch_unwind(AssertUnwindSafe(told)).is_err()
        })
        .map(|(name, _)| name)
        .collect();
    assert!(amiss.is_empty(), "{amiss:?}");
}

fn tell_of(release: &str, name: &str, result: &Result) {
    let node = Node::new(commands(release));
    let etc = node.etc("");
    copy_configuration(name, &etc);
    fs::set_permissions(etc.join("config.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    let before = snapshot(&etc);
    match result {
        Refused(why) => {
            // Some of these no containerd starts with; what is wrong is found without one.
            let said = node.use_pause_refuses(&[]);
            assert!(said.contains(why), "{name}: {said}");
            assert!(said.ends_with("; nothing was changed\n"), "{name}: {said}");
            assert!(snapshot(&etc) == before, "{name}");
            println!("{release} {name}: {said}");
        }
        Switched(expected) => {
            node.systemctl("start");
            let status = node.use_pause_said(&["status"]);
            let stock = status
                .lines()
                .find_map(|line| line.strip_prefix("sandbox image "));
            let stock = stock.unwrap().trim().to_owned();
            node.import_other(&stock);
            let old = node.cri.start_sandbox("old");

            let diff = node.use_pause_said(&["--dry-run"]);
            expect_diff(expected, &diff);
            assert!(
                snapshot(&etc) == before,
                "{name}: --dry-run changes nothing"
            );
            let said = node.use_pause_said(&[]);
            assert!(
                said.contains(&format!("{IMAGE}: imported, pinned\n")),
                "{said}"
            );
            assert!(
                said.ends_with("left to do: systemctl restart containerd\n"),
                "{said}"
            );
            let after = snapshot(&etc);
            let changed: Vec<_> = before
                .iter()
                .zip(
                    after
                        .iter()
                        .filter(|it| !it.0.to_str().unwrap().ends_with("use-pause")),
                )
                .filter(|(before, after)| before != after)
                .collect();
            let [(from, to)] = changed[..] else {
                panic!("{name}: {} files changed", changed.len());
            };
            assert_eq!((&from.0, from.2, from.3), (&to.0, to.2, to.3));
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let (from, to) = (text(&from.1), text(&to.1));
            let real = TextDiff::from_lines(&*from, &*to);
            assert!(diff.ends_with(&real.unified_diff().to_string()), "{diff}");

            let said = node.use_pause_said(&["--restart"]);
            assert!(
                said.contains("already: nothing to change"),
                "{name}: {said}"
            );
            assert!(said.contains("it serves the CRI"), "{name}: {said}");
            assert!(
                snapshot(&etc) == after,
                "{name}: a second run changes nothing"
            );
            let said = node.use_pause_said(&["--restart"]);
            assert!(
                !said.contains("restart"),
                "{name}: a third has nothing to do: {said}"
            );

            let new = node.cri.start_sandbox("new");
            assert!(node.runs_ours(new) && !node.runs_ours(old), "{name}");
            let status = node.use_pause_said(&["status"]);
            let ours = sha256(&fs::read(Program::native("pause").path).unwrap());
            for wanted in [
                format!("sandbox image  {IMAGE}\n"),
                format!("1 with pause for amd64, sha256 {ours}, of {IMAGE}\n"),
                format!(", of {stock}\n"),
            ] {
                assert!(status.contains(&wanted), "{name}: {wanted}: {status}");
            }

            let said = node.use_pause_said(&["undo", "--restart"]);
            assert!(said.contains("it serves the CRI"), "{name}: {said}");
            assert!(
                snapshot(&etc) == before,
                "{name}: undo gives the same bytes"
            );
            let said = node.use_pause_said(&["undo"]);
            assert!(
                said.contains("already: nothing to change"),
                "{name}: {said}"
            );
            assert!(!node.runs_ours(node.cri.start_sandbox("last")), "{name}");
            println!("{release} {name}: switched, and back");
        }
    }
}

#[test]
fn each_configuration_by_containerd_1_6() {
    tell("1.6");
}

#[test]
#[ignore = "fetches containerds of other releases: make test-containerd-2"]
fn each_configuration_by_containerd_1_7() {
    tell("1.7");
}

#[test]
#[ignore = "fetches containerds of other releases: make test-containerd-2"]
fn each_configuration_by_containerd_2_1() {
    tell("2.1");
}
