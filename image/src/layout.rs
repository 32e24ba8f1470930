//! An OCI image layout in a tar file (OCI image specification 1.1, "Image Layout").

use anyhow::{Context, Result};
use oci_spec::image::{
    Descriptor, ImageIndexBuilder, MediaType, OciLayoutBuilder, SCHEMA_VERSION, Sha256Digest,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    fs::Permissions,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// The files of a layout, ready to be written.
#[derive(Default)]
pub struct Layout {
    /// Path in the archive and content.
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

    /// Adds a blob that is JSON.
    pub fn add_json(
        &mut self,
        media_type: MediaType,
        content: &impl Serialize,
    ) -> Result<Descriptor> {
        self.add(media_type, json(content)?)
    }

    /// Adds a file that is no blob.
    pub fn add_file(&mut self, path: &str, content: Vec<u8>) {
        self.files.insert(path.to_owned(), content);
    }

    /// Adds what makes it a layout, with that one entry: an engine takes each for an image of its own.
    pub fn finish(&mut self, entry: &Descriptor) -> Result<()> {
        let index = index_of(vec![entry.clone()]).build()?;
        self.add_file("index.json", json(&index)?);
        let layout = OciLayoutBuilder::default().image_layout_version("1.0.0");
        self.add_file("oci-layout", json(&layout.build()?)?);
        Ok(())
    }

    /// Writes the archive. Where that fails, whatever was at `output` before still is.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(&self, output: &Path) -> Result<()> {
        write_whole(output, |file| {
            let mut tar = tar::Builder::new(file);
            for (path, content) in &self.files {
                append(&mut tar, path, 0o444, content)?;
            }
            Ok(tar.finish()?)
        })
    }
}

/// Writes a file that appears whole or not at all.
///
/// # Errors
///
/// Those of the file system and of `write`.
pub fn write_whole(output: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let output = std::path::absolute(output)?;
    let folder = output.parent().unwrap_or(&output);
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666)) // less the umask, as any new file
        .tempfile_in(folder)?;
    write(&mut file)?;
    file.persist(output).map_err(|failed| failed.error)?;
    Ok(())
}

/// An index of these.
pub fn index_of(manifests: Vec<Descriptor>) -> ImageIndexBuilder {
    ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
}

/// Where a layout has a blob.
pub fn path(blob: &Descriptor) -> String {
    format!("blobs/sha256/{}", blob.digest().digest())
}

/// Annotations, as oci-spec wants them.
pub fn owned<const N: usize>(annotations: [(&str, &str); N]) -> HashMap<String, String> {
    annotations
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The sha256 of some bytes, in hex.
pub fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON with sorted keys: oci-spec keeps annotations in a map of random order.
pub fn json(content: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&serde_json::to_value(content)?)?)
}

/// Appends a file of root's, from 1970.
///
/// # Errors
///
/// Those of `tar`, and a path that does not fit.
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
