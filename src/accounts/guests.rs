//! Guest accounts of the specification: for people who look at rooms, and talk in those that let
//! guests in.
//!
//! Specification v1.19, client-server API, "Guest Access". They are not Tchap's external guests, and
//! there are none with Tchap's rules (REG-20).

use std::net::IpAddr;

use ruma::OwnedUserId;

use super::{
    Accounts, Error, NewSession, Registered, check_device, client_subject, register::Draft,
};
use crate::{
    audit::{Actor, action},
    store::{Conn, Store, UserNid, access_tokens, guests},
};

/// The length of the part of a guest's name that nobody chooses.
const NAME_LENGTH: usize = 16;

impl Accounts {
    /// Makes a guest account and its session.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where there are none; [`Error::LimitExceeded`].
    pub async fn register_guest(
        &self,
        device_name: Option<String>,
        client: Option<IpAddr>,
    ) -> Result<Registered, Error> {
        if !self.0.settings.registration.guests {
            return Err(Error::Forbidden("there are no guest accounts"));
        }
        check_device(None, device_name.as_deref())?;
        let now_ms = self.0.clock.now_ms();
        let subject = client_subject(client);
        self.0.registration.try_take(&subject, now_ms)?;
        let draft = Draft {
            password_hash: None,
            is_admin: false,
            is_external: false,
            is_guest: true,
            user_type: None,
            display_name: None,
        };
        let chosen = self.0.random.alphanumeric(NAME_LENGTH).to_lowercase();
        let mut tx = self.0.store.begin().await?;
        let made = self
            .insert_account(&mut tx, &format!("guest-{chosen}"), &draft)
            .await?;
        let (user, user_id) = made.ok_or(Error::UserInUse)?;
        let new = NewSession {
            device_name,
            ..NewSession::default()
        };
        let session = self.start_session(&mut tx, user, &user_id, new).await?;
        Store::commit(tx).await?;
        tracing::info!(user.id = %user_id, "a guest account was made");
        let actor = Actor::User(user_id.clone());
        self.note(action::ACCOUNT_CREATED, actor, &user_id);
        Ok(Registered {
            user,
            user_id,
            session: Some(session),
        })
    }

    /// The guest whose account is to become a usual one.
    ///
    /// # Errors
    /// [`Error::UnknownToken`]; [`Error::Forbidden`] for what is no guest account;
    /// [`Error::InvalidParam`] where the user name is not the guest's.
    pub(super) async fn guest_to_promote(
        &self,
        token: &str,
        username: Option<&str>,
    ) -> Result<(UserNid, OwnedUserId), Error> {
        let requester = self.authenticate(token).await?;
        if !requester.is_guest() {
            return Err(Error::Forbidden("this is no guest account"));
        }
        let user_id = requester.user_id();
        match username {
            Some(name) if name == user_id.localpart() => Ok((requester.user(), user_id.to_owned())),
            Some(_) => Err(Error::InvalidParam(
                "the user name is not that of the guest account",
            )),
            None => Err(Error::MissingParam("username")),
        }
    }

    /// Makes a guest account a usual one, in the transaction of the registration. Its sessions stay,
    /// and may do more.
    pub(super) async fn promote_guest(
        &self,
        conn: &mut Conn,
        user: UserNid,
        password_hash: &str,
    ) -> Result<(), Error> {
        if !guests::promote_guest(conn, user, password_hash).await? {
            return Err(Error::Forbidden("this is no guest account any more"));
        }
        access_tokens::notify_changed(conn, user).await?;
        Ok(())
    }
}
