//! Letting another client log in: a token from a session, good once and soon.
//!
//! Specification v1.19, client-server API, `POST /login/get_token` and "Token-based user login".

use std::{net::IpAddr, time::Duration};

use ruma::api::client::uiaa::{AuthData, AuthType};
use zeroize::Zeroizing;

use super::{
    Accounts, Error, NewSession, Requester, Session, interactive_auth::Operation, sessions::later,
};
use crate::store::{
    Store, access_tokens::TokenHash, accounts, interactive_auth::Results, login_tokens,
    threepids::Purpose,
};

/// How long a token is good.
const LIFETIME: Duration = Duration::from_mins(2);

/// A token for another client.
pub struct LoginToken {
    /// The token.
    pub token: Zeroizing<String>,
    /// How long it is good.
    pub expires_in: Duration,
}

impl Accounts {
    /// Whether people may let another client log in with a token.
    pub fn offers_login_tokens(&self) -> bool {
        self.0.settings.sessions.login_tokens
    }

    /// Makes a token with which another client logs in as the requester, who proves each time
    /// who they are.
    ///
    /// # Errors
    /// [`Error::UnknownLoginType`] where that is not offered; those of user-interactive
    /// authentication.
    pub async fn login_token(
        &self,
        requester: &Requester,
        auth: Option<&AuthData>,
        client: Option<IpAddr>,
    ) -> Result<LoginToken, Error> {
        if !self.offers_login_tokens() {
            return Err(Error::UnknownLoginType);
        }
        let operation = Operation {
            name: "login_token",
            user: Some(requester.user()),
            parameters: Vec::new(),
            flows: vec![vec![AuthType::Password], vec![AuthType::EmailIdentity]],
            purpose: Purpose::Password,
            client,
        };
        let progress = self.find_progress(&operation, auth).await?;
        let passed = self
            .advance(&operation, progress, auth, Results::default())
            .await?;
        let token = Zeroizing::new(self.0.random.secret("chl_"));
        let expires_ms = later(self.0.clock.now_i64(), LIFETIME);
        let mut tx = self.0.store.begin().await?;
        self.finish(&mut tx, &passed).await?;
        login_tokens::insert(&mut tx, TokenHash::of(&token), requester.user(), expires_ms).await?;
        Store::commit(tx).await?;
        Ok(LoginToken {
            token,
            expires_in: LIFETIME,
        })
    }

    /// Logs in with a token that [`login_token`](Self::login_token) made. It is used up.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for a token that is not good, and those of a login with a password.
    pub async fn login_with_token(
        &self,
        token: &str,
        session: NewSession,
        client: Option<IpAddr>,
    ) -> Result<Session, Error> {
        if !self.offers_login_tokens() {
            return Err(Error::UnknownLoginType);
        }
        // Guesses are hopeless, and cost little this way.
        let subject = format!("{} login token", super::client_subject(client));
        let now_ms = self.0.clock.now_ms();
        self.0.login_failed.check(&subject, now_ms)?;
        let account = {
            let now = self.0.clock.now_i64();
            let mut conn = self.0.store.conn().await?;
            match login_tokens::take(&mut conn, TokenHash::of(token), now).await? {
                Some(user) => accounts::find_by_number(&mut conn, user).await?,
                None => None,
            }
        };
        let Some(account) = account else {
            self.0.login_failed.take(&subject, now_ms);
            return Err(Error::Forbidden("invalid login token"));
        };
        self.log_in(&account, session).await
    }
}
