//! The provenance: an unsigned in-toto 1 statement with an SLSA 1.0 predicate. Leaves out what nobody can
//! check, such as who ran `make`, and when.

use crate::facts::{Facts, purl};
use pause_image::read::Image;
use serde_json::{Value, json};

/// The build type, and the builder if nobody names one: whoever typed `make`.
const MAKE: &str = "pkg:generic/pause#Makefile";

/// Where the image comes from, as far as the user says.
#[derive(clap::Args)]
pub struct Origin {
    /// The git URL of the sources
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// The URI of the builder; by default that of whoever typed make
    #[arg(long, value_name = "URI")]
    builder: Option<String>,
}

pub fn of(image: &Image, facts: &Facts, origin: &Origin) -> Value {
    let name = image.name.as_deref().unwrap_or("pause");
    let mut subjects = vec![json!({
        "name": name,
        "digest": {"sha256": image.index.digest().digest()},
    })];
    for platform in &image.platforms {
        subjects.push(json!({
            "name": format!("{name} for linux/{}", platform.name),
            "digest": {"sha256": platform.manifest.digest().digest()},
        }));
    }

    let mut materials = Vec::new();
    let Origin { source, builder } = origin;
    if source.is_some() || facts.revision.is_some() {
        let mut pause = json!({"name": "pause"});
        if let Some(source) = source {
            pause["uri"] = json!(format!("git+{source}"));
        }
        if let Some(revision) = &facts.revision {
            pause["digest"] = json!({"gitCommit": revision});
        }
        materials.push(pause);
    }
    materials.push(json!({"name": "Cargo.lock", "digest": {"sha256": facts.lock}}));
    materials.push(json!({
        "name": format!("rustc {}", facts.rustc.semver),
        "uri": "git+https://github.com/rust-lang/rust",
        "digest": {"gitCommit": facts.rustc.commit_hash},
    }));
    for it in &facts.crates {
        if let Some(checksum) = &it.checksum {
            materials.push(json!({"uri": purl(&it.package), "digest": {"sha256": checksum}}));
        }
    }

    let platforms = image.platforms.iter();
    let platforms: Vec<&str> = platforms.map(|it| it.name.as_str()).collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": MAKE,
                "externalParameters": {"IMAGE": name, "ARCHS": platforms.join(" ")},
                "resolvedDependencies": materials,
            },
            "runDetails": {"builder": {"id": builder.as_deref().unwrap_or(MAKE)}},
        },
    })
}
