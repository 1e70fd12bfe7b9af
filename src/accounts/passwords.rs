//! Changing a password, logged in or by mail.
//!
//! Specification v1.19, client-server API, "Password management"; tchap.md 2.6.

use std::net::IpAddr;

use ruma::{
    OwnedDeviceId, OwnedUserId,
    api::client::uiaa::{AuthData, AuthType},
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Accounts, Error, Requester, interactive_auth::Operation};
use crate::{
    audit::{Actor, action},
    policy::EmailAddress,
    store::{
        Conn, DeviceNid, Store, UserNid, access_tokens, accounts, devices,
        interactive_auth::Results,
        threepids::{self, Purpose},
    },
};

/// A request to change a password.
pub struct PasswordChange {
    /// The new password.
    pub new_password: Zeroizing<String>,
    /// Whether all other devices are logged out; `None`: the client does not say.
    pub logout_devices: Option<bool>,
    /// The stage of authentication.
    pub auth: Option<AuthData>,
    /// The client's address.
    pub client: Option<IpAddr>,
}

/// Which devices a new password logs out.
pub(super) enum Logout {
    /// None.
    Nobody,
    /// All but the one in use, if there is one.
    AllBut(Option<DeviceNid>),
}

/// A password that was changed.
#[derive(Clone, Debug)]
pub struct PasswordChanged {
    /// Whose it is.
    pub user: UserNid,
    /// Whose it is.
    pub user_id: OwnedUserId,
    /// The devices that were removed, for layers that keep lists of devices.
    pub removed: Vec<OwnedDeviceId>,
}

impl Accounts {
    /// What a password must contain, as clients ask for it (MSC2000).
    pub fn password_policy(&self) -> Map<String, Value> {
        self.0.policy.load().password_policy()
    }

    /// Changes the password of the requester, or of whoever proves an address of an account.
    pub async fn change_password(
        &self,
        requester: Option<&Requester>,
        request: PasswordChange,
    ) -> Result<PasswordChanged, Error> {
        let keeps = requester.is_some() && self.0.policy.load().new_password_keeps_devices();
        let logs_out = request.logout_devices.unwrap_or(!keeps);
        let mut flows = vec![vec![AuthType::EmailIdentity]];
        if requester.is_some() {
            flows.insert(0, vec![AuthType::Password]);
        }
        let operation = Operation {
            name: "password",
            user: requester.map(Requester::user),
            parameters: vec![if logs_out { "all" } else { "one" }],
            flows,
            purpose: Purpose::Password,
            client: request.client,
        };
        let auth = request.auth.as_ref();
        let progress = self.find_progress(&operation, auth).await?;
        let password_hash = self
            .hash_once(&progress, Some(&request.new_password))
            .await?;
        let learned = Results {
            password_hash,
            ..Results::default()
        };
        let passed = self.advance(&operation, progress, auth, learned).await?;
        let hash = passed
            .results
            .password_hash
            .as_deref()
            .ok_or(Error::MissingParam("new_password"))?;

        let mut tx = self.0.store.begin().await?;
        self.finish(&mut tx, &passed).await?;
        let proved = passed.results.address.as_deref();
        let (user, user_id) = match (requester, proved) {
            (Some(requester), _) => (requester.user(), requester.user_id().to_owned()),
            (None, Some(address)) => self.owner(&mut tx, address).await?,
            (None, None) => return Err(Error::Forbidden("nobody is logged in")),
        };
        if let Some(address) = proved {
            threepids::delete_validations_of(&mut tx, Purpose::Password, address).await?;
        }
        let kept = requester.and_then(Requester::device);
        let logout = if logs_out {
            Logout::AllBut(kept)
        } else {
            Logout::Nobody
        };
        let removed = self.set_password(&mut tx, user, hash, logout).await?;
        Store::commit(tx).await?;
        self.forget_sessions(user);
        self.tell_of_devices(user).await;
        tracing::info!(user.id = %user_id, "a password was changed");
        let actor = Actor::User(user_id.clone());
        self.note(action::PASSWORD_CHANGED, actor, &user_id);
        Ok(PasswordChanged {
            user,
            user_id,
            removed,
        })
    }

    async fn owner(&self, conn: &mut Conn, address: &str) -> Result<(UserNid, OwnedUserId), Error> {
        let account = accounts::find_by_address(conn, address)
            .await?
            .ok_or(Error::ThreepidNotFound)?;
        Self::may_log_in(&account)?;
        Ok((account.user, account.user_id))
    }

    /// Sets a password, and logs devices out. The removed devices come back.
    pub(super) async fn set_password(
        &self,
        conn: &mut Conn,
        user: UserNid,
        password_hash: &str,
        logout: Logout,
    ) -> Result<Vec<OwnedDeviceId>, Error> {
        if !accounts::update_password(conn, user, Some(password_hash)).await? {
            return Err(Error::Deactivated);
        }
        let kept = match logout {
            Logout::Nobody => return Ok(Vec::new()),
            Logout::AllBut(kept) => kept,
        };
        let removed = devices::delete_all_but(conn, user, kept).await?;
        access_tokens::notify_changed(conn, user).await?;
        Ok(removed)
    }

    /// Checks a new password against the policy, and hashes it.
    pub(super) async fn hash_new_password(
        &self,
        password: &Zeroizing<String>,
    ) -> Result<Zeroizing<String>, Error> {
        if let Some(problem) = self.0.policy.load().password_problem(password) {
            return Err(problem.into());
        }
        self.0.hasher.hash(password).await
    }

    /// The user who has an e-mail address, in any form, for layers that invite by mail.
    pub async fn find_by_email(&self, address: &str) -> Result<Option<OwnedUserId>, Error> {
        let Ok(address) = EmailAddress::parse(address) else {
            return Ok(None);
        };
        let mut conn = self.0.store.conn().await?;
        let account = accounts::find_by_address(&mut conn, address.as_str()).await?;
        Ok(account
            .filter(|account| !account.is_deactivated)
            .map(|account| account.user_id))
    }
}
