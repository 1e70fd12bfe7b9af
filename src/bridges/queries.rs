//! Asks services for users and aliases that are theirs and that nobody here knows, and whether they
//! can be reached.
//!
//! Specification v1.19, application service API, "Querying" and "Pinging".

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use http::Method;
use ruma::{OwnedRoomId, OwnedUserId, RoomAliasId, RoomOrAliasId, UserId};
use serde_json::json;

use super::{
    Bridges,
    client::{AT_ROOT, Ask},
};
use crate::{
    appservice::Service,
    outbound::OutboundError,
    rooms::Error,
    store::{StoreError, accounts},
};

/// How many users are asked for at once, as in a new room.
const MAX_USERS: usize = 50;

/// Why a service could not be pinged.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// It has no address.
    #[error("the application service has no URL")]
    NoUrl,
    /// It does not want this server's token, or the like.
    #[error("the ping was answered with the status {status}")]
    BadStatus {
        /// The status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// It did not answer in time.
    #[error("the ping was not answered in time")]
    Timeout,
    /// It cannot be reached.
    #[error("the application service cannot be reached")]
    Unreachable(#[source] OutboundError),
}

impl Bridges {
    /// Whether a service can be reached, and how long that takes.
    ///
    /// # Errors
    /// Why not.
    pub async fn ping(
        &self,
        service: &Service,
        transaction_id: Option<&str>,
    ) -> Result<Duration, PingError> {
        let body = match transaction_id {
            Some(id) => json!({ "transaction_id": id }),
            None => json!({}),
        };
        let ask = Ask {
            method: Method::POST,
            path: &["ping"],
            query: &[],
            body: Some(body.to_string().into()),
            older: None,
        };
        let since = Instant::now();
        match self.ask(service, &ask).await {
            None => Err(PingError::NoUrl),
            Some(Ok(answer)) if answer.status.is_success() => Ok(since.elapsed()),
            Some(Ok(answer)) => Err(PingError::BadStatus {
                status: answer.status.as_u16(),
                body: String::from_utf8_lossy(&answer.body).into_owned(),
            }),
            Some(Err(OutboundError::Timeout)) => Err(PingError::Timeout),
            Some(Err(error)) => Err(PingError::Unreachable(error)),
        }
    }

    /// The room of an alias. A service whose alias it is may make the room first.
    ///
    /// # Errors
    /// As [`Rooms::resolve_alias`](crate::rooms::Rooms::resolve_alias).
    pub async fn resolve_alias(&self, alias: &RoomAliasId) -> Result<OwnedRoomId, Error> {
        let rooms = &self.0.parts.rooms;
        match rooms.resolve_alias(alias).await {
            Err(Error::UnknownAlias) if self.make_alias(alias).await => {
                rooms.resolve_alias(alias).await
            }
            found => found,
        }
    }

    /// Lets a service make the room of an alias that somebody wants to enter, where that is needed.
    pub async fn prepare_room(&self, room: &RoomOrAliasId) -> Result<(), Error> {
        let Ok(alias) = <&RoomAliasId>::try_from(room) else {
            return Ok(());
        };
        let services = self.0.parts.services.load();
        if services.services().is_empty() {
            return Ok(());
        }
        drop(services);
        match self.resolve_alias(alias).await {
            // Whoever asks next says so.
            Ok(_) | Err(Error::UnknownAlias | Error::Unreachable) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks the services whose alias this is; `true`: one has made the room.
    async fn make_alias(&self, alias: &RoomAliasId) -> bool {
        if alias.server_name() != self.0.settings.server_name {
            return false;
        }
        let services = self.0.parts.services.load_full();
        let theirs = services.services().iter();
        for service in theirs.filter(|service| service.covers_alias(alias)) {
            if self.exists(service, &["rooms", alias.as_str()]).await {
                return true;
            }
        }
        false
    }

    /// Lets services make users of theirs that have no account yet: somebody wants to invite them,
    /// or to see who they are.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prepare_users(&self, user_ids: &[&UserId]) -> Result<(), StoreError> {
        let services = self.0.parts.services.load_full();
        let service_of = |user_id: &UserId| -> Option<&Arc<Service>> {
            let mut services = services.services().iter();
            services.find(|service| service.url().is_some() && service.may_create_user(user_id))
        };
        let theirs: Vec<OwnedUserId> = user_ids
            .iter()
            .filter(|user_id| service_of(user_id).is_some())
            .take(MAX_USERS)
            .map(|user_id| (*user_id).to_owned())
            .collect();
        if theirs.is_empty() {
            return Ok(());
        }
        let mut conn = self.0.parts.store.conn().await?;
        let known = accounts::list_existing(&mut conn, &theirs).await?;
        drop(conn);
        let unknown = theirs.iter().filter(|user_id| !known.contains(*user_id));
        let asked = unknown.filter_map(|user_id| {
            let service = service_of(user_id)?;
            Some(async move { self.exists(service, &["users", user_id.as_str()]).await })
        });
        join_all(asked).await;
        Ok(())
    }

    async fn exists(&self, service: &Service, path: &[&str]) -> bool {
        let ask = Ask {
            method: Method::GET,
            path,
            query: &[],
            body: None,
            older: Some(AT_ROOT),
        };
        match self.ask(service, &ask).await {
            None => false,
            Some(Ok(answer)) => answer.status.is_success(),
            Some(Err(error)) => {
                tracing::warn!(service = service.id(), %error, "an application service was asked in vain");
                false
            }
        }
    }
}
