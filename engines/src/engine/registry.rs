//! docker-registry in a nest.

use super::Nest;
use crate::{make, output};
use serde_json::json;
use std::fs;

/// A registry on a nest's loopback, without TLS.
pub struct Registry<'a>(&'a Nest);

impl<'a> Registry<'a> {
    /// The image's name in the registry.
    pub const IMAGE: &'static str =
        concat!("localhost:5000/team/pause:", env!("CARGO_PKG_VERSION"));

    /// Starts an empty registry.
    pub fn start(nest: &'a Nest) -> Self {
        let config = json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": nest.path("registry")}},
            "http": {"addr": "127.0.0.1:5000"},
        });
        let path = nest.path("registry.yml");
        // JSON is YAML.
        fs::write(&path, config.to_string()).unwrap();
        let mut daemon = nest.daemon("docker-registry");
        daemon.args(["serve", &path]);
        let mut ready = nest.command("bash");
        ready.args(["-c", ": < /dev/tcp/127.0.0.1/5000"]);
        nest.start_daemon("registry", daemon, ready);
        Self(nest)
    }

    /// Pushes the image as [`Self::IMAGE`], by `make push`.
    pub fn push(&self) {
        let mut push = make(self.0.command("make"));
        let flags = "PUSH_FLAGS=--dest-tls-verify=false";
        push.args(["push", "REGISTRY=localhost:5000/team", flags]);
        output(&mut push);
    }
}
