//! What an image is made of, for the packer and for what goes with its image.

pub mod archive;
pub mod layout;
pub mod name;
pub mod platform;
