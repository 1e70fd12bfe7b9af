//! Push: telling people's devices what notifies them.
//!
//! [`pushers`] keeps whom to tell. One process at a time ([`dispatch`], by lease) follows the stream
//! from a cursor in the database: for each page of it, it finds who has pushers in the rooms where
//! something happened, asks their rules, and tells the gateways ([`gateway`]) with the number of
//! unread messages. The cursor moves once all have been told; a gateway that fails gets a place of its
//! own in the stream and is tried again, later each time, by any process ([`retry`]).
//!
//! Client-server API v1.19, "Push Notifications", and push gateway API v1.19.

mod badge;
mod decide;
mod dispatch;
mod error;
mod gateway;
mod mails;
mod pushers;
mod retry;

use std::{sync::Arc, time::Duration};

use url::Url;

pub use self::error::Error;
use crate::{
    clock::SharedClock, event::push::Defaults, mail::Mailer, outbound::Outbound, random::Random,
    rooms::Rooms, store::Store,
};

/// What the service is told by the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether gateways may be reached without TLS.
    pub allow_http: bool,
    /// What the operator says of the predefined rules.
    pub rules: Defaults,
    /// Where accounts expire: which parts of user ids keep them from it.
    pub expiry: Option<Vec<String>>,
    /// How long messages wait before a mail tells of them.
    pub mail_delay: Duration,
    /// Where mails lead for the application.
    pub web_client_url: Option<Url>,
    /// Where this server is reached.
    pub public_url: Url,
}

/// The push service. Cheap to clone.
#[derive(Clone)]
pub struct Push(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    rooms: Rooms,
    outbound: Outbound,
    mailer: Mailer,
    clock: SharedClock,
    random: Random,
    /// The name of this process in leases.
    holder: String,
}

impl Push {
    /// The service.
    pub fn new(
        settings: Settings,
        store: Store,
        rooms: Rooms,
        outbound: Outbound,
        mailer: Mailer,
        clock: SharedClock,
        random: Random,
    ) -> Self {
        Self(Arc::new(Inner {
            settings,
            store,
            rooms,
            outbound,
            mailer,
            clock,
            holder: random.alphanumeric(16),
            random,
        }))
    }
}
