//! The identity service: which addresses belong to whom, and invitations to those that belong to
//! nobody yet.
//!
//! Matrix identity service API v1.19, and tchap.md 2.1 and 5. It is a part of this server: an
//! address of an account is bound by being its address, and no other identity service is ever
//! asked. An invitation is a row that is written together with its event; its mail, and the invite
//! that it becomes, are work that any process takes up from the row, so that nothing is lost
//! between two steps ([`Identity::work`]).

mod bindings;
mod delivery;
mod error;
mod invite;
mod lookup;
mod signing;
mod tokens;

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use ruma::OwnedServerName;
use url::Url;

pub use self::{
    bindings::Association,
    error::Error,
    invite::{Inviter, StoreInvite, StoredInvite},
    lookup::HashDetails,
    tokens::{Holder, OpenIdToken},
};
use crate::{
    accounts::Terms,
    clock::SharedClock,
    mail::Mailer,
    policy::{AddressInfo, EmailAddress, Policy, Violation},
    random::Random,
    rooms::Rooms,
    store::{Store, identity as bindings_store, invitations},
};

/// What the identity service must know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server's name.
    pub server_name: OwnedServerName,
    /// Where clients reach this server.
    pub public_url: Url,
    /// The web client that invitations lead to; the server's own page if there is none.
    pub web_client_url: Option<Url>,
    /// What people agree to.
    pub terms: Vec<Terms>,
}

/// The identity service. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    policy: Arc<ArcSwap<Policy>>,
    rooms: Rooms,
    mailer: Mailer,
    clock: SharedClock,
    random: Random,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// The service.
    pub fn new(
        settings: Settings,
        store: Store,
        policy: Arc<ArcSwap<Policy>>,
        rooms: Rooms,
        mailer: Mailer,
        clock: SharedClock,
        random: Random,
    ) -> Self {
        Self(Arc::new(Inner {
            settings,
            store,
            policy,
            rooms,
            mailer,
            clock,
            random,
        }))
    }

    /// What is known of an address (tchap.md 2.1): which server it belongs to, and whether somebody
    /// invited it. `client` is who asks `info`, and `None` for `internal-info`.
    ///
    /// # Errors
    /// [`Error::Denied`] for what is no address (LK-11).
    pub async fn info(&self, address: &str, client: Option<IpAddr>) -> Result<AddressInfo, Error> {
        let address = parse(address)?;
        let mut conn = self.0.store.conn().await?;
        let bound = bindings_store::find_bound(&mut conn, address.as_str()).await?;
        let now = self.0.clock.now_i64();
        let invited = invitations::exists_pending(&mut conn, address.as_str(), now).await?;
        drop(conn);
        let server = bound.as_ref().map(|user_id| user_id.server_name());
        let policy = self.0.policy.load();
        Ok(policy.address_info(&address, client, server, invited))
    }

    /// What people agree to.
    pub fn terms(&self) -> &[Terms] {
        &self.0.settings.terms
    }
}

fn parse(address: &str) -> Result<EmailAddress, Error> {
    EmailAddress::parse(address).map_err(|error| Error::Denied(Violation::from(error)))
}
