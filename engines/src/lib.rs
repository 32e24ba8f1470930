//! Engines, kernels and clusters that run the image, isolated from the machine's own.

pub mod engine;
pub mod kind;
pub mod kubelet;
pub mod node;
pub mod stand_in;
pub mod story;

pub use sandbox::{self, *};
