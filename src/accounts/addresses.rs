//! The e-mail addresses of an account, as its owner changes them.
//!
//! Specification v1.19, client-server API, "Adding Account Administrative Contact Information";
//! tchap.md 2.2: in production people may not.

use std::net::IpAddr;

use ruma::api::client::uiaa::{AuthData, AuthType};

use super::{
    Accounts, EmailTokenRequest, Error, Requester,
    email_validation::{Reply, is_client_secret},
    interactive_auth::Operation,
};
use crate::{
    audit::action,
    policy::EmailAddress,
    store::{
        Store,
        access_tokens::TokenHash,
        interactive_auth::Results,
        threepids::{self, Purpose, Threepid},
    },
};

/// How many addresses an account may have.
const MAX_ADDRESSES: usize = 20;

/// An address to be added.
pub struct AddressAdd {
    /// The session of the mail.
    pub sid: String,
    /// The client's secret.
    pub client_secret: String,
    /// The stage of authentication.
    pub auth: Option<AuthData>,
    /// The client's address.
    pub client: Option<IpAddr>,
}

impl Accounts {
    /// The addresses of the requester's account.
    pub async fn threepids(&self, requester: &Requester) -> Result<Vec<Threepid>, Error> {
        let mut conn = self.0.store.conn().await?;
        Ok(threepids::list(&mut conn, requester.user()).await?)
    }

    /// Sends the mail that adding an address needs; the session's id comes back. The address must
    /// be one that may register here.
    ///
    /// An address that has an account gets no mail. Where the policy hides who has one, the answer
    /// is the same, else it is [`Error::ThreepidInUse`].
    pub async fn request_address_token(&self, request: EmailTokenRequest) -> Result<String, Error> {
        let policy = self.0.policy.load_full();
        policy.may_change_addresses().into_result()?;
        let address =
            EmailAddress::parse(&request.email).map_err(|error| Error::Denied(error.into()))?;
        self.check_may_register(&address).await?;
        let is_free = {
            let mut conn = self.0.store.conn().await?;
            let owner = threepids::find_user(&mut conn, address.as_str()).await?;
            owner.is_none()
        };
        if !is_free && policy.reveals_availability() {
            return Err(Error::ThreepidInUse);
        }
        let reply = if is_free { Reply::Link } else { Reply::Nothing };
        self.send_link(Purpose::Address, &address, request, reply)
            .await
    }

    /// Adds a proved address to the requester's account.
    ///
    /// # Errors
    /// [`Error::ThreepidAuthFailed`]: the link in the mail was not opened.
    pub async fn add_threepid(&self, requester: &Requester, add: AddressAdd) -> Result<(), Error> {
        self.may_change_addresses()?;
        let operation = Operation {
            name: "add address",
            user: Some(requester.user()),
            parameters: vec![&add.sid, &add.client_secret],
            flows: vec![vec![AuthType::Password]],
            purpose: Purpose::Password,
            client: add.client,
        };
        let auth = add.auth.as_ref();
        let progress = self.find_progress(&operation, auth).await?;
        let passed = self
            .advance(&operation, progress, auth, Results::default())
            .await?;
        let now = self.0.clock.now_i64();
        let proved = if is_client_secret(&add.sid) {
            let secret = TokenHash::of(&add.client_secret);
            let mut conn = self.0.store.conn().await?;
            threepids::find_validated(&mut conn, Purpose::Address, &add.sid, secret, now).await?
        } else {
            None
        };
        let proved = proved.ok_or(Error::ThreepidAuthFailed)?;
        let address = EmailAddress::parse(&proved).map_err(|error| Error::Denied(error.into()))?;
        // It may have changed since the mail.
        self.check_may_register(&address).await?;
        let mut tx = self.0.store.begin().await?;
        self.finish(&mut tx, &passed).await?;
        let user = requester.user();
        if threepids::list(&mut tx, user).await?.len() >= MAX_ADDRESSES {
            return Err(Error::InvalidParam("the account has too many addresses"));
        }
        self.add_address(&mut tx, user, &address).await?;
        threepids::delete_validations_of(&mut tx, Purpose::Address, address.as_str()).await?;
        Store::commit(tx).await?;
        self.note_addresses(requester);
        Ok(())
    }

    /// Takes an address from the requester's account; one that it does not have is no error.
    pub async fn delete_threepid(&self, requester: &Requester, address: &str) -> Result<(), Error> {
        self.may_change_addresses()?;
        let address = EmailAddress::parse(address).map_err(|error| Error::Denied(error.into()))?;
        let mut tx = self.0.store.begin().await?;
        threepids::delete(&mut tx, requester.user(), address.as_str()).await?;
        // Proofs that were asked for with it change no password any more.
        threepids::delete_validations_of(&mut tx, Purpose::Password, address.as_str()).await?;
        Store::commit(tx).await?;
        self.note_addresses(requester);
        Ok(())
    }

    fn note_addresses(&self, requester: &Requester) {
        let user_id = requester.user_id();
        self.note(action::ADDRESSES_CHANGED, requester.actor(), user_id);
    }

    /// Binds a proved address at an identity server. Ours finds people by the addresses of their
    /// accounts, so there is nothing to do for one of the requester's; others are not asked.
    ///
    /// # Errors
    /// [`Error::ServerNotTrusted`]; [`Error::ThreepidAuthFailed`] for an address that is not one
    /// of the requester's account.
    pub async fn bind_threepid(
        &self,
        requester: &Requester,
        id_server: &str,
        sid: &str,
        client_secret: &str,
    ) -> Result<(), Error> {
        self.may_change_addresses()?;
        if !self.is_own_identity_server(id_server) {
            return Err(Error::ServerNotTrusted);
        }
        if !is_client_secret(sid) {
            return Err(Error::ThreepidAuthFailed);
        }
        let now = self.0.clock.now_i64();
        let secret = TokenHash::of(client_secret);
        let mut conn = self.0.store.conn().await?;
        let proved = threepids::find_validated(&mut conn, Purpose::Address, sid, secret, now);
        let proved = proved.await?.ok_or(Error::ThreepidAuthFailed)?;
        match threepids::find_user(&mut conn, &proved).await? {
            Some(owner) if owner == requester.user() => Ok(()),
            _ => Err(Error::ThreepidAuthFailed),
        }
    }

    /// Whether people may change the addresses of their accounts.
    pub fn may_change_addresses(&self) -> Result<(), Error> {
        let policy = self.0.policy.load();
        Ok(policy.may_change_addresses().into_result()?)
    }

    fn is_own_identity_server(&self, name: &str) -> bool {
        let settings = &self.0.settings;
        let url = &settings.public_url;
        let host = url.host_str().unwrap_or_default();
        let with_port = url.port().map(|port| format!("{host}:{port}"));
        name == settings.server_name.as_str() || name == host || with_port.as_deref() == Some(name)
    }
}
