//! What a client knows once it has an answer.

use std::sync::Arc;

use super::{
    Conversation,
    lists::{Choice, Chosen},
    news::{News, RoomNews},
    past::Past,
    request::OfRooms,
    snapshot::{Kind, Sent, Snapshot},
};
use crate::store::live::Survey;

/// The most pairs of required state that are remembered of a room.
const MAX_REMEMBERED: usize = 300;

impl News {
    /// What the client knows once it has the answer.
    pub(super) fn snapshot(
        &self,
        conversation: &Conversation,
        survey: &Survey,
        choice: &Choice<'_>,
    ) -> Snapshot {
        let mut next = (*conversation.known).clone();
        let extensions = &conversation.request.extensions;
        if let Some(since) = conversation.since() {
            for room in Past::unseen(survey, &next, choice) {
                if let Some(sent) = next.rooms.get_mut(&room) {
                    sent.behind = sent.behind.or(Some(since.position));
                }
            }
        }
        next.account_data = extensions.account_data.is_on()
            || (next.account_data && !self.past.has_account_data(survey, None));
        for (room, chosen) in &choice.rooms {
            let before = conversation.known.rooms.get(room);
            let news = self.rooms.get(room);
            let Some(mut sent) = news
                .map(|news| news.sent(before, chosen, survey))
                .or_else(|| before.cloned())
            else {
                continue;
            };
            sent.behind = None;
            if news.is_none() && before.is_some_and(|before| before.kind == Kind::Joined) {
                // The client has it all, or what it asks for now holds nothing more.
                sent.widen(chosen);
            }
            let wants = |on: &OfRooms| on.is_on_for(&chosen.lists, chosen.subscribed);
            let has_account_data = self.past.has_account_data(survey, Some(*room));
            // Where the user is not, none is told.
            sent.account_data = sent.kind == Kind::Joined
                && (wants(&extensions.account_data) || (sent.account_data && !has_account_data));
            sent.receipts = wants(&extensions.receipts)
                || (sent.receipts && !self.past.has_receipts(*room, survey));
            next.rooms.insert(*room, sent);
        }
        next
    }
}

impl Sent {
    /// Notes that the client has all that it asks for now.
    fn widen(&mut self, chosen: &Chosen<'_>) {
        self.limit = self.limit.max(chosen.rule.limit);
        if !self.required.covers(&chosen.rule.required) {
            let both = self.required.union(&chosen.rule.required);
            self.required = if both.len() > MAX_REMEMBERED {
                Arc::clone(&chosen.rule.required)
            } else {
                Arc::new(both)
            };
        }
    }
}

impl RoomNews {
    /// What the client knows of the room once it has this.
    fn sent(&self, before: Option<&Sent>, chosen: &Chosen<'_>, survey: &Survey) -> Sent {
        let room_id = self.head.room().room_id();
        let before = before.filter(|_| !self.initial);
        let mut sent = Sent {
            kind: self.kind,
            behind: None,
            limit: chosen.rule.limit,
            required: Arc::clone(&chosen.rule.required),
            is_direct: survey.rooms.labels().direct.contains(room_id),
            account_data: before.is_some_and(|before| before.account_data),
            receipts: before.is_some_and(|before| before.receipts),
        };
        let has_gap = self.section.as_ref().is_some_and(|section| section.limited);
        if let Some(before) = before {
            if !has_gap && !self.expanded {
                sent.limit = before.limit;
            }
            if !self.outdated {
                let now = std::mem::replace(&mut sent.required, Arc::clone(&before.required));
                if !sent.required.covers(&now) {
                    let both = sent.required.union(&now);
                    sent.required = if both.len() > MAX_REMEMBERED {
                        now
                    } else {
                        Arc::new(both)
                    };
                }
            }
        }
        sent
    }
}
