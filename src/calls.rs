//! What clients need to call each other: credentials for TURN servers, and where calls of several
//! people meet.
//!
//! Specification v1.19, client-server API, "Voice over IP"; MSC4143 and MSC4195 for the others.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use ruma::UserId;
use sha1::Sha1;
use url::Url;
use zeroize::Zeroizing;

use crate::clock::SharedClock;

/// What the service is told by the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The addresses of TURN servers.
    pub turn_uris: Vec<String>,
    /// The secret that they share with this server.
    pub turn_secret: Option<Zeroizing<String>>,
    /// How long credentials are good.
    pub turn_lifetime: Duration,
    /// The services that give out places on `LiveKit` servers.
    pub livekit_service_urls: Vec<Url>,
}

/// Credentials for TURN servers.
#[derive(Clone, Debug)]
pub struct TurnCredentials {
    /// The user name: when the credentials end, in seconds since the epoch, and for whom they are.
    pub username: String,
    /// The password.
    pub password: String,
    /// The addresses of the servers.
    pub uris: Vec<String>,
    /// How long the credentials are good.
    pub lifetime: Duration,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Calls(Arc<(Settings, SharedClock)>);

impl Calls {
    /// The service.
    pub fn new(settings: Settings, clock: SharedClock) -> Self {
        Self(Arc::new((settings, clock)))
    }

    /// Credentials for a user; `None` if there is no TURN server. The servers check them with the
    /// shared secret alone.
    pub fn turn_credentials(&self, user_id: &UserId) -> Option<TurnCredentials> {
        let (settings, clock) = &*self.0;
        let secret = settings.turn_secret.as_ref()?;
        if settings.turn_uris.is_empty() {
            return None;
        }
        let end = (clock.now_ms() / 1000).saturating_add(settings.turn_lifetime.as_secs());
        let username = format!("{end}:{user_id}");
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(username.as_bytes());
        Some(TurnCredentials {
            password: STANDARD.encode(mac.finalize().into_bytes()),
            username,
            uris: settings.turn_uris.clone(),
            lifetime: settings.turn_lifetime,
        })
    }

    /// The services that give out places on `LiveKit` servers, the preferred one first.
    pub fn livekit_service_urls(&self) -> &[Url] {
        &self.0.0.livekit_service_urls
    }
}
