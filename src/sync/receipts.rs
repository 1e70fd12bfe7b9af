//! The receipts among what a user missed.

use std::{collections::HashMap, sync::Arc};

use super::{
    Error, Sync,
    entries::receipt_key,
    missed::{JoinedNews, Missed},
};
use crate::store::{
    RoomNid, UserNid,
    live::{Change, Entry},
    receipts::{self, Receipt},
};

impl Missed {
    /// Gives each room its receipts.
    pub(super) fn add_receipts(&mut self, receipts: Vec<Receipt>) {
        let mut by_room: HashMap<RoomNid, Vec<Receipt>> = HashMap::new();
        for receipt in receipts {
            by_room.entry(receipt.room).or_default().push(receipt);
        }
        for news in &mut self.joined {
            news.receipts = by_room.remove(&news.room).unwrap_or_default();
        }
    }

    /// All receipts of the rooms of which the client knows nothing: those that are older than its
    /// token are new to it as well.
    pub(super) async fn add_receipts_of_new_rooms(
        &mut self,
        sync: &Sync,
        reader: UserNid,
    ) -> Result<(), Error> {
        let is_new = |news: &&mut JoinedNews| news.from.is_none();
        let rooms: Vec<_> = self
            .joined
            .iter_mut()
            .filter(is_new)
            .map(|news| news.room)
            .collect();
        if rooms.is_empty() {
            return Ok(());
        }
        let mut conn = sync.0.store.conn().await?;
        let mut by_room: HashMap<RoomNid, Vec<Receipt>> = HashMap::new();
        for receipt in receipts::list(&mut conn, &rooms, reader, None).await? {
            by_room.entry(receipt.room).or_default().push(receipt);
        }
        for news in self.joined.iter_mut().filter(is_new) {
            news.receipts = by_room.remove(&news.room).unwrap_or_default();
        }
        Ok(())
    }

    /// The receipts among entries, with the ids of their users.
    pub(super) async fn add_memory_receipts(
        &mut self,
        sync: &Sync,
        reader: UserNid,
        in_rooms: &[(RoomNid, Vec<Arc<Entry>>)],
    ) -> Result<(), Error> {
        let entries: Vec<_> = in_rooms.iter().flat_map(|(_, entries)| entries).collect();
        let receipts = sync.memory_receipts(reader, &entries).await?;
        if !receipts.is_empty() {
            self.add_receipts(receipts);
        }
        Ok(())
    }
}

impl Sync {
    /// The receipts among entries that a reader may see, with the ids of their users.
    pub(super) async fn memory_receipts(
        &self,
        reader: UserNid,
        entries: &[&Arc<Entry>],
    ) -> Result<Vec<Receipt>, Error> {
        let users: Vec<UserNid> = entries
            .iter()
            .filter_map(|entry| receipt_key(entry))
            .map(|(_, user)| user)
            .collect();
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let ids = self.0.store.user_ids(&users).await?;
        let mut receipts = Vec::new();
        for entry in entries {
            if let Change::Receipt {
                room,
                user,
                private,
                thread,
                event_id,
                at,
                ..
            } = &entry.change
                && (!private || *user == reader)
                && let Some(user_id) = ids.get(user)
            {
                receipts.push(Receipt {
                    room: *room,
                    user: *user,
                    user_id: user_id.clone(),
                    private: *private,
                    thread: (**thread).to_owned(),
                    event_id: event_id.clone(),
                    at: *at,
                });
            }
        }
        Ok(receipts)
    }
}
