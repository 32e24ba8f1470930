//! SBOM and provenance as artifacts that refer to the image (OCI image specification 1.1, "Guidelines for
//! Artifact Usage"; distribution specification 1.1, "Listing Referrers"). They need an archive of their
//! own: engines load each entry of an archive's index as an image.

use anyhow::Result;
use oci_spec::image::{ANNOTATION_TITLE, ImageManifestBuilder, MediaType, SCHEMA_VERSION};
use pause_image::{
    layout::{Layout, index_of, owned},
    read::Image,
};

/// A document about the image.
pub struct Document {
    pub file: &'static str,
    pub media_type: &'static str,
    pub content: Vec<u8>,
}

/// Packs the documents. The layout's one image is their index, which a registry without the referrers API
/// serves under the tag `sha256-…`, the digest of the image's index.
pub fn pack(image: &Image, documents: &[Document]) -> Result<Layout> {
    let mut layout = Layout::default();
    let empty = layout.add(MediaType::EmptyJSON, b"{}".to_vec())?;
    let mut subject = image.index.clone();
    subject.set_annotations(None);
    let mut manifests = Vec::new();
    for document in documents {
        let kind = MediaType::Other(document.media_type.to_owned());
        let annotations = owned([(ANNOTATION_TITLE, document.file)]);
        let content = layout.add(kind.clone(), document.content.clone())?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .artifact_type(kind.clone())
            .config(empty.clone())
            .layers([content])
            .subject(subject.clone())
            .annotations(annotations.clone());
        let mut manifest = layout.add_json(MediaType::ImageManifest, &manifest.build()?)?;
        manifest.set_artifact_type(Some(kind));
        manifest.set_annotations(Some(annotations));
        manifests.push(manifest);
    }
    let index = index_of(manifests).build()?;
    let index = layout.add_json(MediaType::ImageIndex, &index)?;
    layout.finish(&index)?;
    Ok(layout)
}
