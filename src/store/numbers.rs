//! Numbers for names: rooms, slots and users, with caches in front of the database.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use moka::sync::Cache;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::{RoomNid, SlotNid, Store, StoreError, UserNid, rooms, state, users};

/// How many names of each kind are kept.
const NAMES: u64 = 200_000;

/// The names that are known without asking.
#[derive(Debug)]
pub(super) struct Numbers {
    rooms: Cache<OwnedRoomId, RoomNid>,
    room_ids: Cache<RoomNid, OwnedRoomId>,
    users: Cache<OwnedUserId, UserNid>,
    user_ids: Cache<UserNid, OwnedUserId>,
    slots: Cache<(String, String), SlotNid>,
    /// The room numbers that are left of a block: next, and end.
    block: Mutex<(i64, i64)>,
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self {
            rooms: Cache::new(NAMES),
            room_ids: Cache::new(NAMES),
            users: Cache::new(NAMES),
            user_ids: Cache::new(NAMES),
            slots: Cache::new(NAMES),
            block: Mutex::new((0, 0)),
        }
    }

    fn next_room(&self) -> Option<RoomNid> {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, end) = *block;
        (next < end).then(|| {
            block.0 += 1;
            RoomNid(next)
        })
    }
}

impl Store {
    /// A number for a room that is about to be made. Numbers that are not used are lost.
    pub async fn new_room_number(&self) -> Result<RoomNid, StoreError> {
        loop {
            if let Some(room) = self.0.numbers.next_room() {
                return Ok(room);
            }
            let first = rooms::take_numbers(&mut *self.conn().await?).await?;
            let mut block = (self.0.numbers.block.lock()).unwrap_or_else(PoisonError::into_inner);
            *block = (first, first + rooms::NUMBERS);
        }
    }

    /// The number of a room, if the server knows the room.
    pub async fn room_number(&self, room_id: &RoomId) -> Result<Option<RoomNid>, StoreError> {
        if let Some(room) = self.0.numbers.rooms.get(room_id) {
            return Ok(Some(room));
        }
        let found = rooms::find(&mut *self.conn().await?, room_id).await?;
        if let Some(room) = found {
            self.0.numbers.rooms.insert(room_id.to_owned(), room);
        }
        Ok(found)
    }

    /// The numbers of rooms. Rooms that the server does not know are left out.
    pub async fn room_numbers(
        &self,
        room_ids: &[&RoomId],
    ) -> Result<HashMap<OwnedRoomId, RoomNid>, StoreError> {
        let known = &self.0.numbers.rooms;
        let mut numbers = HashMap::with_capacity(room_ids.len());
        let mut missing = Vec::new();
        for room_id in room_ids {
            match known.get(*room_id) {
                Some(room) => {
                    numbers.insert((*room_id).to_owned(), room);
                }
                // The database keeps no NUL.
                None if room_id.as_str().contains('\0') => {}
                None => missing.push(*room_id),
            }
        }
        if !missing.is_empty() {
            for (room, room_id) in rooms::find_all(&mut *self.conn().await?, &missing).await? {
                known.insert(room_id.clone(), room);
                numbers.insert(room_id, room);
            }
        }
        Ok(numbers)
    }

    /// The ids of rooms.
    pub async fn room_ids(
        &self,
        rooms: &[RoomNid],
    ) -> Result<HashMap<RoomNid, OwnedRoomId>, StoreError> {
        let mut ids = HashMap::with_capacity(rooms.len());
        let mut missing = Vec::new();
        for room in rooms {
            match self.0.numbers.room_ids.get(room) {
                Some(id) => {
                    ids.insert(*room, id);
                }
                None => missing.push(*room),
            }
        }
        if !missing.is_empty() {
            for (room, id) in rooms::ids(&mut *self.conn().await?, &missing).await? {
                self.0.numbers.room_ids.insert(room, id.clone());
                ids.insert(room, id);
            }
        }
        Ok(ids)
    }

    /// The numbers of users, given out to those that are new.
    pub async fn user_numbers(
        &self,
        user_ids: &[&UserId],
    ) -> Result<HashMap<OwnedUserId, UserNid>, StoreError> {
        let mut numbers = HashMap::with_capacity(user_ids.len());
        let mut missing = Vec::new();
        for user_id in user_ids {
            match self.0.numbers.users.get(*user_id) {
                Some(user) => {
                    numbers.insert((*user_id).to_owned(), user);
                }
                None => missing.push(*user_id),
            }
        }
        if !missing.is_empty() {
            for (user_id, user) in users::intern_all(&mut *self.conn().await?, &missing).await? {
                self.0.numbers.users.insert(user_id.clone(), user);
                numbers.insert(user_id, user);
            }
        }
        Ok(numbers)
    }

    /// The number of a user, given out to a new one.
    pub async fn user_number(&self, user_id: &UserId) -> Result<UserNid, StoreError> {
        let numbers = self.user_numbers(&[user_id]).await?;
        let user = numbers.get(user_id).copied();
        user.ok_or_else(|| StoreError::inconsistent("users", "user_id", "new"))
    }

    /// The ids of users.
    pub async fn user_ids(
        &self,
        users: &[UserNid],
    ) -> Result<HashMap<UserNid, OwnedUserId>, StoreError> {
        let mut ids = HashMap::with_capacity(users.len());
        let mut missing = Vec::new();
        for user in users {
            match self.0.numbers.user_ids.get(user) {
                Some(id) => {
                    ids.insert(*user, id);
                }
                None => missing.push(*user),
            }
        }
        if !missing.is_empty() {
            for (user, id) in users::ids(&mut *self.conn().await?, &missing).await? {
                self.0.numbers.user_ids.insert(user, id.clone());
                ids.insert(user, id);
            }
        }
        Ok(ids)
    }

    /// The numbers of (type, state key) pairs, given out to those that are new.
    pub async fn slot_numbers(
        &self,
        slots: Vec<(String, String)>,
    ) -> Result<HashMap<(String, String), SlotNid>, StoreError> {
        let known = &self.0.numbers.slots;
        let mut numbers = HashMap::with_capacity(slots.len());
        let mut missing = Vec::new();
        for slot in slots {
            match known.get(&slot) {
                Some(number) => {
                    numbers.insert(slot, number);
                }
                None => missing.push(slot),
            }
        }
        if !missing.is_empty() {
            missing.sort_unstable();
            missing.dedup();
            for (slot, number) in state::intern_slots(&mut *self.conn().await?, &missing).await? {
                known.insert(slot.clone(), number);
                numbers.insert(slot, number);
            }
        }
        Ok(numbers)
    }
}
