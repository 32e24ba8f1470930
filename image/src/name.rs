//! The image's name.

use anyhow::{Error, Result, ensure};
use oci_spec::distribution::Reference;
use std::{fmt, str::FromStr};

/// A name with registry, repository and tag. containerd uses the name in an archive as it is, and does not
/// complete a short one.
#[derive(Clone, Debug)]
pub struct Name(Reference);

impl FromStr for Name {
    type Err = Error;

    /// # Errors
    ///
    /// The name is not valid (distribution specification, "Pulling manifests"), lacks the registry or
    /// the tag, or has a digest.
    fn from_str(name: &str) -> Result<Self> {
        let reference: Reference = name.parse()?;
        ensure!(
            reference.digest().is_none(),
            "give a tag instead of a digest, which depends on the content"
        );
        ensure!(
            reference.whole() == name,
            "give registry and tag, as in {}",
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
