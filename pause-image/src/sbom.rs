//! The SBOM, in CycloneDX 1.5: the version that the library writes, and that scanners and registries read.

use crate::facts::{Facts, purl};
use anyhow::{Context, Result, ensure};
use cyclonedx_bom::{
    external_models::{date_time::DateTime, spdx::SpdxExpression, uri::Purl},
    models::{
        component::Classification,
        dependency::{Dependencies, Dependency},
        hash::{Hash, HashAlgorithm, HashValue, Hashes},
        license::{LicenseChoice, Licenses},
    },
    prelude::*,
};
use pause_image::read::{Image, Platform};

/// The licence of the standard library and of `core` (their Cargo.toml).
const RUST_LICENSE: &str = "MIT OR Apache-2.0";

pub fn of(image: &Image, facts: &Facts) -> Result<Vec<u8>> {
    let digest = image.index.digest();
    let container = component(
        Classification::Container,
        ("pause", env!("CARGO_PKG_VERSION")),
        Purl::new("oci", "pause", digest.as_ref())?,
        Some(env!("CARGO_PKG_LICENSE")),
        Some(digest.digest()),
    )?;
    let rustc = facts.rustc.semver.to_string();
    let core = component(
        Classification::Library,
        ("core", &rustc),
        Purl::new("generic", "rust-core", &rustc)?,
        Some(RUST_LICENSE),
        None,
    )?;

    let files: Vec<Component> = image.platforms.iter().map(file).collect();
    let program = purl(&facts.crates[0].package);
    let mut dependencies = vec![depends(&container, files.iter().map(reference).collect())];
    dependencies.extend(files.iter().map(|it| depends(it, vec![program.clone()])));
    let mut components = files;
    for it in &facts.crates {
        let kind = match it.checksum {
            Some(_) => Classification::Library,
            None => Classification::Application,
        };
        let (name, version) = (&it.package.name, &it.package.version.to_string());
        let component = component(
            kind,
            (name, version),
            Purl::new("cargo", name, version)?,
            it.package.license.as_deref(),
            it.checksum.as_deref(),
        )?;
        // Each crate is compiled with core, which may end up in the program.
        let needs = it.needs.iter().cloned().chain([reference(&core)]);
        dependencies.push(depends(&component, needs.collect()));
        components.push(component);
    }
    dependencies.push(depends(&core, vec![]));
    components.push(core);

    let timestamp = facts.time.clone().map(DateTime::try_from).transpose()?;
    let bom = Bom {
        spec_version: SpecVersion::V1_5,
        metadata: Some(Metadata {
            timestamp,
            component: Some(container),
            ..Metadata::default()
        }),
        components: Some(Components(components)),
        dependencies: Some(Dependencies(dependencies)),
        // The default is random.
        serial_number: None,
        ..Bom::default()
    };
    let problems = bom.validate_version(SpecVersion::V1_5);
    ensure!(problems.passed(), "the SBOM is not valid: {problems:?}");
    let mut json = Vec::new();
    bom.output_as_json(&mut json, SpecVersion::V1_5)?;
    json.push(b'\n');
    Ok(json)
}

fn file(platform: &Platform) -> Component {
    let mut file = Component::new(
        Classification::File,
        "/pause",
        env!("CARGO_PKG_VERSION"),
        Some(format!("linux/{}/pause", platform.name)),
    );
    let description = format!("for linux/{}", platform.name);
    file.description = Some(NormalizedString::new(&description));
    file.hashes = Some(sha256(&platform.program));
    file
}

fn component(
    kind: Classification,
    (name, version): (&str, &str),
    purl: Purl,
    license: Option<&str>,
    hash: Option<&str>,
) -> Result<Component> {
    let mut component = Component::new(kind, name, version, Some(purl.to_string()));
    component.purl = Some(purl);
    component.hashes = hash.map(sha256);
    if let Some(license) = license {
        let license = SpdxExpression::parse_lax(license.to_owned())
            .with_context(|| format!("the licence of {name}"))?;
        component.licenses = Some(Licenses(vec![LicenseChoice::Expression(license)]));
    }
    Ok(component)
}

fn sha256(hex: &str) -> Hashes {
    Hashes(vec![Hash {
        alg: HashAlgorithm::SHA_256,
        content: HashValue(hex.to_owned()),
    }])
}

fn reference(component: &Component) -> String {
    component.bom_ref.clone().unwrap_or_default()
}

fn depends(from: &Component, on: Vec<String>) -> Dependency {
    Dependency {
        dependency_ref: reference(from),
        dependencies: on,
    }
}
