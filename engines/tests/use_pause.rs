//! use-pause on a node: each configuration that nodes have, on each containerd at hand.

use engines::{
    End, built,
    engine::{IMAGE, sha256},
    node::{Node, snapshot, use_pause},
    output,
    program::Program,
    project, sandbox, wait_until,
};
use serde_json::{Value, json};
use similar::TextDiff;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

/// The releases of containerd, one per column of the table.
const RELEASES: [&str; 3] = ["1.6", "1.7", "2.1"];

/// The directory with a release's commands.
fn commands(release: &str) -> PathBuf {
    match release {
        "1.6" => "/usr/bin".into(),
        "1.7" => built("containerd-1.7"),
        _ => built("containerd-2"),
    }
}

/// Each file of engines/tests/configurations, and why use-pause refuses it on each of [`RELEASES`], or "" if it
/// switches the node.
fn table() -> Vec<(&'static str, [&'static str; 3])> {
    const OFF: &str = "disabled_plugins has \"cri\"";
    const OFF_2: &str = "disabled_plugins has \"io.containerd.grpc.v1.cri\"";
    const SILENT: &str = "the runtime does not answer";
    const NOT_3: &str = "unsupported config version `3`";
    const NOT_4: [&str; 2] = ["unsupported config version `4`", "got `4`"];
    const TWICE: &str = "config.toml: line 4: duplicate key";
    const IMPORTS_3: &str =
        "/etc/containerd/imports-3.d/runtime.toml, which it imports, is of version 3";
    let all = [""; 3];
    // containerd 1.6 reads them as version 2.
    let of_3 = ["", NOT_3, ""];
    vec![
        ("debian", all),
        ("default-1.6", all),
        ("default-1.7", all),
        ("default-2.1", of_3),
        ("version-4", ["", NOT_4[0], NOT_4[1]]),
        ("kind", all),
        ("k3s", of_3),
        ("docker", [OFF, OFF, OFF_2]),
        ("version-1", all),
        ("no-version", all),
        ("empty", all),
        ("bare-3", of_3),
        ("single-quotes", all),
        ("double-quotes-3", of_3),
        ("dotted", all),
        ("inline", all),
        ("comments", all),
        ("carriage-returns", all),
        ("no-newline", all),
        ("imports", all),
        ("imports-other", all),
        ("imports-table", all),
        ("imports-no-version", all),
        ("imports-no-version-table", all),
        ("imports-3", ["", NOT_3, IMPORTS_3]),
        // Without overlayfs 2.1 needs more than this, or its CRI is off.
        ("native", ["", "", SILENT]),
        ("native-3", [SILENT, NOT_3, ""]),
        ("broken", [TWICE; 3]),
        ("version-9", ["", "version", "version"]),
    ]
}

/// The configurations that `make test` tries: one of each kind.
const FEW: [&str; 8] = [
    "debian",
    "docker",
    "no-version",
    "inline",
    "imports-no-version",
    "imports-table",
    "native",
    "broken",
];

/// Fails if a diff changes more than the key: one line may go, and lines that name the image, headers of tables
/// and a version may come.
fn expect_one_key(diff: &str) {
    let lines = |sign: char| diff.lines().filter(move |it| it.starts_with(sign)).skip(1);
    assert!(lines('-').count() <= 1, "{diff}");
    let was_there = |it: &str| lines('-').any(|old| old[1..] == it[1..]);
    let is_key = |it: &str| {
        let text = it[1..].trim();
        text.is_empty()
            || text.starts_with('[')
            || text.starts_with("version =")
            || text.contains(IMAGE)
    };
    assert!(lines('+').all(|it| was_there(it) || is_key(it)), "{diff}");
    assert_eq!(diff.matches(IMAGE).count(), 1, "{diff}");
}

/// Tries configurations, and fails in the end if one was not as the table says.
fn try_some(release: &str, names: &[&str]) {
    try_none(release);
    let column = RELEASES.iter().position(|it| *it == release).unwrap();
    let mut amiss = Vec::new();
    for (name, results) in table() {
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        println!("{release} {name}");
        let try_it = || match results[column] {
            "" => switches_and_goes_back(release, name),
            why => refuses_configuration(release, name, why),
        };
        if panic::catch_unwind(AssertUnwindSafe(try_it)).is_err() {
            amiss.push(name);
        }
    }
    assert!(amiss.is_empty(), "{amiss:?}");
}

fn refuses_configuration(release: &str, name: &str, why: &str) {
    // containerd does not run: some of these it cannot read.
    let node = Node::configured(commands(release), name);
    let printed = node.use_pause_refuses(&[], why);
    assert!(printed.ends_with("; nothing was changed\n"), "{printed}");
}

fn switches_and_goes_back(release: &str, name: &str) {
    let node = Node::configured(commands(release), name);
    let etc = node.etc("");
    let before = snapshot(&etc);
    node.systemctl("start");
    let stock = &*node.import_stock();
    let old = node.containerd.start_sandbox("old");

    let shown = node.use_pause_succeeds(&["--dry-run"]);
    expect_one_key(&shown);
    assert!(snapshot(&etc) == before, "--dry-run changes nothing");
    let printed = node.use_pause_prints(&[], &format!("{IMAGE}: imported, pinned\n"));
    assert!(
        printed.contains("to apply, run: systemctl restart containerd\n"),
        "{printed}"
    );
    let after = snapshot(&etc);
    let mut now = after.clone();
    now.retain(|it| it.0.extension().unwrap() != "before-use-pause");
    let changed = before.iter().zip(&now).filter(|(old, new)| old != new);
    let [(from, to)] = changed.collect::<Vec<_>>()[..] else {
        panic!("not one file changed");
    };
    assert_eq!((&from.0, from.2, from.3), (&to.0, to.2, to.3));
    let [from, to] = [from, to].map(|it| str::from_utf8(&it.1).unwrap());
    let real = TextDiff::from_lines(from, to);
    let real = real.unified_diff().to_string();
    assert!(shown.ends_with(&real), "{shown}");

    let printed = node.use_pause_prints(&["--restart"], "nothing to change: ");
    let ours = sha256(&fs::read(Program::native().path).unwrap());
    let ours = format!("a new sandbox runs pause for amd64, sha256 {ours}, from {IMAGE}; ");
    assert!(printed.contains(&ours), "{printed}");
    // containerd 1.6.20 has no pins.
    assert_eq!(
        printed.contains("is not pinned"),
        release == "1.6",
        "{printed}"
    );
    assert!(snapshot(&etc) == after, "a second run changes nothing");

    let new = node.containerd.start_sandbox("new");
    assert!(node.runs_ours(new) && !node.runs_ours(old));
    let (end, status) = node.use_pause_json(&["status"]);
    let [is_ours, pinned] = ["ours", "pinned"].map(|it| status[it] == true);
    assert_eq!((end.status, is_ours), (Ok(0), true), "{status}");
    assert_eq!(pinned, release != "1.6");
    let sandboxes = status["sandboxes"].as_array().unwrap();
    let found = |image: &str, platform: Value| {
        let is_it = |it: &&Value| it["image"] == image && it["platform"] == platform;
        sandboxes.iter().filter(is_it).all(|it| it["count"] == 1)
    };
    let both = found(IMAGE, json!("amd64")) && found(stock, Value::Null);
    assert!(both && sandboxes.len() == 2, "{status}");

    node.use_pause_prints(&["undo", "--restart"], "a new sandbox runs another program");
    assert!(snapshot(&etc) == before, "undo restores the same bytes");
    node.use_pause_prints(&["undo"], "nothing to change: ");
    assert!(!node.runs_ours(node.containerd.start_sandbox("last")));
}

/// A node without a configuration gets one of the version that its containerd writes, and undo removes
/// the file.
fn try_none(release: &str) {
    let node = Node::new(commands(release));
    node.systemctl("start");
    node.import_stock();
    node.use_pause_succeeds(&["--restart"]);
    let config = fs::read_to_string(node.etc("config.toml")).unwrap();
    let version = if release == "2.1" { 3 } else { 2 };
    let line = format!("version = {version}\n");
    assert!(config.starts_with(&line), "{config}");
    assert!(node.runs_ours(node.containerd.start_sandbox("pod")));
    node.use_pause_succeeds(&["undo", "--restart"]);
    assert_eq!(snapshot(&node.etc("")), []);
}

#[test]
fn a_configuration_of_each_kind_by_containerd_1_6() {
    try_some("1.6", &FEW);
}

#[test]
#[ignore = "minutes: make test-containerd-2"]
fn each_configuration_by_containerd_1_6() {
    try_some("1.6", &[]);
}

#[test]
#[ignore = "fetches containerds of other releases: make test-containerd-2"]
fn each_configuration_by_containerd_1_7() {
    try_some("1.7", &[]);
}

#[test]
#[ignore = "fetches containerds of other releases: make test-containerd-2"]
fn each_configuration_by_containerd_2_1() {
    try_some("2.1", &[]);
}

/// A node with Debian's configuration, where the containerd of this machine runs.
fn debian() -> Node {
    let node = Node::configured(commands("1.6"), "debian");
    node.systemctl("start");
    assert_eq!(node.import_stock(), STOCK);
    node
}

/// containerd 1.6's own sandbox image.
const STOCK: &str = "registry.k8s.io/pause:3.6";

#[test]
fn what_stands_in_its_way_is_one_line() {
    let node = debian();
    let etc = "/etc/containerd";
    node.nest().mount(&["--options=remount,bind,ro", etc]);
    node.use_pause_refuses(&[], "Read-only file system");
    node.nest().mount(&["--options=remount,bind,rw", etc]);

    let config = "/etc/containerd/config.toml";
    node.nest().mount(&["--bind", config, config]);
    node.use_pause_refuses(&["--restart"], "is a mount of its own");
    output(node.command("umount").arg(config));
    // Two pages: one for the configuration, one for a filler.
    let size = "--options=size=8k";
    node.nest().mount(&["--types=tmpfs", size, "tmpfs", etc]);
    let full = node.nest().root(etc);
    fs::copy(node.etc("config.toml"), full.join("config.toml")).unwrap();
    fs::write(full.join("filler"), [b'x'; 4096]).unwrap();
    node.use_pause_refuses(&["--restart"], "No space left on device");
    output(node.command("umount").arg(etc));
    assert!(!node.ctr(&["images", "list"]).contains(IMAGE), "imported");

    for (option, value, why) in [
        ("--archive", "/nowhere", "cannot read /nowhere"),
        ("--archive", "/bin/sh", "/bin/sh: "),
        ("--image", "pause", "is not an image name"),
        ("--config", "/proc/version", "/proc/version"),
        ("--runtime", "crio", "cannot find crio"),
        ("--host", "/nowhere", "/nowhere is not a directory"),
    ] {
        node.use_pause_refuses(&[option, value], why);
    }
    let mut as_nobody = node.command("setpriv");
    as_nobody.args(["--reuid=65534", "--clear-groups", "/bin/sh", "-c"]);
    as_nobody.arg("exec /proc/self/fd/0");
    as_nobody.stdin(fs::File::open(use_pause()).unwrap());
    let end = sandbox::run(&mut as_nobody);
    let line = "use-pause: must be run as root\n";
    assert_eq!(end, End::exit(1, "", line));

    fs::remove_dir(node.nest().root("/run/systemd/system")).unwrap();
    node.use_pause_refuses(&["--restart"], "found neither systemd nor OpenRC");
    fs::create_dir(node.nest().root("/run/systemd/system")).unwrap();

    node.systemctl("stop");
    let printed = node.use_pause_refuses(&[], "systemctl start containerd");
    let silent = "cannot connect to /run/containerd/containerd.sock: ";
    assert!(printed.contains(silent), "{printed}");

    let config = node.etc("config.toml");
    fs::rename(&config, node.etc("aside")).unwrap();
    symlink("/etc/containerd/gone", &config).unwrap();
    node.use_pause_refuses(&[], "config.toml");
}

#[test]
fn a_second_run_waits_for_the_first() {
    let node = debian();
    // The lock is held until the second run has printed that it waits.
    let script = r#"set -o pipefail; cd /run; mkfifo go; flock . cat go &
        while flock --nonblock . true; do :; done
        "$0" 2>&1 | { read -r line; echo "$line"; : >go; cat; }"#;
    let mut bash = node.command("bash");
    let printed = output(bash.args(["-c", script, &use_pause()]));
    let waiting = "use-pause: waiting for another use-pause to end\n";
    assert!(
        printed.starts_with(waiting) && printed.contains("to apply, run: "),
        "{printed}"
    );
}

/// If containerd does not start again, or somebody interrupts the restart, use-pause restores the file, and
/// containerd starts with that.
#[test]
fn a_restart_that_fails_is_taken_back() {
    let node = debian();
    let before = snapshot(&node.etc(""));
    let systemctl = node.nest().path("bin/systemctl");
    let script = fs::read_to_string(&systemctl).unwrap();
    let restart_does = |condition: &str, what: &str| {
        let what = format!("{condition} /etc/containerd/config.toml && {{ {what}; }}\nsetsid");
        fs::write(&systemctl, script.replacen("setsid", &what, 1)).unwrap();
    };
    let fail = "echo 'Job failed' >&2; exit 1";
    let ours = "grep -q localhost/pause";
    for (what, why) in [
        (fail, "Job failed"),
        ("kill -HUP $PPID", "interrupted by SIGHUP"),
        ("kill -INT $PPID", "interrupted by SIGINT"),
        ("kill -TERM $PPID", "interrupted by SIGTERM"),
    ] {
        restart_does(ours, what);
        let restored = "; restored the old configuration: a new sandbox runs another program";
        let why = format!("{why}{restored}");
        node.use_pause_refuses(&["--restart"], &why);
        node.ctr(&["version"]);
    }
    // Another signal ends the way back, once the file is there.
    restart_does("cat >/dev/null", "kill -TERM $PPID");
    let why = "interrupted by SIGTERM; restored the old configuration, but: interrupted by SIGTERM";
    node.use_pause_refuses(&["--restart"], why);
    wait_until("served", || node.use_pause(&["probe"]).stderr.is_empty());

    // The same for undo: the switch stays. nohup's signal is of no consequence.
    restart_does(ours, "kill -HUP $PPID");
    let mut nohup = node.command("env");
    nohup.args(["--ignore-signal=HUP", &use_pause(), "--restart"]);
    assert_eq!(sandbox::run(&mut nohup).status, Ok(0));
    restart_does(&format!("! {ours}"), fail);
    let why = "Job failed; restored the old configuration: a new sandbox runs pause for amd64";
    node.use_pause_refuses(&["undo", "--restart"], why);
    fs::write(&systemctl, &script).unwrap();
    node.use_pause_succeeds(&["undo", "--restart"]);
    assert!(snapshot(&node.etc("")) == before);
}

/// use-pause changes the file behind a link, not the link; mode, owner and attributes stay.
#[test]
fn the_file_keeps_what_it_has() {
    let node = debian();
    let (config, real) = (node.etc("config.toml"), node.etc("real.toml"));
    fs::rename(&config, &real).unwrap();
    symlink("real.toml", &config).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o604)).unwrap();
    chown(&real, Some(1), Some(2)).unwrap();
    let label = b"system_u:object_r:container_config_t:s0\0";
    xattr::set(&real, "security.selinux", label).unwrap();
    let before = snapshot(&node.etc(""));
    let keeps = || {
        let now = fs::metadata(&real).unwrap();
        assert_eq!((now.mode() & 0o7777, now.uid(), now.gid()), (0o604, 1, 2));
        let now = xattr::get(&real, "security.selinux").unwrap();
        assert_eq!(now.as_deref(), Some(&label[..]));
    };
    node.use_pause_succeeds(&[]);
    keeps();
    assert!(fs::read_to_string(&real).unwrap().contains(IMAGE));
    assert_eq!(fs::read_link(&config).unwrap(), Path::new("real.toml"));
    node.use_pause_succeeds(&["undo"]);
    keeps();
    assert!(snapshot(&node.etc("")) == before);
}

/// If somebody changed the file since the switch, undo changes the image and nothing else. If somebody set another
/// image, undo changes nothing; after another switch it restores that image.
#[test]
fn undo_keeps_what_others_changed() {
    let node = debian();
    let config = node.etc("config.toml");
    let read = || fs::read_to_string(&config).unwrap();
    let change = |text: &str| text.replace("/usr/lib/cni", "/opt/cni/bin");
    let old = read();
    node.use_pause_succeeds(&[]);
    fs::write(&config, change(&read())).unwrap();
    node.use_pause_succeeds(&["undo"]);
    assert_eq!(read(), change(&old));

    node.use_pause_succeeds(&[]);
    let managed = read().replace(IMAGE, "registry.k8s.io/pause:3.10");
    fs::write(&config, &managed).unwrap();
    node.use_pause_prints(&["undo"], "nothing to change");
    assert_eq!(read(), managed);
    node.use_pause_succeeds(&[]);
    node.use_pause_succeeds(&["undo"]);
    assert_eq!(read(), managed);
    node.use_pause_prints(&["undo"], "nothing to change");
}

/// The name that kubeadm pulls needs no configuration, and undo does not claim that it is gone.
#[test]
fn the_image_goes_by_any_name() {
    let node = debian();
    let before = snapshot(&node.etc(""));
    let options = ["--image", STOCK, "--restart"];
    let printed = node.use_pause_prints(&options, &format!("{STOCK}: imported, pinned\n"));
    assert!(printed.contains("nothing to change"), "{printed}");
    let ours = format!("from {STOCK}; running pods keep theirs\n");
    assert!(
        printed.contains("a new sandbox runs pause for amd64") && printed.contains(&ours),
        "{printed}"
    );
    node.use_pause_prints(&["undo", "--restart"], "a new sandbox runs pause for amd64");
    assert!(snapshot(&node.etc("")) == before);
    let name = "registry.example:5000/team/pause:1";
    node.use_pause_prints(&["--image", name, "--restart"], &format!("from {name}"));
}

/// k0s and microk8s run a containerd of their own, outside of PATH.
#[test]
fn a_containerd_outside_of_path_is_found() {
    for (bin, config, socket, mark, template) in [
        (
            "/var/lib/k0s/bin",
            "/etc/k0s/containerd.toml",
            "/run/k0s/containerd.sock",
            "# k0s_managed=true\n",
            "",
        ),
        (
            "/var/lib/microk8s/bin",
            "/var/lib/microk8s/args/containerd.toml",
            "/var/snap/microk8s/common/run/containerd.sock",
            "",
            "/var/lib/microk8s/args/containerd-template.toml",
        ),
    ] {
        let node = Node::new(commands("1.6"));
        node.nest().overlay("/var");
        let make = format!(
            "mkdir -p {bin} $(dirname {config} {socket}) && cp /usr/bin/containerd /usr/bin/ctr {bin} && \
             mount --bind /dev/null /usr/bin/containerd && mount --bind /dev/null /usr/bin/ctr && \
             cp {}/engines/tests/configurations/debian.toml {config}; \
             setsid {bin}/containerd --config {config} --address {socket} --root /run/root >/dev/null 2>&1 & \
             until {bin}/ctr --address {socket} version; do sleep 0.1; done",
            project().display()
        );
        output(node.command("bash").args(["-ec", &make]));
        let root = |path: &str| node.nest().root(path);
        let text = fs::read_to_string(root(config)).unwrap();
        fs::write(root(config), format!("{mark}{text}")).unwrap();
        if !template.is_empty() {
            fs::write(root(template), "").unwrap();
        }
        let printed = node.use_pause_refuses(&[], "writes it anew at each start");
        assert!(printed.contains(template), "{printed}");
        fs::write(root(config), text).unwrap();
        _ = fs::remove_file(root(template));
        let outcome = format!("{config}: new pods get the sandbox image {IMAGE}");
        node.use_pause_prints(&[], &outcome);
    }
}

/// Something removes all images that no container uses, pins or not.
#[test]
fn the_image_comes_back_at_the_next_start() {
    bring_it_back("1.6", "debian");
}

#[test]
#[ignore = "fetches containerds of other releases: make test-containerd-2"]
fn the_image_comes_back_without_overlayfs() {
    bring_it_back("1.7", "native");
    bring_it_back("2.1", "native-3");
}

fn bring_it_back(release: &str, name: &str) {
    let node = Node::configured(commands(release), name);
    node.systemctl("start");
    node.import_stock();
    let before = snapshot(&node.nest().root("/etc/systemd"));
    let printed = node.use_pause_succeeds(&["--restart", "--import-at-start"]);
    assert!(
        printed.contains("imported again at each start of containerd\n"),
        "{printed}"
    );
    node.ctr(&["images", "rm", IMAGE]);
    let end = node.use_pause(&["probe"]);
    assert!(end.stderr.contains(IMAGE), "{end:?}");
    node.systemctl("restart");
    wait_until("imported", || node.use_pause(&["probe"]).status == Ok(0));
    node.use_pause_prints(&["undo", "--restart"], "no import at each start any more");
    assert!(snapshot(&node.nest().root("/etc/systemd")) == before);
    assert!(!node.nest().root("/var/lib/use-pause").exists());
}

/// At a step use-pause is killed or interrupted, or the call fails.
#[test]
fn broken_at_some_steps_the_node_starts() {
    break_at_steps(&[], 23);
}

#[test]
#[ignore = "minutes: make test-containerd-2"]
fn broken_at_more_steps_the_node_starts() {
    break_at_steps(&[], 7);
    break_at_steps(&["--restart"], 35);
}

fn break_at_steps(arguments: &[&str], every: usize) {
    let node = debian();
    let file = node.etc("config.toml");
    let old = fs::read(&file).unwrap();
    let reset = || {
        _ = fs::remove_file(node.etc("config.toml.before-use-pause"));
        fs::write(&file, &old).unwrap();
        let script = format!("ctr --namespace=k8s.io images rm {IMAGE} || :");
        output(node.command("sh").args(["-c", &script]));
    };
    let pods = || node.ctr(&["containers", "list", "--quiet"]).lines().count();
    node.break_at_steps(arguments, every, &file, reset, pods);
    let dump = ["--config", "/etc/containerd/config.toml", "config", "dump"];
    output(node.command("containerd").args(dump));
    let images = node.ctr(&["images", "list"]);
    let is_known = |it: &str| {
        [IMAGE, STOCK, "sha256:"]
            .iter()
            .any(|name| it.starts_with(name))
    };
    assert!(images.lines().skip(1).all(is_known), "{images}");
    assert!(
        images.contains("io.cri-containerd.pinned=pinned"),
        "{images}"
    );
}

/// Runs what the DaemonSets' init containers run, in a container's view of the node: the node's root is
/// below another directory, and /etc/containerd and /run are empty.
#[test]
fn the_rollout_switches_a_node_and_goes_back() {
    let node = debian();
    let before = snapshot(&node.etc(""));
    let in_a_container = |set: &Value| {
        let spec = &set["spec"]["template"]["spec"];
        let init = &spec["initContainers"][0];
        let image = IMAGE.replace("/pause", "/use-pause");
        assert_eq!(spec["containers"][0]["image"], image);
        assert_eq!(init["image"], image);
        let host = node.nest().path("host");
        let mut words: Vec<String> = serde_json::from_value(init["args"].clone()).unwrap();
        let at = words.iter().position(|word| word == "/host").unwrap();
        words[at] = host.clone();
        let enter = format!(
            "mkdir -p {host} && mount --rbind / {host} && mount -t tmpfs tmpfs /run && \
             mount -t tmpfs tmpfs /etc/containerd && exec {} \"$@\"",
            use_pause()
        );
        let mut unshare = node.command("unshare");
        unshare.args(["--mount", "--propagation=private"]);
        unshare.args(["sh", "-ec", &enter, "sh"]);
        sandbox::run(unshare.args(words))
    };
    let rollout = fs::read_to_string(project().join("examples/rollout.yaml")).unwrap();
    let rollout: Vec<Value> = serde_saphyr::from_multiple(&rollout).unwrap();
    let [there, back] = &rollout[..] else {
        panic!("two DaemonSets");
    };
    let end = in_a_container(there);
    assert_eq!((&end.status, &*end.stderr), (&Ok(0), ""), "{end:?}");
    assert!(
        end.stdout.contains("a new sandbox runs pause for "),
        "{end:?}"
    );
    println!("{}", end.stdout);
    assert!(node.runs_ours(node.containerd.start_sandbox("pod")));
    let again = in_a_container(there);
    assert!(again.stdout.contains("nothing to change"), "{again:?}");
    let end = in_a_container(back);
    assert_eq!((&end.status, &*end.stderr), (&Ok(0), ""), "{end:?}");
    assert!(snapshot(&node.etc("")) == before);

    // The second container sleeps, as the image's user, until it is stopped.
    let mut sleep = node.command("timeout");
    sleep.args([
        "--preserve-status",
        "0.5",
        "setpriv",
        "--reuid=65535",
        "--clear-groups",
    ]);
    let words = &there["spec"]["template"]["spec"]["containers"][0]["args"];
    let words: Vec<String> = serde_json::from_value(words.clone()).unwrap();
    let start = std::time::Instant::now();
    sleep
        .args(["sh", "-c", "exec /proc/self/fd/0 \"$@\"", "sh"])
        .args(words);
    sleep.stdin(fs::File::open(use_pause()).unwrap());
    let end = sandbox::run(&mut sleep);
    assert_eq!(end, End::exit(0, "", ""));
    assert!(start.elapsed().as_millis() >= 500);

    // A refusal is a failed init container with that line.
    fs::write(node.etc("config.toml"), "version = 2\nversion = 2\n").unwrap();
    let end = in_a_container(there);
    let line =
        "use-pause: /etc/containerd/config.toml: line 2: duplicate key; nothing was changed\n";
    assert_eq!(end, End::exit(1, "", line));
}

/// A node image that is being built gets the image into its containerd's store, and the configuration.
/// Nothing stays mounted, and the node that this runs on stays as it is.
#[test]
fn a_node_that_is_off_is_switched_by_its_root() {
    switch_by_root("1.6", "debian");
}

/// Its CRI and its service for imports fail.
#[test]
#[ignore = "fetches containerds of other releases: make test-containerd-2"]
fn a_node_that_is_off_is_switched_without_overlayfs() {
    switch_by_root("2.1", "native");
}

fn switch_by_root(release: &str, name: &str) {
    let commands = commands(release);
    let node = Node::configured(&commands, name);
    let root = PathBuf::from(node.nest().path("image"));
    // containerd, its libraries, and nothing else that runs.
    let make = "mkdir $0 && cd $0 && mkdir -p proc sys dev run tmp etc/containerd usr/bin var/lib && \
        ldd $1/containerd | grep -o '/[^ ]*' | xargs cp --dereference --parents --target-directory=. && \
        cp $1/containerd $1/ctr usr/bin";
    let image = root.to_str().unwrap();
    let mut sh = node.command("sh");
    output(sh.args(["-ec", make, image]).arg(&commands));
    let config = root.join("etc/containerd/config.toml");
    fs::copy(node.etc("config.toml"), &config).unwrap();
    let read = || fs::read_to_string(&config).unwrap();
    let old = read();
    let imported = format!("{IMAGE}: imported, pinned");
    let printed = node.use_pause_prints(&["--root", image], &imported);
    assert!(!printed.contains("to apply"), "{printed}");
    let now = read();
    assert!(now.contains(IMAGE));
    node.use_pause_prints(&["--root", image], "nothing to change");
    assert_eq!(read(), now);
    let mounts = output(node.command("cat").arg("/proc/mounts"));
    assert!(!mounts.contains(image), "{mounts}");
    node.use_pause_succeeds(&["--root", image, "undo"]);
    assert_eq!(read(), old);
    assert_eq!(fs::read_to_string(node.etc("config.toml")).unwrap(), old);
}
