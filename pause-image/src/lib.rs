//! Writes and reads archives of the image, for pause-image and use-pause.

pub mod layout;
pub mod name;
pub mod platform;
pub mod read;

use sha2::{Digest, Sha256};

/// The sha256 in hex.
pub fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
