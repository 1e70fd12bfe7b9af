//! Account data of users, global and of rooms, and the tags that are kept in it.
//!
//! Client-server API v1.19, "Client Config" and "Room Tagging".

use ruma::RoomId;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use super::{Actor, Error, Rooms, receipts::FULLY_READ};
use crate::store::{
    RoomNid, account_data,
    journal::{AccountDataWrite, Write},
    live::PUSH_RULES,
    user_directory::{self, HIDE_PROFILE},
};

/// The type of the account data that holds a room's tags.
const TAG: &str = "m.tag";
/// The largest content, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// The longest text that is looked at for whether it is an empty object, in bytes.
const MAX_EMPTY: usize = 64;
/// The longest type, and the longest tag, in bytes.
const MAX_NAME: usize = 255;

impl Rooms {
    /// A content of account data; the global one without a room.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn account_data(
        &self,
        actor: &Actor,
        room_id: Option<&RoomId>,
        event_type: &str,
    ) -> Result<Box<RawValue>, Error> {
        let missing = || Error::NotFound("account data");
        if room_id.is_none() && event_type == PUSH_RULES {
            return self.push_rules_content(actor).await;
        }
        check_name(event_type).map_err(|_| missing())?;
        let room = match room_id {
            Some(room_id) => {
                let room = self.0.store.room_number(room_id).await?;
                Some(room.ok_or_else(missing)?)
            }
            None => None,
        };
        let mut conn = self.0.store.conn().await?;
        let found = account_data::find(&mut conn, actor.user, room, event_type).await?;
        found.ok_or_else(missing)
    }

    /// Sets a content of account data; the global one without a room.
    ///
    /// # Errors
    /// [`Error::ServerManaged`] for types with endpoints of their own, [`Error::BadJson`],
    /// [`Error::TooLarge`], and [`Error::NotJoined`] for a room that the user never had to do with.
    pub async fn set_account_data(
        &self,
        actor: &Actor,
        room_id: Option<&RoomId>,
        event_type: &str,
        content: &RawValue,
    ) -> Result<(), Error> {
        if event_type == FULLY_READ || event_type == PUSH_RULES {
            return Err(Error::ServerManaged);
        }
        check_name(event_type)?;
        if !content.get().trim_start().starts_with('{') {
            return Err(Error::BadJson("account data is a JSON object"));
        }
        self.replace_account_data(actor, room_id, event_type, content.to_owned())
            .await
    }

    /// Deletes account data (MSC3391): there is nothing to be read of it, and syncs that go on say
    /// that it is empty. What is not there can be deleted too.
    ///
    /// # Errors
    /// As [`Self::set_account_data`].
    pub async fn delete_account_data(
        &self,
        actor: &Actor,
        room_id: Option<&RoomId>,
        event_type: &str,
    ) -> Result<(), Error> {
        if event_type == FULLY_READ || event_type == PUSH_RULES {
            return Err(Error::ServerManaged);
        }
        check_name(event_type)?;
        match self.account_data(actor, room_id, event_type).await {
            Ok(_) => {}
            // No sync has to tell of it.
            Err(Error::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        let deleted = RawValue::from_string(account_data::DELETED.to_owned());
        let deleted = deleted.map_err(|error| Error::Invalid(error.to_string()))?;
        self.replace_account_data(actor, room_id, event_type, deleted)
            .await
    }

    async fn replace_account_data(
        &self,
        actor: &Actor,
        room_id: Option<&RoomId>,
        event_type: &str,
        content: Box<RawValue>,
    ) -> Result<(), Error> {
        let room = match room_id {
            Some(room_id) => Some(self.known_room(actor, room_id).await?),
            None => None,
        };
        let _turn = self.0.locks.turn(actor.user, room).await;
        self.write_account_data(actor, room, event_type, content)
            .await?;
        if room.is_none() && event_type == HIDE_PROFILE {
            // The answer says that it holds for searches too (RL-01, RL-02).
            let mut conn = self.0.store.conn().await?;
            user_directory::refresh(&mut conn, &[actor.user]).await?;
        }
        Ok(())
    }

    /// The tags of a room (`GET /user/{userId}/rooms/{roomId}/tags`), as JSON.
    pub async fn tags(&self, actor: &Actor, room_id: &RoomId) -> Result<Map<String, Value>, Error> {
        match self.0.store.room_number(room_id).await? {
            Some(room) => self.read_tags(actor, room).await,
            None => Ok(Map::new()),
        }
    }

    /// Tags a room (`PUT …/tags/{tag}`).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a tag of more than 255 bytes, and as [`Self::set_account_data`].
    pub async fn set_tag(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        tag: &str,
        info: Value,
    ) -> Result<(), Error> {
        check_name(tag)?;
        let change = |tags: &mut Map<String, Value>| {
            tags.insert(tag.to_owned(), info);
            true
        };
        self.change_tags(actor, room_id, change).await
    }

    /// Takes a tag off a room (`DELETE …/tags/{tag}`). One that is not there changes nothing.
    pub async fn delete_tag(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        tag: &str,
    ) -> Result<(), Error> {
        let change = |tags: &mut Map<String, Value>| tags.remove(tag).is_some();
        self.change_tags(actor, room_id, change).await
    }

    /// Changes the tags as they are now; `change` says whether it did anything.
    pub(super) async fn change_tags(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        change: impl FnOnce(&mut Map<String, Value>) -> bool + Send,
    ) -> Result<(), Error> {
        let room = self.known_room(actor, room_id).await?;
        let _turn = self.0.locks.turn(actor.user, Some(room)).await;
        let mut tags = self.read_tags(actor, room).await?;
        if !change(&mut tags) {
            return Ok(());
        }
        let content = to_raw_value(&serde_json::json!({ "tags": tags }));
        let content = content.map_err(|error| Error::Invalid(error.to_string()))?;
        self.write_account_data(actor, Some(room), TAG, content)
            .await
    }

    async fn read_tags(&self, actor: &Actor, room: RoomNid) -> Result<Map<String, Value>, Error> {
        let mut conn = self.0.store.conn().await?;
        let found = account_data::find(&mut conn, actor.user, Some(room), TAG).await?;
        let content = found.and_then(|content| serde_json::from_str(content.get()).ok());
        // Clients may have set the whole content, to anything.
        let tags = content.and_then(|mut content: Value| match content.get_mut("tags") {
            Some(Value::Object(tags)) => Some(std::mem::take(tags)),
            _ => None,
        });
        Ok(tags.unwrap_or_default())
    }

    /// The number of a room that the user has, or had, to do with.
    async fn known_room(&self, actor: &Actor, room_id: &RoomId) -> Result<RoomNid, Error> {
        let room = self.0.store.room_number(room_id).await?;
        let room = room.ok_or(Error::NotJoined)?;
        self.0.store.load_user(actor.user).await?;
        let rooms = self.0.store.live().rooms_of(actor.user);
        let known = rooms.is_some_and(|(_, rooms)| rooms.get(room).is_some());
        if known {
            Ok(room)
        } else {
            Err(Error::NotJoined)
        }
    }

    /// Writes a content. The caller has the turn.
    pub(super) async fn write_account_data(
        &self,
        actor: &Actor,
        room: Option<RoomNid>,
        event_type: &str,
        mut content: Box<RawValue>,
    ) -> Result<(), Error> {
        if content.get().len() > MAX_BYTES {
            return Err(Error::TooLarge("the account data"));
        }
        // An empty object is as good as a deletion, however it is written (MSC3391).
        let is_empty = content.get().len() < MAX_EMPTY
            && serde_json::from_str::<Map<String, Value>>(content.get())
                .is_ok_and(|fields| fields.is_empty());
        if is_empty {
            content = RawValue::from_string(account_data::DELETED.to_owned())
                .map_err(|error| Error::Invalid(error.to_string()))?;
        }
        let write = Write {
            account_data: vec![AccountDataWrite {
                user: actor.user,
                room,
                event_type: event_type.to_owned(),
                content,
            }],
            ..Write::default()
        };
        self.0.store.journal().write(write).await?;
        Ok(())
    }
}

/// The database keeps no NUL, and nobody needs long names.
fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains('\0') {
        return Err(Error::Invalid("the type or the tag cannot be used".into()));
    }
    Ok(())
}
