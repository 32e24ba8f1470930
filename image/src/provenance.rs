//! How the image was made: a statement of in-toto 1 with a predicate of SLSA 1.0, unsigned.
//! What nobody knows for certain, as who ran `make` and when, is not in it.

use crate::facts::Facts;
use pause_image::read::Image;
use serde_json::{Value, json};

/// How to read the parameters; and where nobody names the builder, it is whoever typed `make`.
const MAKE: &str = "pkg:generic/pause#Makefile";

/// Where the sources are and who builds are URIs, where somebody tells.
pub fn of(image: &Image, facts: &Facts, source: Option<&str>, builder: Option<&str>) -> Value {
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
        "name": format!("rustc {}", facts.rustc.version),
        "uri": "git+https://github.com/rust-lang/rust",
        "digest": {"gitCommit": facts.rustc.commit},
    }));
    for it in &facts.crates {
        if let Some(checksum) = &it.checksum {
            materials.push(json!({"uri": it.purl(), "digest": {"sha256": checksum}}));
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
            "runDetails": {"builder": {"id": builder.unwrap_or(MAKE)}},
        },
    })
}
