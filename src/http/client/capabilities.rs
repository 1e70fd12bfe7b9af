//! `GET /_matrix/client/v3/capabilities`: what a user may change, and which room versions there
//! are.
//!
//! Specification v1.19, client-server API, "Capabilities negotiation".

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{extract::State, response::Response};
use ruma::{RoomVersionId, api::client::discovery::get_capabilities};
use serde_json::{Map, Value, json};

use crate::{
    event::version,
    http::{
        ApiError, Ruma,
        document::{Document, Freshness},
    },
};

/// What the server allows, by its policy.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the capabilities are switches"
)]
pub struct CapabilitySettings {
    /// Whether users may change their password.
    pub change_password: bool,
    /// Whether users may change their display name.
    pub set_displayname: bool,
    /// Whether users may change their avatar.
    pub set_avatar_url: bool,
    /// Whether users may add and remove e-mail addresses.
    pub change_3pid: bool,
    /// Whether users may set other fields of their profile.
    pub profile_fields: bool,
    /// Whether users may let another client log in with a token.
    pub get_login_token: bool,
    /// How much later events may be sent, in milliseconds, and how many at once; `None`: not at
    /// all.
    pub delayed_events: Option<(u64, u32)>,
    /// The version of new rooms.
    pub default_room_version: RoomVersionId,
    /// The versions of rooms that can be made and joined, without the unstable ones.
    pub room_versions: Vec<RoomVersionId>,
}

impl Default for CapabilitySettings {
    fn default() -> Self {
        use RoomVersionId::{V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12};
        Self {
            change_password: true,
            set_displayname: true,
            set_avatar_url: true,
            change_3pid: true,
            profile_fields: false,
            get_login_token: false,
            delayed_events: None,
            default_room_version: V12,
            room_versions: vec![V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12],
        }
    }
}

/// The answer, written once for each configuration: every user gets the same, but that administrators
/// may do more.
#[derive(Clone, Debug)]
pub struct Capabilities(Arc<ArcSwap<Documents>>);

#[derive(Debug)]
struct Documents {
    of_users: Document,
    of_administrators: Document,
}

impl Capabilities {
    /// Takes new settings.
    pub fn reload(&self, settings: &CapabilitySettings) {
        self.0.store(Arc::new(documents(settings)));
    }
}

impl From<&CapabilitySettings> for Capabilities {
    fn from(settings: &CapabilitySettings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(documents(settings))))
    }
}

fn documents(settings: &CapabilitySettings) -> Documents {
    let mut capabilities = capabilities(settings);
    let text = |capabilities: &Value| json!({ "capabilities": capabilities }).to_string();
    let of_users = Document::new(text(&capabilities));
    capabilities["m.account_moderation"] = json!({ "suspend": true, "lock": true });
    Documents {
        of_users,
        of_administrators: Document::new(text(&capabilities)),
    }
}

fn capabilities(settings: &CapabilitySettings) -> Value {
    let enabled = |enabled: bool| json!({ "enabled": enabled });
    let stable = settings.room_versions.iter().map(ToString::to_string);
    let stable = stable.map(|version| (version, "stable".into()));
    let unstable = version::OWNED_STATE.iter().map(ToString::to_string);
    let unstable = unstable.map(|version| (version, "unstable".into()));
    let available: Map<String, Value> = stable.chain(unstable).collect();
    let mut capabilities = json!({
        "m.change_password": enabled(settings.change_password),
        "m.room_versions": {
            "default": settings.default_room_version,
            "available": available,
        },
        // Deprecated since v1.16, and what most clients look at.
        "m.set_displayname": enabled(settings.set_displayname),
        "m.set_avatar_url": enabled(settings.set_avatar_url),
        "m.3pid_changes": enabled(settings.change_3pid),
        "m.get_login_token": enabled(settings.get_login_token),
    });
    capabilities["m.profile_fields"] = profile_fields(settings);
    if let Some((max_delay, max_scheduled)) = settings.delayed_events {
        capabilities["org.matrix.msc4140.delayed_events"] =
            json!({ "max_delay_ms": max_delay, "max_scheduled": max_scheduled });
    }
    capabilities
}

/// Which profile fields may be set. It includes the display name and the avatar, and goes before
/// their own capabilities.
fn profile_fields(settings: &CapabilitySettings) -> Value {
    let named = [
        ("displayname", settings.set_displayname),
        ("avatar_url", settings.set_avatar_url),
    ];
    let with = |wanted: bool| -> Vec<&str> {
        let named = named.iter().filter(|(_, allowed)| *allowed == wanted);
        named.map(|(name, _)| *name).collect()
    };
    if settings.profile_fields {
        json!({ "enabled": true, "disallowed": with(false) })
    } else {
        let allowed = with(true);
        json!({ "enabled": !allowed.is_empty(), "allowed": allowed })
    }
}

/// `GET /_matrix/client/v3/capabilities`.
pub(super) async fn get_capabilities(
    State(capabilities): State<Capabilities>,
    request: Ruma<get_capabilities::v3::Request>,
) -> Result<Response, ApiError> {
    let documents = capabilities.0.load();
    let document = if request.sender.is_admin() {
        &documents.of_administrators
    } else {
        &documents.of_users
    };
    Ok(document.answer(&request.client.conditions(), Freshness::Always))
}
