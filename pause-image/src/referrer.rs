//! The SBOM as an artifact that refers to the image (OCI image specification 1.1, "Guidelines for Artifact
//! Usage"; distribution specification 1.1, "Listing Referrers"). It needs an archive of its own: engines load
//! each entry of an archive's index as an image.

use anyhow::Result;
use oci_spec::image::{ANNOTATION_TITLE, ImageManifestBuilder, MediaType, SCHEMA_VERSION};
use pause_image::{
    layout::{Layout, index_of, owned},
    read::Image,
};

/// Packs the SBOM, named `file`. The layout's one image is an index of referrers, which a registry without
/// the referrers API serves under the tag `sha256-…`, the digest of the image's index.
///
/// # Errors
///
/// None that a user causes: oci-spec's builders refuse a missing field.
pub fn pack(image: &Image, file: &str, sbom: Vec<u8>) -> Result<Layout> {
    let kind = MediaType::Other("application/vnd.cyclonedx+json".to_owned());
    let title = owned([(ANNOTATION_TITLE, file)]);
    let mut layout = Layout::default();
    let mut subject = image.index.clone();
    subject.set_annotations(None);
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .artifact_type(kind.clone())
        .config(layout.add(MediaType::EmptyJSON, b"{}".to_vec())?)
        .layers([layout.add(kind.clone(), sbom)?])
        .subject(subject)
        .annotations(title.clone());
    let mut manifest = layout.add_json(MediaType::ImageManifest, &manifest.build()?)?;
    manifest.set_artifact_type(Some(kind));
    manifest.set_annotations(Some(title));
    let referrers = index_of(vec![manifest]).build()?;
    let referrers = layout.add_json(MediaType::ImageIndex, &referrers)?;
    layout.finish(&referrers)?;
    Ok(layout)
}
