//! Closing an account for good.
//!
//! Specification v1.19, client-server API, `POST /account/deactivate`.

use std::net::IpAddr;

use ruma::{
    OwnedDeviceId, OwnedUserId, UserId,
    api::client::uiaa::{AuthData, AuthType},
};

use super::{
    Accounts, Error, Requester,
    interactive_auth::{Operation, Passed},
};
use crate::{
    audit::{Actor, action},
    store::{
        Conn, Store, UserNid, access_tokens, account_validity,
        account_work::WorkKind,
        accounts::{self, ClosedBy},
        delayed_events, devices, erased, former_addresses, identity,
        interactive_auth::Results,
        invitations, key_backup, login_tokens, profiles,
        threepids::{self, Purpose},
    },
};

/// A closed account: what layers above have to undo, which is safe to do again. That the user
/// leaves all rooms is written down with it: see [`Accounts::begin_work`].
#[derive(Clone)]
pub struct Deactivation {
    /// Whose account it was.
    pub user: UserNid,
    /// Whose account it was: the user leaves all rooms, and invites are refused.
    pub user_id: OwnedUserId,
    /// Whether what the user wrote is to be hidden from people who join later.
    pub erase: bool,
    /// Whether the account was open before.
    pub was_open: bool,
    /// The devices that were removed.
    pub devices: Vec<OwnedDeviceId>,
    /// The addresses that were removed, in canonical form: what is bound to them goes too.
    pub addresses: Vec<String>,
}

impl Accounts {
    /// Closes the requester's account.
    pub async fn deactivate(
        &self,
        requester: &Requester,
        erase: bool,
        auth: Option<&AuthData>,
        client: Option<IpAddr>,
    ) -> Result<Deactivation, Error> {
        let operation = Operation {
            name: "deactivate",
            user: Some(requester.user()),
            parameters: vec![if erase { "erase" } else { "keep" }],
            flows: vec![vec![AuthType::Password], vec![AuthType::EmailIdentity]],
            purpose: Purpose::Password,
            client,
        };
        let progress = self.find_progress(&operation, auth).await?;
        let passed = self
            .advance(&operation, progress, auth, Results::default())
            .await?;
        let user_id = requester.user_id().to_owned();
        let by = (ClosedBy::User, Actor::User(user_id.clone()));
        self.close((requester.user(), user_id), erase, by, Some(&passed))
            .await
    }

    /// Closes an account, with the proof if the person asks, without if somebody else does: `by` says
    /// who, for the account and for the audit log.
    pub(super) async fn close(
        &self,
        (user, user_id): (UserNid, OwnedUserId),
        erase: bool,
        (by, actor): (ClosedBy, Actor),
        passed: Option<&Passed>,
    ) -> Result<Deactivation, Error> {
        let mut tx = self.0.store.begin().await?;
        if let Some(passed) = passed {
            self.finish(&mut tx, passed).await?;
        }
        let now = self.0.clock.now_i64();
        let was_open = accounts::deactivate(&mut tx, user, now, erase, by).await?;
        let devices = devices::delete_all_but(&mut tx, user, None).await?;
        let addresses = threepids::delete_all(&mut tx, user).await?;
        identity::unbind_all(&mut tx, &user_id).await?;
        // IN-08.
        invitations::void_by_inviter(&mut tx, user).await?;
        if erase {
            erase_rest(&mut tx, user).await?;
        } else {
            former_addresses::insert(&mut tx, user, &addresses, now).await?;
        }
        forget(&mut tx, user, now).await?;
        self.ask_for_work(&mut tx, user, WorkKind::LeaveRooms)
            .await?;
        access_tokens::notify_changed(&mut tx, user).await?;
        Store::commit(tx).await?;
        self.forget_sessions(user);
        self.tell_of_devices(user).await;
        self.0.store.read_erased().await?;
        tracing::info!(user.id = %user_id, erase, ?by, "an account was closed");
        self.note_closed(actor, &user_id, erase);
        Ok(Deactivation {
            user,
            user_id,
            erase,
            was_open,
            devices,
            addresses,
        })
    }

    fn note_closed(&self, by: Actor, user_id: &UserId, erase: bool) {
        if erase {
            self.note(action::ACCOUNT_ERASED, by.clone(), user_id);
        }
        self.note(action::ACCOUNT_DEACTIVATED, by, user_id);
    }
}

/// Ends what an account has begun, and what it shows.
async fn forget(conn: &mut Conn, user: UserNid, now_ms: i64) -> Result<(), Error> {
    account_validity::delete(conn, user).await?;
    profiles::delete(conn, user).await?;
    delayed_events::cancel_all(conn, user, now_ms).await?;
    login_tokens::delete_all(conn, user).await?;
    Ok(())
}

/// Deletes what would be there again if the account were opened again, and lets newcomers see
/// nothing of what the user wrote.
async fn erase_rest(conn: &mut Conn, user: UserNid) -> Result<(), Error> {
    erased::notify_changed(conn).await?;
    former_addresses::delete(conn, user).await?;
    key_backup::delete_all(conn, user).await?;
    Ok(())
}
