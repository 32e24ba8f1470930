//! A registry.

use super::Nest;
use crate::{make, output};
use serde_json::json;
use std::fs;

/// A registry on the loopback of a nest, without encryption.
pub struct Registry<'a>(&'a Nest);

impl<'a> Registry<'a> {
    /// Its name for the image.
    pub const IMAGE: &'static str =
        concat!("localhost:5000/team/pause:", env!("CARGO_PKG_VERSION"));

    /// Starts it, with what is in that folder.
    pub fn start(nest: &'a Nest, folder: &str) -> Self {
        let config = json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": folder}},
            "http": {"addr": "127.0.0.1:5000"},
            "log": {"formatter": "json"},
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

    /// Pushes the image to it, as [`Self::IMAGE`].
    pub fn push(&self) {
        let mut push = make(self.0.command("make"));
        let flags = "PUSH_FLAGS=--dest-tls-verify=false";
        push.args(["push", "REGISTRY=localhost:5000/team", flags]);
        output(&mut push);
    }

    /// What it has sent so far, by the path of each request that was answered with something: bytes.
    pub fn sent(&self) -> Vec<(String, u64)> {
        let log = fs::read_to_string(self.0.path("registry.log")).unwrap();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &serde_json::Value| {
                line["msg"] == "response completed"
                    && line["http.request.method"] == "GET"
                    && line["http.response.status"] == 200
            })
            .map(|line| {
                let path = line["http.request.uri"].as_str().unwrap().to_owned();
                (path, line["http.response.written"].as_u64().unwrap())
            })
            .collect()
    }
}
