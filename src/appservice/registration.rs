//! A registration file: YAML, as application services write it.

use ruma::{ServerName, UserId};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::{Namespaces, Service, hash};

/// What is wrong with a registration file.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {message}")]
pub struct RegistrationError {
    file: String,
    message: String,
}

impl RegistrationError {
    pub(super) fn new(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            message: message.into(),
        }
    }
}

/// The file. Keys that nobody here knows are passed over: services put settings of their own there.
#[derive(Deserialize)]
pub(super) struct Registration {
    id: String,
    url: Option<String>,
    as_token: String,
    hs_token: String,
    sender_localpart: String,
    namespaces: Lists,
    rate_limited: Option<bool>,
    protocols: Option<Vec<String>>,
    // Before it was in the specification it had another name.
    #[serde(alias = "de.sorunome.msc2409.push_ephemeral")]
    receive_ephemeral: Option<bool>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Lists {
    users: Option<Vec<Namespace>>,
    aliases: Option<Vec<Namespace>>,
    rooms: Option<Vec<Namespace>>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(default)]
    exclusive: bool,
    regex: String,
}

impl Registration {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_yaml_ng::from_str(text).map_err(|error| error.to_string())
    }

    pub(super) fn into_service(self, server_name: &ServerName) -> Result<Service, String> {
        for (field, value) in [
            ("id", &self.id),
            ("as_token", &self.as_token),
            ("hs_token", &self.hs_token),
        ] {
            if value.is_empty()
                || value
                    .chars()
                    .any(|c| c.is_control() || (c == ' ' && field != "id"))
            {
                return Err(format!("`{field}` is empty, or holds what it cannot"));
            }
        }
        if !self.hs_token.is_ascii() {
            return Err("`hs_token` holds what no header can".to_owned());
        }
        let sender = UserId::parse_with_server_name(&*self.sender_localpart, server_name)
            .map_err(|error| format!("`sender_localpart`: {error}"))?;
        let url = self.url.filter(|url| !url.is_empty());
        let url = url.map(|url| parse_url(&url)).transpose()?;
        let namespaces = |name: &str, list: Option<Vec<Namespace>>| {
            let list = list.unwrap_or_default();
            let list: Vec<_> = list
                .into_iter()
                .map(|one| (one.regex, one.exclusive))
                .collect();
            Namespaces::compile(&list).map_err(|error| format!("`namespaces.{name}`: {error}"))
        };
        Ok(Service {
            users: namespaces("users", self.namespaces.users)?,
            aliases: namespaces("aliases", self.namespaces.aliases)?,
            rooms: namespaces("rooms", self.namespaces.rooms)?,
            id: self.id,
            url,
            as_token: hash(&self.as_token),
            hs_token: Zeroizing::new(self.hs_token),
            sender,
            server_name: server_name.to_owned(),
            is_rate_limited: self.rate_limited.unwrap_or(true),
            protocols: self.protocols.unwrap_or_default(),
            receives_ephemeral: self.receive_ephemeral.unwrap_or(false),
        })
    }
}

/// An address to which paths can be added.
fn parse_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("`url`: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("`url` is not an address of HTTP".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`url` holds a password".to_owned());
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}
