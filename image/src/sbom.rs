//! What the image is made of, in CycloneDX 1.5: the form that the library writes, and that scanners
//! and registries read.

use crate::facts::{Crate, Facts};
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
use pause_image::read::Image;

/// What the standard library and `core` are under (their Cargo.toml).
const RUST_LICENSE: &str = "MIT OR Apache-2.0";

pub fn of(image: &Image, facts: &Facts) -> Result<Vec<u8>> {
    let container = container(image)?;
    let core = core(facts)?;
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    let program = facts.crates[0].purl();

    let mut files = Vec::new();
    for platform in &image.platforms {
        let file = file(&platform.name, &platform.program)?;
        files.push(reference(&file));
        dependencies.push(depends(&reference(&file), vec![program.clone()]));
        components.push(file);
    }
    dependencies.insert(0, depends(&reference(&container), files));
    for it in &facts.crates {
        // All of them are made with it, and it may be in the program.
        let needs = it.needs.iter().cloned().chain([reference(&core)]);
        dependencies.push(depends(&it.purl(), needs.collect()));
        components.push(of_crate(it)?);
    }
    dependencies.push(depends(&reference(&core), vec![]));
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
        // A random one otherwise.
        serial_number: None,
        ..Bom::default()
    };
    let problems = bom.validate_version(SpecVersion::V1_5);
    ensure!(problems.passed(), "the SBOM is none: {problems:?}");
    let mut json = Vec::new();
    bom.output_as_json(&mut json, SpecVersion::V1_5)?;
    json.push(b'\n');
    Ok(json)
}

fn container(image: &Image) -> Result<Component> {
    let purl = Purl::new("oci", "pause", image.index.digest().as_ref())?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(Component {
        hashes: Some(sha256(image.index.digest().digest())),
        ..component(
            Classification::Container,
            "pause",
            version,
            purl,
            Some(env!("CARGO_PKG_LICENSE")),
        )?
    })
}

fn file(platform: &str, program: &str) -> Result<Component> {
    let mut file = Component::new(
        Classification::File,
        "/pause",
        env!("CARGO_PKG_VERSION"),
        Some(format!("linux/{platform}/pause")),
    );
    file.description = Some(NormalizedString::new(&format!("for linux/{platform}")));
    file.hashes = Some(sha256(program));
    Ok(file)
}

fn of_crate(it: &Crate) -> Result<Component> {
    let purl = Purl::new("cargo", &it.name, &it.version)?;
    let license = it.license.as_deref();
    Ok(Component {
        hashes: it.checksum.as_deref().map(sha256),
        ..component(kind(it), &it.name, &it.version, purl, license)?
    })
}

fn kind(it: &Crate) -> Classification {
    match it.checksum {
        Some(_) => Classification::Library,
        None => Classification::Application,
    }
}

/// What the compiler takes from Rust itself.
fn core(facts: &Facts) -> Result<Component> {
    let purl = Purl::new("generic", "rust-core", &facts.rustc.version)?;
    component(
        Classification::Library,
        "core",
        &facts.rustc.version,
        purl,
        Some(RUST_LICENSE),
    )
}

fn component(
    kind: Classification,
    name: &str,
    version: &str,
    purl: Purl,
    license: Option<&str>,
) -> Result<Component> {
    let mut component = Component::new(kind, name, version, Some(purl.to_string()));
    component.purl = Some(purl);
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

fn depends(from: &str, on: Vec<String>) -> Dependency {
    Dependency {
        dependency_ref: from.to_owned(),
        dependencies: on,
    }
}
