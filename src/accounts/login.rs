//! Logging in.
//!
//! Specification v1.19, client-server API, "Login"; tchap.md 2.7.

use std::net::IpAddr;

use ruma::{UserId, api::client::uiaa::UserIdentifier};
use zeroize::Zeroizing;

use super::{Accounts, Error, NewSession, Session, client_subject, has_control_characters};
use crate::{
    policy::EmailAddress,
    store::{
        Store, account_holds,
        accounts::{self, Account},
    },
};

/// Whom somebody says they are.
#[derive(Clone)]
pub enum Identifier {
    /// A user id, or its local part.
    User(String),
    /// An e-mail address, in any form.
    Email(String),
}

impl Identifier {
    /// From the `identifier` of a request, or from the fields that stood in its place before:
    /// `user`, or `medium` and `address`. `None`: there is none, or it is of a kind that accounts
    /// here do not have.
    pub fn from_request(
        identifier: Option<&UserIdentifier>,
        user: Option<&str>,
        medium: Option<&str>,
        address: Option<&str>,
    ) -> Option<Self> {
        match (identifier, user, medium, address) {
            (Some(UserIdentifier::Matrix(id)), ..) => Some(Self::User(id.user.clone())),
            (Some(UserIdentifier::Email(id)), ..) => Some(Self::Email(id.address.clone())),
            (None, Some(user), ..) => Some(Self::User(user.to_owned())),
            (None, None, Some("email"), Some(address)) => Some(Self::Email(address.to_owned())),
            _ => None,
        }
    }
}

/// A login with a password.
pub struct PasswordLogin {
    /// Who it is.
    pub identifier: Identifier,
    /// The password.
    pub password: Zeroizing<String>,
    /// The device.
    pub session: NewSession,
    /// The client's address.
    pub client: Option<IpAddr>,
}

impl Accounts {
    /// Whether people may log in with a password.
    pub fn offers_password_login(&self) -> bool {
        self.0.settings.sessions.password_login
    }

    /// Logs in with a password.
    ///
    /// A wrong password, an unknown user and a closed account get the same answer after the same
    /// work, [`Error::Forbidden`]. [`Error::LimitExceeded`] after too many of them. An account that
    /// has expired gets a session, which can only renew it (AV-20); a locked one gets
    /// [`Error::Locked`].
    pub async fn login(&self, login: PasswordLogin) -> Result<Session, Error> {
        if !self.offers_password_login() {
            return Err(Error::UnknownLoginType);
        }
        let account = self
            .check_password(&login.identifier, &login.password, login.client)
            .await?
            .ok_or(Error::Forbidden("invalid user name or password"))?;
        self.log_in(&account, login.session).await
    }

    /// Gives an account another session, if it may have one.
    pub(super) async fn log_in(
        &self,
        account: &Account,
        session: NewSession,
    ) -> Result<Session, Error> {
        Self::may_log_in(account)?;
        let may_replace = session.device_id.is_some();
        let mut tx = self.0.store.begin().await?;
        if account_holds::find(&mut tx, account.user).await?.is_locked {
            return Err(Error::Locked);
        }
        let session = self
            .start_session(&mut tx, account.user, &account.user_id, session)
            .await?;
        Store::commit(tx).await?;
        if may_replace {
            self.forget_sessions(account.user);
        }
        Ok(session)
    }

    /// The account that has this name and this password.
    pub(super) async fn check_password(
        &self,
        identifier: &Identifier,
        password: &Zeroizing<String>,
        client: Option<IpAddr>,
    ) -> Result<Option<Account>, Error> {
        let account = self.find_account(identifier).await?;
        let name = match (&account, identifier) {
            (Some(account), _) => account.user_id.to_string(),
            (None, Identifier::User(name) | Identifier::Email(name)) => name.to_lowercase(),
        };
        // Per account and client: somebody else's failures do not lock people out.
        let subject = format!("{} {name}", client_subject(client));
        // Taken in advance, so that many tries at once are not one try.
        let now_ms = self.0.clock.now_ms();
        self.0.login_failed.try_take(&subject, now_ms)?;
        let hash = account
            .as_ref()
            .and_then(|account| account.password_hash.clone());
        let verified = self.0.hasher.verify(password, hash).await;
        if !matches!(verified, Ok(false)) {
            self.0.login_failed.give_back(&subject);
        }
        let fits = verified?;
        Ok(account.filter(|_| fits))
    }

    async fn find_account(&self, identifier: &Identifier) -> Result<Option<Account>, Error> {
        let mut conn = self.0.store.conn().await?;
        match identifier {
            Identifier::Email(address) => {
                let Ok(address) = EmailAddress::parse(address) else {
                    return Ok(None);
                };
                Ok(accounts::find_by_address(&mut conn, address.as_str()).await?)
            }
            Identifier::User(name) if has_control_characters(name) => Ok(None),
            Identifier::User(name) => {
                // People type capitals, and no user id of ours has any.
                let name = name.trim().to_lowercase();
                let server = &self.0.settings.server_name;
                let Ok(user_id) = UserId::parse_with_server_name(name, server) else {
                    return Ok(None);
                };
                Ok(accounts::find(&mut conn, &user_id).await?)
            }
        }
    }
}
