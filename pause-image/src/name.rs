//! The image's name.

use anyhow::{Context, Result, ensure};
use oci_spec::distribution::Reference;

/// Checks a name with registry, repository and tag. containerd uses the name in an archive as it is, and
/// does not complete a short one.
///
/// # Errors
///
/// The name is not valid (distribution specification, "Pulling manifests"), lacks the registry or the tag,
/// or has a digest.
pub fn check(name: &str) -> Result<()> {
    let check = || -> Result<()> {
        let reference: Reference = name.parse()?;
        let whole = reference.whole();
        ensure!(
            reference.digest().is_none(),
            "give a tag instead of a digest, which depends on the content"
        );
        ensure!(whole == name, "give registry and tag, as in {whole}");
        Ok(())
    };
    check().with_context(|| format!("{name:?} is not an image name"))
}
