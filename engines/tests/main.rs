//! The image in engines, on kernels and in clusters, and the commands that people type.

mod commands;
mod image;
mod kernels;
mod kind;
mod kubelet;
mod packager;
mod pod;
mod registry;
mod release;
mod releases;
mod runtimes;
mod use_pause;
mod verify;
