//! What an image is made of, for the command and for use-pause: how an archive is written, and how it
//! is read again.

pub mod layout;
pub mod name;
pub mod platform;
pub mod read;
