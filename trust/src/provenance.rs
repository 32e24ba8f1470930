//! How the image was made: a statement of in-toto 1 with a predicate of SLSA 1.0, unsigned.
//! What nobody knows for certain, as who ran `make` and when, is not in it.

use crate::{facts::Facts, image::Image};
use serde_json::{Value, json};

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// Where it is named by nobody, the builder is whoever typed `make`.
pub const BY_HAND: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "#make");

pub fn of(image: &Image, facts: &Facts, builder: &str) -> Value {
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

    let mut source = json!({"uri": format!("git+{REPOSITORY}")});
    if let Some(revision) = &facts.revision {
        source["digest"] = json!({"gitCommit": revision});
    }
    let mut materials = vec![
        source,
        json!({"name": "Cargo.lock", "digest": {"sha256": facts.lock}}),
        json!({
            "name": format!("rustc {}", facts.rustc.version),
            "uri": "git+https://github.com/rust-lang/rust",
            "digest": {"gitCommit": facts.rustc.commit},
        }),
    ];
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
                "buildType": format!("{REPOSITORY}#make"),
                "externalParameters": {"IMAGE": name, "ARCHS": platforms.join(" ")},
                "resolvedDependencies": materials,
            },
            "runDetails": {"builder": {"id": builder}},
        },
    })
}
