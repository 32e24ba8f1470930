//! A registry accepts the image with all platforms and its SBOM, and engines pull each platform back.

use engines::{
    built,
    engine::{Cli, Containerd, Nest, Podman, Registry, archive, sha256},
    output, printed,
    program::{PLATFORMS, Platform},
    story::Engine,
};
use serde_json::Value;
use std::fs;

/// Each platform, and the digest of its manifest in the archive.
fn platforms(nest: &Nest) -> Vec<(&'static Platform, String)> {
    let packed = format!("oci-archive:{}", archive().display());
    let raw = output(nest.command("skopeo").args(["inspect", "--raw", &packed]));
    let index: Value = serde_json::from_str(&raw).unwrap();
    let manifests = index["manifests"].as_array().unwrap().iter();
    let digests = manifests.map(|it| it["digest"].as_str().unwrap().to_owned());
    PLATFORMS.iter().zip(digests).collect()
}

#[test]
fn podman_pulls_each_platform() {
    let podman = Podman::with_images();
    let nest = podman.nest();
    Registry::start(nest).push();
    // podman does not pull what it has.
    podman.run(&["image", "rm", "--all", "--force"]);
    let pull = ["pull", "--tls-verify=false"];
    for (platform, digest) in platforms(nest) {
        // By the platform, and by the digest, which alone selects it.
        let (name, _) = Registry::IMAGE.rsplit_once(':').unwrap();
        let by_digest = format!("{name}@{digest}");
        for (options, image) in [(platform.options(), Registry::IMAGE), (vec![], &by_digest)] {
            podman.run(&[&pull[..], &options, &[image]].concat());
            let format = "--format={{.Architecture}} {{.RepoDigests}}";
            let pulled = podman.run(&["image", "inspect", format, image]);
            let is_meant = pulled.starts_with(platform.arch) && pulled.contains(&digest);
            assert!(is_meant, "{}: {pulled}", platform.name);
            podman.run(&["image", "rm", "--force", image]);
        }
    }
}

#[test]
fn containerd_pulls_each_platform_and_no_other() {
    let containerd = Containerd::start();
    let nest = containerd.nest();
    Registry::start(nest).push();
    for (platform, digest) in platforms(nest) {
        // containerd shares no content between namespaces, so each platform is pulled whole.
        let namespace = format!("--namespace={}", platform.name.replace('/', "-"));
        let pull = [&namespace, "images", "pull", "--plain-http", "--platform"];
        let name = format!("linux/{}", platform.name);
        containerd.ctr(&[&pull[..], &[&name, Registry::IMAGE]].concat());
        let stored = containerd.ctr(&[&namespace, "content", "list", "--quiet"]);
        assert!(stored.contains(&digest), "{stored}");
        // Beside the index a manifest, a config and a layer.
        assert_eq!(stored.lines().count(), 4, "{stored}");
    }
}

/// The manifest that the registry has for a tag or digest of the image's repository.
fn manifest(nest: &Nest, reference: &str) -> Value {
    let name = format!("docker://localhost:5000/team/pause{reference}");
    let mut inspect = nest.command("skopeo");
    let inspect = inspect.args(["inspect", "--raw", "--tls-verify=false", &name]);
    serde_json::from_str(&output(inspect)).unwrap()
}

/// The image's digest in the registry.
fn digest(nest: &Nest) -> String {
    let name = format!("docker://{}", Registry::IMAGE);
    let format = "--format={{.Digest}}";
    let mut inspect = nest.command("skopeo");
    printed(inspect.args(["inspect", "--tls-verify=false", format, &name]))
}

/// docker-registry has no referrers API, so the referrers are listed under a tag. (skopeo 1.9 omits their
/// types there; a registry with the API takes them from the manifests.)
#[test]
fn the_sbom_refers_to_the_image() {
    let nest = Nest::new();
    Registry::start(&nest).push();
    let image = digest(&nest);
    let listed = manifest(&nest, &format!(":{}", image.replace(':', "-")));
    let [referrer] = &**listed["manifests"].as_array().unwrap() else {
        panic!("{listed}");
    };
    let digest = referrer["digest"].as_str().unwrap();
    let artifact = manifest(&nest, &format!("@{digest}"));
    assert_eq!(artifact["artifactType"], "application/vnd.cyclonedx+json");
    assert_eq!(artifact["subject"]["digest"], image);
    let sbom = fs::read(built("pause.cdx.json")).unwrap();
    let digest = format!("sha256:{}", sha256(&sbom));
    assert_eq!(artifact["layers"][0]["digest"], digest);
}

/// As docs/verify.md says, but without a transparency log, which needs a network. Before it is signed, and
/// with another key, verification fails.
#[test]
#[ignore = "wants a cosign of another release: make test-cosign"]
fn cosign_signs_and_verifies() {
    let nest = Nest::new();
    Registry::start(&nest).push();
    let script = r#"cd "$1"; export HOME=$1 COSIGN_PASSWORD= registry=--allow-insecure-registry
        sign() { "$cosign" "$@" --yes --key own.key --tlog-upload=false $registry $image; }
        verify() { "$cosign" "$@" --insecure-ignore-tlog $registry $image; }
        for name in own other; do "$cosign" generate-key-pair --output-key-prefix $name; done
        attestation='verify-attestation --type cyclonedx'
        verify verify --key own.pub && exit 1
        sign sign
        verify verify --key own.pub | grep --quiet "${image#*@}"
        verify verify --key other.pub && exit 1
        verify $attestation --key own.pub && exit 1
        sign attest --type cyclonedx --predicate "$sbom"
        verify $attestation --key own.pub | grep --quiet in-toto
        verify $attestation --key other.pub && exit 1
        echo signed"#;
    let mut bash = nest.command("bash");
    bash.env(
        "image",
        format!("localhost:5000/team/pause@{}", digest(&nest)),
    );
    bash.env("cosign", built("cosign/cosign"));
    bash.env("sbom", built("pause.cdx.json"));
    bash.args(["-euo", "pipefail", "-c", script, "bash"]);
    assert!(output(bash.arg(nest.directory.path())).ends_with("signed\n"));
}
