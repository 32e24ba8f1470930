//! The image in the runtime's store, by the CRI.

use crate::{
    archive::Archive,
    cri::{Client, Image, ImageSpec, ImageStatusRequest, VersionRequest},
    process::wait_for,
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// How long the CRI may take to notice what another client of the runtime did.
const PATIENCE: Duration = Duration::from_secs(2);

/// The image of that name; none if the store has none.
pub fn get(cri: &Client, name: &str) -> Result<Option<Image>> {
    let image = Some(ImageSpec {
        image: name.to_owned(),
    });
    Ok(cri.call(ImageStatusRequest { image })?.image)
}

/// Whether the store has the archive's image under the archive's name.
pub fn is_stored(cri: &Client, archive: &Archive) -> Result<bool> {
    let stored = get(cri, &archive.name)?;
    Ok(stored.is_some_and(|it| archive.has_id(&it.id)))
}

/// Fails unless the store has the image after an import. On a node image nothing serves the CRI.
pub fn expect_stored(cri: &Client, archive: &Archive) -> Result<()> {
    if cri.call(VersionRequest {}).is_err() {
        return Ok(());
    }
    wait_for(PATIENCE, || {
        ensure!(
            is_stored(cri, archive)?,
            "it has another image of that name, or none"
        );
        Ok(())
    })
    .with_context(|| format!("imported {}, but the CRI does not have it", archive.name))
}
