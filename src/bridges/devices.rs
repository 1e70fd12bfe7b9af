//! What application services are told for the end-to-end encryption of their users.
//!
//! MSC4203: messages to the devices of users who are theirs alone, each once, since nobody else asks
//! for them. MSC3202: how many one-time keys such devices have left, and whose devices to look at again.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ruma::{OwnedUserId, RoomId};
use serde_json::{Map, Value, json};

use super::{body::Body, sender::Sender};
use crate::store::{
    Conn, DeviceNid, RoomNid, Store, StoreError, StreamPosition, UserNid, device_keys,
    live::{Change, Entry},
    to_device::{self, WaitingMessage},
};

/// The most messages to devices in one transaction.
const MAX_MESSAGES: i64 = 100;
/// The most users in one transaction whose devices have changed.
const MAX_CHANGED: usize = 1_000;
/// The most devices in one transaction whose keys are counted.
const MAX_COUNTED: usize = 500;

/// What a service is to be told of devices.
#[derive(Default)]
pub(super) struct DeviceNews {
    /// The users whose devices have changed.
    changed: BTreeSet<OwnedUserId>,
    /// The service's devices whose keys came or went.
    counted: BTreeSet<DeviceNid>,
    /// The messages, as they were read.
    messages: Vec<WaitingMessage>,
    counts: Vec<device_keys::CountOfDevice>,
}

impl DeviceNews {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.counted.is_empty() && self.messages.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.changed.len() >= MAX_CHANGED || self.counted.len() >= MAX_COUNTED
    }

    pub(super) fn with_messages_alone(self) -> Self {
        Self {
            messages: self.messages,
            ..Self::default()
        }
    }

    /// The messages that are in the transaction.
    pub(super) fn messages(&self) -> &[WaitingMessage] {
        &self.messages
    }

    /// The fields of the transaction, with the names that they have as proposals.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        if !self.messages.is_empty() {
            let messages = self.messages.iter().filter_map(|message| {
                let mut event: Value = serde_json::from_str(&message.json).ok()?;
                event["to_user_id"] = message.user_id.as_str().into();
                event["to_device_id"] = message.device_id.as_str().into();
                Some(event)
            });
            let messages = Value::Array(messages.collect());
            fields.insert("to_device".to_owned(), messages.clone());
            fields.insert("de.sorunome.msc2409.to_device".to_owned(), messages);
        }
        if !self.changed.is_empty() {
            let lists = json!({ "changed": self.changed, "left": [] });
            fields.insert("device_lists".to_owned(), lists.clone());
            fields.insert("org.matrix.msc3202.device_lists".to_owned(), lists);
        }
        if !self.counts.is_empty() {
            let (counts, unused) = self.key_counts();
            for (name, value) in [
                ("device_one_time_keys_count", counts),
                ("device_unused_fallback_key_types", unused),
            ] {
                fields.insert(name.to_owned(), value.clone());
                fields.insert(format!("org.matrix.msc3202.{name}"), value);
            }
        }
        fields
    }

    fn key_counts(&self) -> (Value, Value) {
        let mut counts: BTreeMap<&str, BTreeMap<&str, BTreeMap<&str, i64>>> = BTreeMap::new();
        let mut unused: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
        for row in &self.counts {
            let (user, device) = (row.user_id.as_str(), row.device_id.as_str());
            let of_device = counts.entry(user).or_default().entry(device).or_default();
            let fallback = unused.entry(user).or_default().entry(device).or_default();
            // None left is told by name, since every device has had such keys.
            of_device.entry("signed_curve25519").or_insert(0);
            match (row.algorithm.as_deref(), row.is_fallback) {
                (Some(algorithm), Some(true)) => fallback.push(algorithm),
                (Some(algorithm), _) => {
                    of_device.insert(algorithm, row.count.unwrap_or_default());
                }
                (None, _) => {}
            }
        }
        (json!(counts), json!(unused))
    }

    /// Reads the messages and the counts. Gives whether there are more messages.
    pub(super) async fn read(
        &mut self,
        conn: &mut Conn,
        waiting: &BTreeSet<DeviceNid>,
        until: StreamPosition,
    ) -> Result<bool, StoreError> {
        if !waiting.is_empty() {
            let devices: Vec<_> = waiting.iter().copied().collect();
            let found = to_device::list_waiting(conn, &devices, until, MAX_MESSAGES);
            self.messages = found.await?;
        }
        if !self.counted.is_empty() {
            let devices: Vec<_> = self.counted.iter().copied().collect();
            self.counts = device_keys::count_all(conn, &devices).await?;
        }
        let most = usize::try_from(MAX_MESSAGES).unwrap_or(usize::MAX);
        Ok(self.messages.len() >= most)
    }
}

impl Sender {
    /// Looks at what an entry says of devices.
    pub(super) async fn look_at_devices(
        &mut self,
        news: &mut DeviceNews,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        match &entry.change {
            Change::ToDevice { to } => {
                let own = self.own(entry.change.users().collect()).await?;
                let devices = to.iter().filter(|(user, _)| own.contains(user));
                self.waiting.extend(devices.map(|(_, device)| *device));
            }
            Change::OneTimeKeys { user, devices }
                if self.own(vec![*user]).await?.contains(user) =>
            {
                news.counted.extend(devices.iter().copied());
            }
            // What one user alone is told of their own keys is no change of devices to others.
            Change::DeviceList {
                user,
                viewer: None,
                rooms,
            } => {
                if let Some(user_id) = self.concerning(*user, rooms).await? {
                    news.changed.insert(user_id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Those of the users who are the service's alone.
    async fn own(&self, users: Vec<UserNid>) -> Result<HashSet<UserNid>, StoreError> {
        let user_ids = self.store().user_ids(&users).await?;
        let own = user_ids
            .into_iter()
            .filter(|(_, user_id)| self.service.owns_user(user_id));
        Ok(own.map(|(user, _)| user).collect())
    }

    /// The id of a user who is the service's, or who is in a room that concerns it.
    async fn concerning(
        &mut self,
        user: UserNid,
        rooms: &[RoomNid],
    ) -> Result<Option<OwnedUserId>, StoreError> {
        let Some(user_id) = self.store().user_ids(&[user]).await?.remove(&user) else {
            return Ok(None);
        };
        if self.service.covers_user(&user_id) {
            return Ok(Some(user_id));
        }
        let ids = self.store().room_ids(rooms).await?;
        for (room, room_id) in ids {
            if self.is_interested(room, &room_id).await? {
                return Ok(Some(user_id));
            }
        }
        Ok(None)
    }

    /// Adds what there is for the devices of the service's users. Gives whether there is more.
    pub(super) async fn add_devices(&mut self, body: &mut Body) -> Result<bool, StoreError> {
        let devices = &mut body.devices;
        if self.waiting.is_empty() && devices.counted.is_empty() {
            return Ok(false);
        }
        let mut conn = self.store().conn().await?;
        let has_more = devices
            .read(&mut conn, &self.waiting, self.position)
            .await?;
        if !has_more {
            self.waiting.clear();
        }
        Ok(has_more)
    }

    /// Whether what happens in a room concerns the service.
    async fn is_interested(&mut self, room: RoomNid, room_id: &RoomId) -> Result<bool, StoreError> {
        let bridges = self.bridges.clone();
        let store = &bridges.0.parts.store;
        let server_name = bridges.0.settings.server_name.as_str();
        let interest = &mut self.interest;
        interest
            .in_room(store, &self.service, server_name, room, room_id)
            .await
    }

    fn store(&self) -> &Store {
        &self.bridges.0.parts.store
    }
}
