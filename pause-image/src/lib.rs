//! Writes and reads archives of the image, for pause-image and use-pause.

pub mod layout;
pub mod name;
pub mod platform;
pub mod read;
