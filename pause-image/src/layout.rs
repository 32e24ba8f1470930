//! Writes an OCI image layout to a tar file (OCI image specification 1.1, "Image Layout").

use crate::sha256;
use anyhow::{Context, Result};
use oci_spec::image::{
    Descriptor, ImageIndexBuilder, MediaType, OciLayoutBuilder, SCHEMA_VERSION, Sha256Digest,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    fs::Permissions,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// The files of a layout.
#[derive(Default)]
pub struct Layout {
    /// By path.
    files: BTreeMap<String, Vec<u8>>,
}

impl Layout {
    /// Adds a blob.
    pub fn add(&mut self, media_type: MediaType, content: Vec<u8>) -> Result<Descriptor> {
        let digest: Sha256Digest = sha256(&content).parse()?;
        let descriptor = Descriptor::new(media_type, content.len() as u64, digest);
        self.add_file(&path(&descriptor), content);
        Ok(descriptor)
    }

    /// Adds a JSON blob.
    pub fn add_json(
        &mut self,
        media_type: MediaType,
        content: &impl Serialize,
    ) -> Result<Descriptor> {
        self.add(media_type, json(content)?)
    }

    /// Adds a file other than a blob.
    pub fn add_file(&mut self, path: &str, content: Vec<u8>) {
        self.files.insert(path.to_owned(), content);
    }

    /// Writes the archive, with oci-layout and an index.json with one entry: engines load each entry as an
    /// image. If that fails, the file at `output` stays what it was.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(mut self, entry: &Descriptor, output: &Path) -> Result<()> {
        let index = index_of(vec![entry.clone()]).build()?;
        self.add_file("index.json", json(&index)?);
        let layout = OciLayoutBuilder::default().image_layout_version("1.0.0");
        self.add_file("oci-layout", json(&layout.build()?)?);
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in &self.files {
            append(&mut tar, path, 0o444, content)?;
        }
        write(output, &tar.into_inner()?)
    }
}

/// Replaces a file atomically.
///
/// # Errors
///
/// Those of the file system.
pub fn write(output: &Path, content: &[u8]) -> Result<()> {
    let replace = || -> Result<_> {
        let output = std::path::absolute(output)?;
        let directory = output.parent().unwrap_or(&output);
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666)) // minus the umask
            .tempfile_in(directory)?;
        file.write_all(content)?;
        Ok(file.persist(output)?)
    };
    replace().with_context(|| format!("cannot write {}", output.display()))?;
    Ok(())
}

/// An index of manifests.
pub fn index_of(manifests: Vec<Descriptor>) -> ImageIndexBuilder {
    ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
}

/// A blob's path in a layout.
pub fn path(blob: &Descriptor) -> String {
    format!("blobs/sha256/{}", blob.digest().digest())
}

/// Annotations in oci-spec's type.
pub fn owned<const N: usize>(annotations: [(&str, &str); N]) -> HashMap<String, String> {
    annotations
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// JSON with sorted keys: oci-spec's map of annotations has a random order, which another package's feature
/// of serde_json would keep.
pub fn json(content: &impl Serialize) -> Result<Vec<u8>> {
    let mut content = serde_json::to_value(content)?;
    content.sort_all_objects();
    Ok(serde_json::to_vec(&content)?)
}

/// Appends a file owned by root, dated 1970.
///
/// # Errors
///
/// Those of `tar`; the path is too long.
pub fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
        .with_context(|| format!("{path} does not fit into a tar file"))
}
