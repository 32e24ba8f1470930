//! The image's name.

use anyhow::{Error, Result, ensure};
use oci_spec::distribution::Reference;
use std::{fmt, str::FromStr};

/// A name with its registry, repository and tag, none left to an engine's guess: containerd finds
/// no short names, and takes what an archive says as it stands.
#[derive(Clone, Debug)]
pub struct Name(Reference);

impl FromStr for Name {
    type Err = Error;

    /// # Errors
    ///
    /// What a registry would not take (the distribution specification, "Pulling manifests"), and
    /// names that lack the registry or the tag or have a digest.
    fn from_str(name: &str) -> Result<Self> {
        let reference: Reference = name.parse()?;
        ensure!(
            reference.digest().is_none(),
            "the digest is what comes out; give a tag"
        );
        ensure!(
            reference.whole() == name,
            "give it in full, with registry and tag, as in {}",
            reference.whole()
        );
        Ok(Self(reference))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
