//! use-pause on a node: each configuration that nodes have, by each containerd at hand.

use k8s_openapi::api::apps::v1::DaemonSet;
use similar::TextDiff;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::Command,
};
use tests::{
    built,
    engine::{IMAGE, archive, sha256},
    node::{Node, copy_configuration, use_pause},
    output,
    program::Program,
    project,
    sandbox::{self, End},
    wait_until, write_script,
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

const OFF: &str = "disabled_plugins has \"cri\"";
const OFF_2: &str = "disabled_plugins has \"io.containerd.grpc.v1.cri\"";
const NOT_3: &str = "unsupported config version `3`";
const OF_3: &str = "does not read the sandbox image of a file of version 3";

/// Each file of tests/configurations, with what comes of it on each of [`RELEASES`].
fn table() -> Vec<(&'static str, [Result; 3])> {
    let but_on_2 = |on_1, on_2| [Switched(on_1), Switched(on_1), Switched(on_2)];
    let all = |name| [Switched(name), Switched(name), Switched(name)];
    let refused = |why| [Refused(why), Refused(why), Refused(why)];
    let on_2 = |name| [Refused(OF_3), Refused(NOT_3), Switched(name)];
    vec![
        ("debian", all("debian")),
        ("default-1.6", all("default-1.6")),
        ("default-1.7", all("default-1.7")),
        ("default-2.1", on_2("default-2.1")),
        (
            "version-4",
            [
                Refused("a file of version 4"),
                Refused("unsupported config version `4`"),
                Refused("equal to or less than `3`, got `4`"),
            ],
        ),
        ("kind", all("kind")),
        ("k3s", on_2("k3s")),
        ("docker", [Refused(OFF), Refused(OFF), Refused(OFF_2)]),
        ("version-1", but_on_2("version-1", "version-1.2")),
        ("no-version", but_on_2("no-version", "no-version.2")),
        ("empty", but_on_2("empty", "empty.2")),
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
            but_on_2("imports-table.1", "imports-table"),
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
    tell_of_none(release);
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
            // containerd 1.6 knows no pins.
            assert_eq!(node.cri.is_pinned(IMAGE), release != "1.6", "{name}");
            let status = node.use_pause_said(&["status"]);
            let ours = sha256(&fs::read(Program::native().path).unwrap());
            for wanted in [
                format!("sandbox image  {IMAGE}\n"),
                format!("1 with pause for amd64, sha256 {ours}, of {IMAGE}\n"),
                format!("{stock}\n"),
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

/// A node without a configuration gets one of the version that its containerd writes, and undo takes
/// it away again.
fn tell_of_none(release: &str) {
    let node = Node::new(commands(release));
    node.systemctl("start");
    node.use_pause_said(&["--restart"]);
    let config = fs::read_to_string(node.etc("config.toml")).unwrap();
    let version = if release == "2.1" { 3 } else { 2 };
    assert!(
        config.starts_with(&format!("version = {version}\n")),
        "{config}"
    );
    assert!(node.runs_ours(node.cri.start_sandbox("pod")));
    node.use_pause_said(&["undo", "--restart"]);
    assert_eq!(snapshot(&node.etc("")), []);
    println!("{release} no file: switched, and back");
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

/// A node with the containerd of this machine, which runs, and with Debian's configuration.
fn debian() -> Node {
    let node = Node::new(commands("1.6"));
    copy_configuration("debian", &node.etc(""));
    node.systemctl("start");
    node
}

/// What use-pause refuses, with this in its one line, and nothing changes.
fn refuses(node: &Node, arguments: &[&str], why: &str) {
    let before = snapshot(&node.etc(""));
    let said = node.use_pause_refuses(arguments);
    assert!(said.contains(why), "{said}");
    assert!(snapshot(&node.etc("")) == before, "{said}");
    println!("{arguments:?}: {said}");
}

#[test]
fn what_stands_in_its_way_is_one_line() {
    let node = debian();
    let etc = "/etc/containerd";
    node.mount(&["--options=remount,bind,ro", etc]);
    refuses(&node, &[], "Read-only file system");
    node.mount(&["--options=remount,bind,rw", etc]);

    refuses(&node, &["--archive", "/nowhere"], "cannot read /nowhere");
    refuses(&node, &["--archive", "/bin/sh"], "/bin/sh: ");
    refuses(&node, &["--image", "pause"], "names no image");
    refuses(
        &node,
        &["--image", "localhost/other:1"],
        "has no image localhost/other:1",
    );
    refuses(&node, &["--config", "/proc/version"], "/proc/version");
    refuses(&node, &["--runtime=crio"], "no command crio");
    refuses(&node, &["--host", "/nowhere"], "/nowhere is no folder");
    // Not root.
    let mut as_nobody = node.command("setpriv");
    as_nobody.args(["--reuid=65534", "--clear-groups", "/bin/sh", "-c"]);
    as_nobody.arg("exec /proc/self/fd/0");
    as_nobody.stdin(fs::File::open(use_pause()).unwrap());
    let end = sandbox::run(&mut as_nobody);
    assert_eq!(
        end,
        End::exit(1, "", "use-pause: this changes a node: run it as root\n")
    );

    fs::remove_dir(node.root("/run/systemd/system")).unwrap();
    refuses(&node, &["--restart"], "there is neither systemd nor OpenRC");
    fs::create_dir(node.root("/run/systemd/system")).unwrap();

    node.systemctl("stop");
    refuses(
        &node,
        &[],
        "containerd does not answer on /run/containerd/containerd.sock",
    );
    refuses(&node, &[], "systemctl start containerd");

    // A symbolic link that leads nowhere.
    let config = node.etc("config.toml");
    let aside = node.etc("aside");
    fs::rename(&config, &aside).unwrap();
    symlink("/etc/containerd/gone", &config).unwrap();
    refuses(&node, &[], "config.toml");
}

#[test]
fn a_full_disk_is_one_line() {
    let node = debian();
    // Two pages, one for the configuration, and the other for what fills it.
    node.mount(&[
        "--types=tmpfs",
        "--options=size=8k",
        "tmpfs",
        "/etc/containerd",
    ]);
    let full = node.root("/etc/containerd");
    let debian = project().join("tests/configurations/debian.toml");
    fs::copy(debian, full.join("config.toml")).unwrap();
    fs::write(full.join("filler"), [b'x'; 4096]).unwrap();
    let before = snapshot(&full);
    let said = node.use_pause_refuses(&["--restart"]);
    assert!(said.contains("No space left on device"), "{said}");
    assert!(snapshot(&full) == before);
    println!("{said}");
}

/// A second run waits for the first.
#[test]
fn two_at_once_are_one_after_the_other() {
    let node = debian();
    let mut first = node.command("flock");
    let mut first = first.args(["/run", "sleep", "1"]).spawn().unwrap();
    wait_until("locked", || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let inode = format!(":{} ", fs::metadata(node.root("/run")).unwrap().ino());
        locks
            .lines()
            .any(|line| line.contains("FLOCK") && line.contains(&inode))
    });
    let End {
        status,
        stdout,
        stderr,
    } = node.use_pause(&[]);
    assert_eq!(status, Ok(0));
    assert_eq!(
        stderr,
        "use-pause: another use-pause runs: waiting for its end\n"
    );
    assert!(stdout.contains("left to do"), "{stdout}");
    first.wait().unwrap();
}

/// Where containerd does not come back, the configuration is the old one, and it comes back.
#[test]
fn a_restart_that_fails_is_taken_back() {
    let node = debian();
    let before = snapshot(&node.etc(""));
    let systemctl = node.bin("systemctl");
    let script = fs::read_to_string(&systemctl).unwrap();
    let refuse = "grep -q localhost/pause /etc/containerd/config.toml && { echo 'Job for containerd.service failed' >&2; exit 1; }\nsetsid";
    fs::write(&systemctl, script.replacen("setsid", refuse, 1)).unwrap();
    refuses(
        &node,
        &["--restart"],
        "Job for containerd.service failed; the configuration is as it was, and it serves again",
    );
    assert!(snapshot(&node.etc("")) == before);
    node.ctr(&["version"]);

    // The same of undo: the switch stays then.
    fs::write(&systemctl, &script).unwrap();
    node.use_pause_said(&["--restart"]);
    let refuse = refuse.replace("grep -q", "! grep -q");
    fs::write(&systemctl, script.replacen("setsid", &refuse, 1)).unwrap();
    refuses(&node, &["undo", "--restart"], "it serves again");
    fs::write(&systemctl, &script).unwrap();
    node.use_pause_said(&["undo", "--restart"]);
    assert!(snapshot(&node.etc("")) == before);
}

/// The file that a link means is changed, and not the link; its mode, owner and attributes stay.
#[test]
fn the_file_keeps_what_it_has() {
    let node = debian();
    let real = node.etc("real.toml");
    fs::rename(node.etc("config.toml"), &real).unwrap();
    symlink("real.toml", node.etc("config.toml")).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o604)).unwrap();
    chown(&real, Some(1), Some(2)).unwrap();
    let label = b"system_u:object_r:container_config_t:s0\0";
    xattr::set(&real, "security.selinux", label).unwrap();
    let before = snapshot(&node.etc(""));
    node.use_pause_said(&[]);
    let now = fs::metadata(&real).unwrap();
    assert_eq!((now.mode() & 0o7777, now.uid(), now.gid()), (0o604, 1, 2));
    assert_eq!(
        xattr::get(&real, "security.selinux").unwrap().unwrap(),
        label
    );
    assert!(fs::read_to_string(&real).unwrap().contains(IMAGE));
    assert_eq!(
        fs::read_link(node.etc("config.toml")).unwrap(),
        Path::new("real.toml")
    );
    node.use_pause_said(&["undo"]);
    assert!(snapshot(&node.etc("")) == before);
    assert_eq!(
        xattr::get(&real, "security.selinux").unwrap().unwrap(),
        label
    );
}

/// Where somebody has changed the file since, undo takes back the image and nothing else.
#[test]
fn undo_keeps_what_others_changed() {
    let node = debian();
    let config = node.etc("config.toml");
    let old = fs::read_to_string(&config).unwrap();
    node.use_pause_said(&[]);
    let change = |text: &str| text.replace("/usr/lib/cni", "/opt/cni/bin");
    fs::write(&config, change(&fs::read_to_string(&config).unwrap())).unwrap();
    node.use_pause_said(&["undo"]);
    assert_eq!(fs::read_to_string(&config).unwrap(), change(&old));
}

/// The system calls by which something is changed, or comes into being.
const CALLS: &str = "open,openat,write,fchmod,fchown,fsync,link,linkat,rename,unlink,memfd_create,clone,fork,vfork,socket,flock,setxattr";

/// Killed before each call that changes anything, or with that call failed, use-pause leaves a
/// configuration that is the old one or the new one, which containerd reads, and the next run ends well.
#[test]
fn killed_or_failed_at_each_step_the_node_starts() {
    let node = debian();
    let old = fs::read(node.etc("config.toml")).unwrap();
    let reset = || {
        for file in fs::read_dir(node.etc("")).unwrap() {
            let file = file.unwrap().path();
            if file.is_file() {
                fs::remove_file(file).unwrap();
            }
        }
        fs::write(node.etc("config.toml"), &old).unwrap();
        _ = node
            .command("ctr")
            .args(["--namespace=k8s.io", "images", "rm", IMAGE])
            .output();
    };
    let traced = |options: &[&str]| {
        let mut strace = node.command("strace");
        strace.args(["--quiet=all", "--output", &node.file("trace")]);
        sandbox::run(strace.args(options).arg(use_pause()))
    };
    assert_eq!(traced(&[&format!("--trace={CALLS}")]).status, Ok(0));
    let new = fs::read(node.etc("config.toml")).unwrap();
    let trace = fs::read_to_string(node.file("trace")).unwrap();
    // Each call with how many of its name there were before.
    let mut counts = std::collections::BTreeMap::new();
    let steps: Vec<(String, usize)> = trace
        .lines()
        .filter_map(|line| line.split_once('('))
        .filter(|(call, _)| {
            call.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
        .map(|(call, _)| {
            let count = counts.entry(call.to_owned()).or_insert(0);
            *count += 1;
            (call.to_owned(), *count)
        })
        .collect();
    for call in ["link", "rename"] {
        assert!(steps.iter().any(|(it, _)| it.starts_with(call)), "{trace}");
    }

    let mut outcomes = std::collections::BTreeMap::new();
    for (call, count) in &steps {
        for fault in ["signal=KILL", "error=ENOSPC"] {
            reset();
            let inject = format!("--inject={call}:{fault}:when={count}");
            let End { status, stderr, .. } = traced(&[&inject]);
            let now = fs::read(node.etc("config.toml")).unwrap();
            let what = format!("{inject}: {status:?} {stderr}");
            assert!(now == old || now == new, "{what}");
            let dump = ["--config", "/etc/containerd/config.toml", "config", "dump"];
            output(node.command("containerd").args(dump));
            if now == new {
                let listed = node.ctr(&["images", "list", &format!("name=={IMAGE}")]);
                assert!(listed.contains("io.cri-containerd.pinned=pinned"), "{what}");
            }
            if fault != "signal=KILL" {
                assert!(status == Ok(0) || stderr.lines().count() == 1, "{what}");
                assert_eq!(status == Ok(0), now == new, "{what}");
                assert!(!node.etc("config.toml.use-pause-new").exists(), "{what}");
            }
            let outcome = if now == new { "new" } else { "old" };
            *outcomes.entry((fault, outcome)).or_insert(0) += 1;
            node.use_pause_said(&[]);
            assert!(fs::read(node.etc("config.toml")).unwrap() == new, "{what}");
        }
    }
    node.systemctl("restart");
    println!("{} steps: {outcomes:?}", steps.len());
}

/// The DaemonSets of examples/rollout.yaml, which has nothing in it that Kubernetes does not know.
fn rollout() -> Vec<DaemonSet> {
    let text = fs::read_to_string(project().join("examples/rollout.yaml")).unwrap();
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
    let parsed = documents.into_iter().map(|document| {
        let parsed: DaemonSet = serde_json::from_value(document.clone()).unwrap();
        // A field of another name would be missing here.
        assert_eq!(serde_json::to_value(&parsed).unwrap(), document);
        parsed
    });
    parsed.collect()
}

/// What the DaemonSets' init containers run, in a container's view of the node: its root is below
/// another folder, and in /etc and /run there is nothing.
#[test]
fn the_rollout_switches_a_node_and_goes_back() {
    let node = debian();
    let before = snapshot(&node.etc(""));
    let in_a_container = |set: &DaemonSet, image: &str| {
        let spec = set.spec.template.spec.as_ref().unwrap();
        let init = &spec.init_containers.as_ref().unwrap()[0];
        let host = node.file("host");
        let mut words = vec![use_pause()];
        words.extend(init.args.clone().unwrap());
        let at = words.iter().position(|word| word == "/host").unwrap();
        words[at] = host.clone();
        assert_eq!(spec.containers[0].image.as_deref(), Some(IMAGE));
        assert_eq!(init.image.as_deref(), Some(image));
        let enter = format!(
            "mkdir -p {host} && mount --rbind / {host} && mount -t tmpfs tmpfs /run && \
             mount -t tmpfs tmpfs /etc/containerd && exec \"$@\""
        );
        let mut unshare = node.command("unshare");
        unshare.args([
            "--mount",
            "--propagation=private",
            "sh",
            "-ec",
            &enter,
            "sh",
        ]);
        sandbox::run(unshare.args(words))
    };
    let [there, back] = &rollout()[..] else {
        panic!("two DaemonSets");
    };
    let image = IMAGE.replace("/pause", "/use-pause");
    let End {
        status,
        stdout,
        stderr,
    } = in_a_container(there, &image);
    assert_eq!((status, &*stderr), (Ok(0), ""), "{stdout}");
    assert!(
        stdout.contains("restarted, and it serves the CRI"),
        "{stdout}"
    );
    println!("{stdout}");
    assert!(node.runs_ours(node.cri.start_sandbox("pod")));
    let again = in_a_container(there, &image);
    assert!(again.stdout.contains("nothing to change"), "{again:?}");
    let End {
        status,
        stdout,
        stderr,
    } = in_a_container(back, &image);
    assert_eq!((status, &*stderr), (Ok(0), ""), "{stdout}");
    assert!(snapshot(&node.etc("")) == before);

    // What it refuses is a failed init container with that line.
    fs::write(node.etc("config.toml"), "version = 2\nversion = 2\n").unwrap();
    let end = in_a_container(there, &image);
    assert_eq!(end.status, Ok(1));
    assert_eq!(
        end.stderr,
        "use-pause: /etc/containerd/config.toml: line 2: duplicate key; nothing was changed\n"
    );
}

/// A root with containerd in it and nothing else that runs.
fn root_of_an_image(node: &Node) -> PathBuf {
    let root = PathBuf::from(node.file("image"));
    for folder in [
        "proc",
        "sys",
        "dev",
        "run",
        "tmp",
        "etc/containerd",
        "var/lib",
    ] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let mut files = vec!["/usr/bin/containerd".to_owned(), "/usr/bin/ctr".to_owned()];
    for line in output(Command::new("ldd").arg("/usr/bin/containerd")).lines() {
        files.extend(
            line.split_whitespace()
                .find(|it| it.starts_with('/'))
                .map(str::to_owned),
        );
    }
    for file in files {
        let to = root.join(file.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    root
}

/// A node's image that is being built gets the image into its containerd's store, and the
/// configuration. Nothing stays mounted.
#[test]
fn a_node_that_is_off_is_switched_by_its_root() {
    let node = debian();
    let root = root_of_an_image(&node);
    let config = root.join("etc/containerd/config.toml");
    fs::copy(node.etc("config.toml"), &config).unwrap();
    let old = fs::read_to_string(&config).unwrap();
    let in_root =
        |more: &[&str]| node.use_pause_said(&[&["--root", root.to_str().unwrap()], more].concat());
    let said = in_root(&[]);
    assert!(
        said.contains(&format!("{IMAGE}: imported, pinned")),
        "{said}"
    );
    assert!(!said.contains("left to do"), "{said}");
    let now = fs::read_to_string(&config).unwrap();
    assert!(now.contains(IMAGE));
    let said = in_root(&[]);
    assert!(said.contains("imported and pinned already"), "{said}");
    assert_eq!(fs::read_to_string(&config).unwrap(), now);
    let mounts = output(node.command("cat").arg("/proc/mounts"));
    assert!(!mounts.contains(root.to_str().unwrap()), "{mounts}");
    in_root(&["undo"]);
    assert_eq!(fs::read_to_string(&config).unwrap(), old);
    // The node that this runs on is none of its business.
    assert_eq!(fs::read_to_string(node.etc("config.toml")).unwrap(), old);
}

/// An example without its comments.
fn example(name: &str) -> String {
    let text = fs::read_to_string(project().join("examples").join(name)).unwrap();
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with('#')).collect()
}

/// k3s and RKE2 take a line of YAML and the archive. What they make of them was not run.
#[test]
fn k3s_and_rke2_get_their_files() {
    let node = Node::new(commands("1.6"));
    for name in ["k3s", "rke2"] {
        let root = PathBuf::from(node.file(name));
        for folder in ["proc", "sys", "dev", "run"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let folder = root.join(format!("etc/rancher/{name}"));
        fs::create_dir_all(&folder).unwrap();
        let options = ["--root", root.to_str().unwrap()];
        let said = node.use_pause_said(&options);
        let file = folder.join("config.yaml.d/99-use-pause.yaml");
        assert_eq!(fs::read_to_string(&file).unwrap(), example("k3s.yaml"));
        let put = root.join(format!("var/lib/rancher/{name}/agent/images/use-pause.tar"));
        assert!(fs::read(&put).unwrap() == fs::read(archive()).unwrap());
        assert!(said.contains("left to do"), "{said}");
        let said = node.use_pause_said(&options);
        assert!(said.contains("already: nothing to change"), "{said}");
        node.use_pause_said(&[&options[..], &["undo"]].concat());
        assert!(!file.exists());
        // Another file has the last word.
        fs::write(folder.join("config.yaml.d/zz.yaml"), "pause-image: other\n").unwrap();
        let said = node.use_pause_refuses(&options);
        assert!(said.contains("zz.yaml sets pause-image"), "{said}");
    }
}

/// CRI-O gets a file and, by podman, the image. CRI-O itself is a stand-in that tells what it reads.
#[test]
fn cri_o_gets_its_file_and_its_image() {
    let node = Node::new(commands("1.6"));
    for folder in ["upper", "work"] {
        fs::create_dir(node.file(folder)).unwrap();
    }
    let etc = format!(
        "--options=lowerdir=/etc,upperdir={},workdir={}",
        node.file("upper"),
        node.file("work")
    );
    node.mount(&["--types=overlay", &etc, "overlay", "/etc"]);
    write_script(node.bin("crio"), CRIO);

    let options = ["--runtime=crio"];
    let said = node.use_pause_said(&options);
    println!("{said}");
    assert!(
        said.ends_with("left to do: systemctl reload crio\n"),
        "{said}"
    );
    let file = node.root("/etc/crio/crio.conf.d/99-use-pause.conf");
    assert_eq!(fs::read_to_string(&file).unwrap(), example("crio.conf"));
    output(node.command("podman").args(["image", "exists", IMAGE]));
    fs::write(node.root("/run/reloaded"), "").unwrap();
    let said = node.use_pause_said(&options);
    assert!(said.contains("in the store already"), "{said}");
    assert!(said.ends_with("already: nothing to change\n"), "{said}");
    node.use_pause_said(&[&options[..], &["undo"]].concat());
    assert!(!file.exists());
    let later = node.root("/etc/crio/crio.conf.d/99-x.conf");
    fs::write(later, "[crio.image]\npause_image = 'other'\n").unwrap();
    let said = node.use_pause_refuses(&options);
    assert!(said.contains("99-x.conf sets pause_image"), "{said}");
}

/// Says its version, and, once it was reloaded, what it is configured with.
const CRIO: &str = "#!/bin/sh
case $1 in
  --version) echo crio version 1.36.3 ;;
  status) ! [ -e /run/reloaded ] || cat /etc/crio/crio.conf.d/99-use-pause.conf ;;
esac
";
