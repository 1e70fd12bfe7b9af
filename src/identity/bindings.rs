//! Binding addresses to users (identity service API v1.19, "Establishing associations"), and what
//! the servers of one deployment tell each other (tchap.md, 12, rows 3 and 4).

use ruma::{CanonicalJsonObject, OwnedUserId, UserId};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::{Error, Holder, Identity, parse};
use crate::{
    accounts::Accounts,
    policy::EmailAddress,
    store::{
        Store, access_tokens::TokenHash, accounts, identity, invitations,
        threepids::ValidationState,
    },
};

/// For how long a binding is said to be good: a hundred years, since it ends when it is taken away.
const VALIDITY_MS: i64 = 100 * 365 * 24 * 60 * 60 * 1000;

/// An address that was proved, or one that is bound.
#[derive(Clone, Debug)]
pub struct Association {
    /// The address.
    pub address: String,
    /// When it was proved.
    pub validated_ms: i64,
}

impl Identity {
    /// The session with this id and secret, if it is not over.
    async fn session(
        &self,
        accounts: &Accounts,
        sid: &str,
        client_secret: &str,
    ) -> Result<ValidationState, Error> {
        let found = accounts.identity_validation(sid, client_secret).await?;
        let session = found.ok_or(Error::NoSession)?;
        if session.expires_ms <= self.0.clock.now_i64() {
            return Err(Error::SessionExpired);
        }
        Ok(session)
    }

    /// The address that a session proved.
    ///
    /// # Errors
    /// [`Error::NoSession`], [`Error::SessionExpired`], [`Error::NotValidated`].
    pub async fn validated(
        &self,
        accounts: &Accounts,
        sid: &str,
        client_secret: &str,
    ) -> Result<Association, Error> {
        let session = self.session(accounts, sid, client_secret).await?;
        Ok(Association {
            validated_ms: session.validated_ms.ok_or(Error::NotValidated)?,
            address: session.address,
        })
    }

    /// Checks that a token is the one that a session's mail carries.
    ///
    /// # Errors
    /// [`Error::NoSession`], [`Error::SessionExpired`], [`Error::WrongToken`].
    pub async fn check_token(
        &self,
        accounts: &Accounts,
        sid: &str,
        client_secret: &str,
        token: &str,
    ) -> Result<(), Error> {
        let session = self.session(accounts, sid, client_secret).await?;
        let given = TokenHash::of(token);
        if bool::from(given.as_bytes().ct_eq(&session.token)) {
            Ok(())
        } else {
            Err(Error::WrongToken)
        }
    }

    /// Binds the address that a session proved to its user, and gives the signed association.
    ///
    /// # Errors
    /// Those of [`Self::validated`]; [`Error::NotYours`] for another user than the token's;
    /// [`Error::Denied`] where the address belongs to another server or needs an invitation
    /// (CK rows); [`Error::InUse`].
    pub async fn bind(
        &self,
        accounts: &Accounts,
        holder: &Holder,
        sid: &str,
        client_secret: &str,
        user_id: &UserId,
    ) -> Result<CanonicalJsonObject, Error> {
        let proved = self.validated(accounts, sid, client_secret).await?;
        if user_id != holder.user_id {
            return Err(Error::NotYours("an address is bound to its own user only"));
        }
        let address = parse(&proved.address)?;
        accounts.check_may_register(&address).await?;
        self.bind_to(&address, user_id).await?;
        let now = self.0.clock.now_i64();
        self.sign(&json!({
            "address": address.as_str(),
            "medium": "email",
            "mxid": user_id,
            "not_before": now,
            "not_after": now.saturating_add(VALIDITY_MS),
            "ts": proved.validated_ms,
        }))
    }

    /// Takes a binding away.
    ///
    /// # Errors
    /// [`Error::NotYours`] for another user than the token's, unless a session proves the address,
    /// and for the address of an account, which is bound as long as it is one;
    /// [`Error::NotFound`].
    pub async fn unbind(
        &self,
        accounts: &Accounts,
        holder: &Holder,
        session: Option<(&str, &str)>,
        user_id: &UserId,
        address: &str,
    ) -> Result<(), Error> {
        let address = parse(address)?;
        match session {
            Some((sid, client_secret)) => {
                let proved = self.validated(accounts, sid, client_secret).await?;
                if proved.address != address.as_str() {
                    return Err(Error::NotYours("the session proves another address"));
                }
            }
            None if user_id != holder.user_id => {
                return Err(Error::NotYours("this address is bound to another user"));
            }
            None => (),
        }
        self.unbind_from(&address, user_id).await
    }

    /// Binds an address on behalf of another server of the deployment, or of this one.
    ///
    /// # Errors
    /// [`Error::NotYours`] where the user's server is not the address's; [`Error::InUse`].
    pub async fn bind_internal(&self, address: &str, user_id: &UserId) -> Result<(), Error> {
        let parsed = parse(address)?;
        let policy = self.0.policy.load();
        let may = policy.may_be_bound(&parsed, user_id.server_name());
        if !may.is_allowed() {
            return Err(Error::NotYours("binding not permitted"));
        }
        drop(policy);
        self.bind_to(&parsed, user_id).await
    }

    /// Takes a binding away on behalf of another server of the deployment. One that is not there
    /// is as good.
    pub async fn unbind_internal(&self, address: &str, user_id: &UserId) -> Result<(), Error> {
        match self.unbind_from(&parse(address)?, user_id).await {
            Err(Error::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    async fn bind_to(&self, address: &EmailAddress, user_id: &UserId) -> Result<(), Error> {
        if user_id.as_str().contains('\0') {
            return Err(Error::InvalidParam("the user id is not valid"));
        }
        let now = self.0.clock.now_i64();
        let mut tx = self.0.store.begin().await?;
        let owner = identity::find_bound(&mut tx, address.as_str()).await?;
        let taken = |owner: OwnedUserId| Err(Error::InUse { owner });
        match owner {
            Some(owner) if owner != user_id => return taken(owner),
            // The address of the account itself.
            Some(_) => (),
            None => {
                if !identity::bind(&mut tx, address.as_str(), user_id, now).await? {
                    let owner = identity::find_bound(&mut tx, address.as_str()).await?;
                    return taken(owner.unwrap_or_else(|| user_id.to_owned()));
                }
            }
        }
        let account = if self.is_local(user_id) {
            let account = accounts::find(&mut tx, user_id).await?;
            let account = account.filter(|account| !account.is_deactivated);
            Some(account.ok_or(Error::NotFound("the user"))?)
        } else {
            None
        };
        if let Some(account) = &account {
            invitations::bind(&mut tx, address.as_str(), account.user, now).await?;
        }
        Store::commit(tx).await?;
        if let Some(account) = account {
            self.deliver_soon(account.user).await;
        }
        Ok(())
    }

    async fn unbind_from(&self, address: &EmailAddress, user_id: &UserId) -> Result<(), Error> {
        let mut conn = self.0.store.conn().await?;
        if identity::unbind(&mut conn, address.as_str(), user_id).await? {
            return Ok(());
        }
        match identity::find_bound(&mut conn, address.as_str()).await? {
            Some(owner) if owner == user_id => {
                Err(Error::NotYours("the address belongs to the account"))
            }
            _ => Err(Error::NotFound("the binding")),
        }
    }
}
