//! What users have not read, for the number that their devices show.

use std::collections::HashMap;

use super::{Error, Push};
use crate::{
    rooms::{UnreadBy, UnreadOf},
    store::{
        RoomNid, UserNid,
        live::{RoomHead, UserRooms},
        memberships::{self, Wanted},
    },
};

/// What a user has not read.
#[derive(Clone, Debug, Default)]
pub(super) struct Badge {
    /// How many messages, in all rooms.
    pub(super) unread: i64,
    /// The user's rooms where something is unread.
    pub(super) view: UserRooms,
}

impl Push {
    /// The unread messages of users, as they are now.
    pub(super) async fn badges(&self, users: &[UserNid]) -> Result<HashMap<UserNid, Badge>, Error> {
        let store = &self.0.store;
        let mut conn = store.conn().await?;
        let views = memberships::load_views(&mut conn, users, Wanted::Unread).await?;
        drop(conn);
        let mut rooms: Vec<RoomNid> = views
            .values()
            .flat_map(|view| view.iter().map(|(room, _)| room))
            .collect();
        rooms.sort_unstable();
        rooms.dedup();
        let heads: HashMap<RoomNid, std::sync::Arc<RoomHead>> = store
            .load_rooms(&rooms)
            .await?
            .into_iter()
            .map(|room| (room.nid(), room.head()))
            .collect();
        let ids = store.user_ids(users).await?;
        let readers = views.iter().filter_map(|(user, view)| {
            let rooms = view.iter().filter_map(|(room, of_user)| {
                Some(UnreadOf {
                    room,
                    head: heads.get(&room)?,
                    of_user,
                })
            });
            Some(UnreadBy {
                user: *user,
                user_id: ids.get(user)?,
                own: view.own_rules(),
                rooms: rooms.collect(),
            })
        });
        let readers: Vec<_> = readers.collect();
        let mut counts = self.0.rooms.unread_of_all(&readers).await?;
        drop(readers);
        let badges = views.into_iter().map(|(user, view)| {
            let counts = counts.remove(&user).unwrap_or_default();
            let unread = counts.values().map(|count| count.total().notifications);
            let unread = unread.sum();
            (user, Badge { unread, view })
        });
        Ok(badges.collect())
    }
}
