//! Who asks: tokens that name a user to this service, and the service's own access tokens.
//!
//! Client-server API v1.19, "OpenID"; identity service API v1.19, "Authentication".

use std::time::Duration;

use ruma::{OwnedUserId, ServerName, UserId};
use zeroize::Zeroizing;

use super::{Error, Identity};
use crate::{
    accounts::Requester,
    store::{UserNid, access_tokens::TokenHash, identity},
};

/// How long a token is good that names its user to another service.
const OPENID_LIFETIME: Duration = Duration::from_hours(1);

/// How long an access token of this service is good; clients then ask for another.
const TOKEN_LIFETIME: Duration = Duration::from_hours(24 * 60);

/// How many access tokens one user has at most, beside the newest.
const MAX_TOKENS: i64 = 49;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 255;

/// A token that names its user to another service.
pub struct OpenIdToken {
    /// The token.
    pub token: Zeroizing<String>,
    /// How long it is good.
    pub expires_in: Duration,
}

/// Who holds an access token of this service.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The user.
    pub user: UserNid,
    /// The user's id.
    pub user_id: OwnedUserId,
}

impl Identity {
    /// Makes a token that proves to another service who the requester is, and nothing else
    /// (`POST /user/{userId}/openid/request_token`).
    pub async fn openid_token(&self, requester: &Requester) -> Result<OpenIdToken, Error> {
        let token = Zeroizing::new(self.0.random.secret("cho_"));
        let expires = self.later(OPENID_LIFETIME);
        let mut conn = self.0.store.conn().await?;
        let hash = TokenHash::of(&token);
        identity::insert_openid_token(&mut conn, hash, requester.user(), expires).await?;
        Ok(OpenIdToken {
            token,
            expires_in: OPENID_LIFETIME,
        })
    }

    /// Whom such a token names: what the federation's `GET /openid/userinfo` tells.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] for a token that is unknown or works no more.
    pub async fn openid_user(&self, token: &str) -> Result<Holder, Error> {
        if token.len() > MAX_TOKEN {
            return Err(Error::Unauthorized);
        }
        let mut conn = self.0.store.conn().await?;
        let now = self.0.clock.now_i64();
        let found = identity::find_openid_user(&mut conn, TokenHash::of(token), now).await?;
        let (user, user_id) = found.ok_or(Error::Unauthorized)?;
        Ok(Holder { user, user_id })
    }

    /// Makes an access token of this service for whom an OpenID token names
    /// (`POST /account/register`).
    ///
    /// # Errors
    /// [`Error::Unauthorized`] also for a token of another server: only people of this one use its
    /// identity service.
    pub async fn register(
        &self,
        server_name: &str,
        openid_token: &str,
    ) -> Result<Zeroizing<String>, Error> {
        let server = ServerName::parse(server_name)
            .map_err(|_| Error::InvalidParam("matrix_server_name is no server name"))?;
        if server != self.0.settings.server_name {
            return Err(Error::Unauthorized);
        }
        let holder = self.openid_user(openid_token).await?;
        let token = Zeroizing::new(self.0.random.secret("chi_"));
        let (now, expires) = (self.0.clock.now_i64(), self.later(TOKEN_LIFETIME));
        let hash = TokenHash::of(&token);
        let mut conn = self.0.store.conn().await?;
        identity::insert_token(&mut conn, hash, holder.user, now, expires, MAX_TOKENS).await?;
        Ok(token)
    }

    /// Who holds an access token of this service.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] for a token that is unknown or works no more.
    pub async fn authenticate(&self, token: &str) -> Result<Holder, Error> {
        if token.len() > MAX_TOKEN {
            return Err(Error::Unauthorized);
        }
        let mut conn = self.0.store.conn().await?;
        let now = self.0.clock.now_i64();
        let found = identity::find_token_user(&mut conn, TokenHash::of(token), now).await?;
        let (user, user_id) = found.ok_or(Error::Unauthorized)?;
        Ok(Holder { user, user_id })
    }

    /// Ends an access token of this service.
    pub async fn log_out(&self, token: &str) -> Result<(), Error> {
        let mut conn = self.0.store.conn().await?;
        identity::delete_token(&mut conn, TokenHash::of(token)).await?;
        Ok(())
    }

    /// Writes down which documents somebody accepted. Addresses that are none of ours are not kept.
    pub async fn accept_terms(&self, holder: &Holder, urls: &[String]) -> Result<(), Error> {
        let known = |url: &&String| {
            self.terms().iter().any(|terms| {
                [&terms.url_fr, &terms.url_en]
                    .iter()
                    .any(|own| own.as_str() == **url)
            })
        };
        let urls: Vec<String> = urls.iter().filter(known).cloned().collect();
        if urls.is_empty() {
            return Ok(());
        }
        let mut conn = self.0.store.conn().await?;
        let now = self.0.clock.now_i64();
        identity::insert_terms(&mut conn, holder.user, &urls, now).await?;
        Ok(())
    }

    /// Whether a user belongs to this server.
    pub(super) fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.0.settings.server_name
    }

    /// The time after `by`, in milliseconds since the epoch.
    pub(super) fn later(&self, by: Duration) -> i64 {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.clock.now_i64().saturating_add(by)
    }
}
