//! The unread messages that an answer tells.

use std::collections::HashMap;

use super::{Error, Request, Sync, answer::Json, missed::Missed, section::Section};
use crate::{
    rooms::{Count, Unread, UnreadBy, UnreadOf},
    store::RoomNid,
};

impl Sync {
    /// The unread messages of rooms, as their sections show them.
    pub(super) async fn unread(
        &self,
        request: &Request,
        missed: &Missed,
        joined: &[Section],
    ) -> Result<HashMap<RoomNid, Unread>, Error> {
        let rooms: Vec<_> = missed
            .joined
            .iter()
            .zip(joined)
            .map(|(news, section)| UnreadOf {
                room: news.room,
                head: &section.head,
                of_user: &news.of_user,
            })
            .collect();
        let by = UnreadBy {
            user: request.actor.user,
            user_id: &request.actor.user_id,
            own: missed.rooms.own_rules(),
            rooms,
        };
        Ok(self.0.rooms.unread(by).await?)
    }
}

/// The unread messages: with those of threads, or apart.
pub(super) fn write_unread(request: &Request, json: &mut Json, unread: &Unread) {
    let threads = Some(&unread.threads).filter(|_| request.filter.thread_counts);
    let count = threads.map_or_else(|| unread.total(), |_| unread.main);
    json.key("unread_notifications");
    json.raw(&count_json(count));
    let Some(threads) = threads.filter(|threads| !threads.is_empty()) else {
        return;
    };
    json.key("unread_thread_notifications");
    json.open('{');
    for (root, count) in threads {
        json.key(root.as_str());
        json.raw(&count_json(*count));
    }
    json.close('}');
}

/// Both numbers, as keys of the object that is being written.
pub(super) fn write_count(json: &mut Json, count: Count) {
    json.key("highlight_count");
    json.number(count.highlights);
    json.key("notification_count");
    json.number(count.notifications);
}

fn count_json(count: Count) -> String {
    format!(
        "{{\"highlight_count\":{},\"notification_count\":{}}}",
        count.highlights, count.notifications
    )
}
