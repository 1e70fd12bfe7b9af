//! Application services: what they may do, and what they are told.

mod acting;
mod telling;

use std::path::Path;

use tempfile::TempDir;

use crate::harness::{
    client::{Client, encode},
    server::{TestOptions, TestServer},
};

/// The service's own token, and the one by which it knows the server.
pub(crate) const AS_TOKEN: &str = "as-token-of-the-bridge";
pub(crate) const HS_TOKEN: &str = "hs-token-of-the-bridge";

/// A registration at an address; `more` are further lines.
pub(crate) fn registration(url: Option<&str>, more: &str) -> String {
    let url = url.map_or("null".to_owned(), |url| format!("{url:?}"));
    format!(
        r##"
id: bridge
url: {url}
as_token: {AS_TOKEN}
hs_token: {HS_TOKEN}
sender_localpart: _bridge_bot
namespaces:
  users:
    - {{ exclusive: true, regex: "@_bridge_.*:example.org" }}
    - {{ exclusive: false, regex: "@helper:example.org" }}
  aliases:
    - {{ exclusive: true, regex: "#_bridge_.*:example.org" }}
  rooms: []
{more}
"##
    )
}

/// A server with an application service.
pub(crate) struct Site {
    pub(crate) server: TestServer,
    folder: TempDir,
}

impl Site {
    pub(crate) async fn new(registration: &str) -> Self {
        Self::with(registration, "").await
    }

    pub(crate) async fn with(registration: &str, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "bridge.yaml", registration);
        let options = TestOptions::with(&config_of(folder.path(), config));
        let server = TestServer::start(options).await;
        Self { server, folder }
    }

    /// Writes a registration and lets the server read them again.
    pub(crate) async fn reload(&self, name: &str, registration: &str) {
        write(self.folder.path(), name, registration);
        let config = config_of(self.folder.path(), "");
        self.server.reload(&config).await;
    }

    /// The service as its own user.
    pub(crate) fn service(&self) -> Client {
        let mut client = self.server.client();
        client.token = Some(AS_TOKEN.to_owned());
        "@_bridge_bot:example.org".clone_into(&mut client.user_id);
        client
    }
}

/// A path for which the service is somebody else.
pub(crate) fn of(path: &str, localpart: &str) -> String {
    let user_id = encode(&format!("@{localpart}:example.org"));
    let join = if path.contains('?') { '&' } else { '?' };
    format!("{path}{join}user_id={user_id}")
}

fn config_of(folder: &Path, config: &str) -> String {
    format!("application_services.registrations = [{folder:?}]\n{config}")
}

fn write(folder: &Path, name: &str, registration: &str) {
    std::fs::write(folder.join(name), registration).unwrap();
}
