//! What users have not read, for the number that their devices show.

use std::collections::HashMap;

use super::{Error, Push};
use crate::{
    rooms::UnreadOf,
    store::{
        RoomNid, UserNid,
        live::RoomHead,
        memberships::{self, Wanted},
    },
};

/// What a user has not read.
#[derive(Clone, Debug, Default)]
pub(super) struct Badge {
    /// How many messages, in all rooms.
    pub(super) unread: i64,
    /// The user's rooms where something is unread.
    pub(super) view: crate::store::live::UserRooms,
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
        let mut badges = HashMap::with_capacity(views.len());
        for (user, view) in views {
            let Some(user_id) = ids.get(&user) else {
                continue;
            };
            let of_rooms: Vec<_> = view
                .iter()
                .filter_map(|(room, of_user)| {
                    Some(UnreadOf {
                        room,
                        head: heads.get(&room)?,
                        of_user,
                    })
                })
                .collect();
            let own = view.own_rules();
            let counts = self.0.rooms.unread(user, user_id, own, &of_rooms).await?;
            let unread = counts.values().map(|count| count.total().notifications);
            let unread = unread.sum();
            badges.insert(user, Badge { unread, view });
        }
        Ok(badges)
    }
}
