//! Server notices: what the operator tells a user, in a room of its own.
//!
//! Specification v1.19, client-server API, "Server Notices"; tchap.md 10.1 and 12, row 33. Each
//! user has one such room, made when it is first needed, in which only the server writes. It is
//! never encrypted, and the invitation to it cannot be refused.

use std::sync::Arc;

use ruma::{
    OwnedEventId, OwnedMxcUri, OwnedRoomId, OwnedServerName, OwnedUserId, TransactionId, UserId,
    api::client::room::create_room,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde_json::{json, value::RawValue};

use crate::{
    accounts::{self, Accounts},
    rooms::{self, Actor, Rooms},
    store::{
        DeviceNid, Store, StoreError,
        accounts::{self as account_rows, Account},
        live::NOTICES,
        notice_rooms,
    },
};

/// What the person may do in the room: read.
const READER: i32 = -10;

/// What the notices look like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server's name.
    pub server_name: OwnedServerName,
    /// The local part of the user who writes; `None`: there are no notices.
    pub local_part: Option<String>,
    /// The name that this user and the rooms have.
    pub display_name: String,
    /// The picture of this user and the rooms.
    pub avatar_url: Option<OwnedMxcUri>,
}

/// Why a notice was not sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No user is named who would write them.
    #[error("server notices are not configured")]
    Off,
    /// There is no open account with this id here.
    #[error("unknown user")]
    UnknownUser,
    /// The room could not be made or written to.
    #[error(transparent)]
    Rooms(#[from] rooms::Error),
    /// The user who writes could not be made.
    #[error(transparent)]
    Accounts(#[from] accounts::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sends notices. Cheap to clone.
#[derive(Clone)]
pub struct Notices(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    accounts: Accounts,
    rooms: Rooms,
}

impl Notices {
    /// A service that has made no room yet.
    pub fn new(settings: Settings, store: Store, accounts: Accounts, rooms: Rooms) -> Self {
        Self(Arc::new(Inner {
            settings,
            store,
            accounts,
            rooms,
        }))
    }

    /// Tells a user something. The same `transaction_id` of the same device, which is that of the
    /// administrator who asks, does not send twice.
    ///
    /// # Errors
    /// [`Error::Off`], [`Error::UnknownUser`], and what the rooms say of the content.
    pub async fn send(
        &self,
        to: &UserId,
        event_type: TimelineEventType,
        content: &RawValue,
        transaction_id: &TransactionId,
        device: Option<DeviceNid>,
    ) -> Result<OwnedEventId, Error> {
        let sender = self.sender().await?;
        let recipient = self.account(to).await?.ok_or(Error::UnknownUser)?;
        let room_id = self.room(&sender, &recipient).await?;
        let rooms = &self.0.rooms;
        let sender = Actor { device, ..sender };
        Ok(rooms
            .send_message(&sender, &room_id, event_type, content, transaction_id)
            .await?)
    }

    /// The user who writes; made with the first notice, without a password, so that nobody logs in.
    async fn sender(&self) -> Result<Actor, Error> {
        let settings = &self.0.settings;
        let local_part = settings.local_part.as_deref().ok_or(Error::Off)?;
        let user_id = UserId::parse(format!("@{local_part}:{}", settings.server_name));
        let user_id: OwnedUserId = user_id.map_err(|_| Error::Off)?;
        if let Some(account) = self.account(&user_id).await? {
            return Ok(actor(&account));
        }
        // An administrator, for whom no rule of rooms holds (RO-16).
        let accounts = &self.0.accounts;
        let made = accounts.create_own_user(local_part, &settings.display_name);
        match made.await {
            // Somebody else may have made it just now.
            Ok(_) | Err(accounts::Error::UserInUse) => {}
            Err(error) => return Err(error.into()),
        }
        let account = self.account(&user_id).await?.ok_or(Error::Off)?;
        Ok(actor(&account))
    }

    async fn account(&self, user_id: &UserId) -> Result<Option<Account>, Error> {
        let mut conn = self.0.store.conn().await?;
        let found = account_rows::find(&mut conn, user_id).await?;
        Ok(found.filter(|account| !account.is_deactivated))
    }

    /// The room of a user, in which they are at least invited.
    async fn room(&self, sender: &Actor, recipient: &Account) -> Result<OwnedRoomId, Error> {
        let rooms = &self.0.rooms;
        // Two notices at once must not make two rooms.
        let mut tx = self.0.store.begin().await?;
        if let Some(room_id) = notice_rooms::lock(&mut tx, recipient.user).await?
            && let Some(room) = rooms.find_room(&room_id).await?
        {
            let head = room.head();
            let membership = head.room().membership(&recipient.user_id);
            if !matches!(membership, MembershipState::Join | MembershipState::Invite) {
                rooms
                    .invite(sender, &room_id, &recipient.user_id, None)
                    .await?;
            }
            return Ok(room_id);
        }
        let room_id = rooms.create(sender, &self.request(recipient)?).await?;
        notice_rooms::set(&mut tx, recipient.user, &room_id).await?;
        Store::commit(tx).await?;
        rooms
            .set_tag(&actor(recipient), &room_id, NOTICES, json!({}))
            .await?;
        Ok(room_id)
    }

    fn request(&self, recipient: &Account) -> Result<create_room::v3::Request, Error> {
        let bad = |error: serde_json::Error| {
            Error::Rooms(rooms::Error::Invalid(format!("the notices' room: {error}")))
        };
        let settings = &self.0.settings;
        let guests = json!({ "guest_access": "forbidden" });
        let picture = settings
            .avatar_url
            .as_ref()
            .map(|url| json!({ "url": url }));
        let initial = [
            ("m.room.guest_access", Some(guests)),
            ("m.room.avatar", picture),
        ];
        let initial = initial.into_iter().filter_map(|(event_type, content)| {
            let content = content?;
            Some(json!({ "type": event_type, "state_key": "", "content": content }))
        });
        let levels = json!({ "users_default": READER });
        let mut request = create_room::v3::Request::new();
        request.preset = Some(create_room::v3::RoomPreset::PrivateChat);
        request.name = Some(settings.display_name.clone());
        request.invite = vec![recipient.user_id.clone()];
        request.initial_state = serde_json::from_value(initial.collect()).map_err(bad)?;
        request.power_level_content_override = serde_json::from_value(levels).map_err(bad)?;
        Ok(request)
    }
}

fn actor(account: &Account) -> Actor {
    Actor {
        user_id: account.user_id.clone(),
        user: account.user,
        device: None,
    }
}
