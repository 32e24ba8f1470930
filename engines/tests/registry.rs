//! A registry accepts the image with all platforms, and engines pull each platform back: the same bytes, and
//! few.

use engines::{
    engine::{Cli, Containerd, Nest, Podman, Registry, archive},
    output,
    program::{PLATFORMS, Platform},
    story::Engine,
};

/// The limit of a platform's manifest, config and layer together, in bytes.
const GOAL: u64 = 1280;

/// The archive's index, and the digest of each platform's manifest.
fn digests(nest: &Nest) -> (String, Vec<(&'static Platform, String)>) {
    let packed = format!("oci-archive:{}", archive().display());
    let raw = output(nest.command("skopeo").args(["inspect", "--raw", &packed]));
    let index: serde_json::Value = serde_json::from_str(&raw).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), PLATFORMS.len());
    let digests = manifests
        .iter()
        .map(|it| it["digest"].as_str().unwrap().to_owned());
    (raw.clone(), PLATFORMS.iter().zip(digests).collect())
}

/// The bytes of the image that the registry sent after its first `before` responses, without the index.
fn count(registry: &Registry, before: usize, index: &str) -> u64 {
    let sent = registry.sent();
    let pulled = sent[before..].iter();
    // A request for a tag gets the index.
    let pulled = pulled.filter(|(path, bytes)| {
        let is_of_image = path.contains("/manifests/") || path.contains("/blobs/");
        is_of_image && *bytes != index.len() as u64
    });
    pulled.map(|(_, bytes)| bytes).sum()
}

#[test]
fn podman_pulls_each_platform_in_few_bytes() {
    let podman = Podman::with_images();
    let nest = podman.nest();
    let registry = Registry::start(nest);
    registry.push();
    let (index, platforms) = digests(nest);
    let remote = format!("docker://{}", Registry::IMAGE);
    let inspect = ["inspect", "--tls-verify=false", "--raw", &remote];
    assert_eq!(output(nest.command("skopeo").args(inspect)), index);

    // podman does not pull what it has.
    podman.run(&["image", "rm", "--all", "--force"]);
    for (platform, digest) in platforms {
        let before = registry.sent().len();
        let pull = ["pull", "--tls-verify=false"];
        podman.run(&[&pull[..], &platform.options(), &[Registry::IMAGE]].concat());
        let format = "--format={{.Architecture}} {{.RepoDigests}}";
        let pulled = podman.run(&["image", "inspect", format, Registry::IMAGE]);
        let is_meant = pulled.starts_with(platform.arch) && pulled.contains(&digest);
        assert!(is_meant, "{}: {pulled}", platform.name);
        let bytes = count(&registry, before, &index);
        println!("podman pulled {bytes} bytes for {}", platform.name);
        assert!(bytes > 1000 && bytes <= GOAL, "{bytes}");
        podman.run(&["image", "rm", "--force", Registry::IMAGE]);

        // The digest alone selects the platform.
        let (name, _) = Registry::IMAGE.rsplit_once(':').unwrap();
        let name = format!("{name}@{digest}");
        podman.run(&["pull", "--tls-verify=false", &name]);
        let arch = podman.run(&["image", "inspect", "--format={{.Architecture}}", &name]);
        assert_eq!(arch, platform.arch);
        podman.run(&["image", "rm", "--force", &name]);
    }
}

#[test]
fn containerd_pulls_each_platform_in_few_bytes() {
    let containerd = Containerd::start();
    let nest = containerd.nest();
    let registry = Registry::start(nest);
    registry.push();
    let (index, platforms) = digests(nest);
    for (Platform { name, .. }, digest) in platforms {
        let before = registry.sent().len();
        // containerd shares no content between namespaces, so each platform is pulled whole.
        let namespace = format!("--namespace={}", name.replace('/', "-"));
        let platform = format!("--platform=linux/{name}");
        let pull = [&namespace, "images", "pull", "--plain-http"];
        containerd.ctr(&[&pull[..], &[&platform, Registry::IMAGE]].concat());
        let stored = containerd.ctr(&[&namespace, "content", "list", "--quiet"]);
        assert!(stored.contains(&digest), "{stored}");
        let bytes = count(&registry, before, &index);
        println!("containerd pulled {bytes} bytes for {name}");
        assert!(bytes <= GOAL, "{bytes}");
    }
}
