//! `[server]`: the server's name, its public addresses, its folder and its contacts.

use std::path::PathBuf;

use ruma::{OwnedServerName, OwnedUserId, api::client::discovery::discover_support::ContactRole};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Problem, Profile};

/// `[server]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The part after the colon of user ids. It can never change once there are users.
    pub name: OwnedServerName,
    /// Where clients reach this server.
    pub public_url: Url,
    /// Which rules apply.
    pub profile: Profile,
    /// The folder for what the server keeps outside the database.
    pub data_folder: PathBuf,
    /// The file of the signing key; in `data_folder` if not set.
    pub signing_key_file: Option<PathBuf>,
    /// The web client that mails and pages link to.
    pub web_client_url: Option<Url>,
    /// What `/.well-known/matrix/server` answers as `m.server`: the host and port that other
    /// servers connect to. Not served if not set.
    pub well_known_server: Option<OwnedServerName>,
    /// What `/.well-known/matrix/support` answers.
    pub support: Support,
    /// A folder whose files replace templates of mails (in its folder `mail`) and of pages (in its
    /// folder `page`).
    pub templates: Option<PathBuf>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: default_name(),
            public_url: default_public_url(),
            profile: Profile::default(),
            data_folder: PathBuf::from("data"),
            signing_key_file: None,
            web_client_url: None,
            well_known_server: None,
            support: Support::default(),
            templates: None,
        }
    }
}

/// `[server.support]`: whom to ask for help. Not served if empty.
///
/// Specification v1.19, client-server API, "Server discovery, support".
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Support {
    /// The people to contact.
    pub admins: Vec<Contact>,
    /// A page with help.
    pub support_page: Option<Url>,
}

/// Somebody to contact. At least one of the two addresses is given.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Their user id, on any server.
    #[serde(default)]
    pub matrix_id: Option<OwnedUserId>,
    /// Their e-mail address.
    #[serde(default)]
    pub email_address: Option<String>,
    /// What they are asked about: `m.role.admin` or `m.role.security`.
    pub role: ContactRole,
}

impl Server {
    /// The folder that replaces templates of a kind: `mail` or `page`.
    pub fn templates_of(&self, kind: &str) -> Option<PathBuf> {
        self.templates.as_ref().map(|folder| folder.join(kind))
    }

    /// The file of the signing key.
    pub fn signing_key_file(&self) -> PathBuf {
        let default = || self.data_folder.join("signing.key");
        self.signing_key_file.clone().unwrap_or_else(default)
    }

    /// The file that holds the id of the running process, for `chappe config reload`.
    pub fn pid_file(&self) -> PathBuf {
        self.data_folder.join("chappe.pid")
    }

    /// The file of the audit log, where none is named.
    pub fn audit_file(&self) -> PathBuf {
        self.data_folder.join("audit.log")
    }

    /// The folder that keeps mails when there is no SMTP server.
    pub fn outbox_folder(&self) -> PathBuf {
        self.data_folder.join("outbox")
    }

    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::from_iter(web_address("server.public_url", &self.public_url));
        if let Some(url) = &self.web_client_url {
            problems.extend(web_address("server.web_client_url", url));
        }
        if let Some(url) = &self.support.support_page {
            problems.extend(web_address("server.support.support_page", url));
        }
        if self.data_folder.as_os_str().is_empty() {
            problems.push(Problem::new(
                "server.data_folder",
                "is empty; expected a folder",
            ));
        }
        for (at, contact) in self.support.admins.iter().enumerate() {
            if contact.matrix_id.is_none() && contact.email_address.is_none() {
                let key = format!("server.support.admins[{at}]");
                problems.push(Problem::new(key, "needs `matrix_id` or `email_address`"));
            }
        }
        problems
    }
}

/// What is wrong with an address that browsers are sent to.
fn web_address(key: &str, url: &Url) -> Option<Problem> {
    let fault = if !matches!(url.scheme(), "http" | "https") {
        format!(
            "found the scheme `{}`, expected http or https",
            url.scheme()
        )
    } else if !url.username().is_empty() || url.password().is_some() {
        "found a user name or password in it, expected none".to_owned()
    } else {
        return None;
    };
    Some(Problem::new(key, fault))
}

#[expect(
    clippy::expect_used,
    reason = "the text is a constant, and a test loads the defaults"
)]
fn default_name() -> OwnedServerName {
    OwnedServerName::try_from("localhost").expect("a server name")
}

#[expect(
    clippy::expect_used,
    reason = "the text is a constant, and a test loads the defaults"
)]
fn default_public_url() -> Url {
    Url::parse("http://127.0.0.1:8008").expect("a URL")
}
