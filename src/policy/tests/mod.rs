//! The rows of the rules, one test each, and properties of the parser.

use ruma::{ServerName, server_name};

use super::{EmailAddress, Policy};
use crate::config::{Profile, policy::Policy as Settings};

mod address;
mod addresses;
mod directory;
mod explain;
mod names;
mod passwords;
mod profile;
mod properties;
mod rooms;
mod settings;
mod third_party;
mod user_ids;

/// The server that the tests are about.
fn me() -> &'static ServerName {
    server_name!("agent.education.tchap.gouv.fr")
}

fn settings(toml: &str) -> Settings {
    toml::from_str(toml).unwrap()
}

fn tchap(toml: &str) -> Policy {
    Policy::new(&settings(toml), Profile::Tchap, me()).unwrap()
}

fn open(toml: &str) -> Policy {
    Policy::new(&settings(toml), Profile::Open, me()).unwrap()
}

fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}
