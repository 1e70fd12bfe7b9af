//! The subscriptions to threads that have changed (MSC4308).

use super::Conversation;
use crate::{
    store::{
        StreamPosition,
        live::{Change, Survey},
    },
    sync::{Error, Sync},
};

impl Sync {
    /// The user's subscriptions that the client does not know, in all rooms, as JSON.
    pub(super) async fn thread_subscriptions(
        &self,
        conversation: &Conversation,
        survey: &Survey,
    ) -> Result<Option<String>, Error> {
        let asked = &conversation.request.extensions.thread_subscriptions;
        if !asked.is_on() {
            return Ok(None);
        }
        let since = conversation.since().map(|since| since.position);
        let mut own = survey.own.iter();
        let has_changed =
            own.any(|entry| matches!(entry.change, Change::ThreadSubscription { .. }));
        // Memory says that there is nothing new.
        if since.is_some() && survey.covers && !has_changed {
            return Ok(None);
        }
        let user = conversation.request.actor.user;
        let since = since.unwrap_or(StreamPosition(0));
        let rooms = &self.0.rooms;
        let page = rooms
            .thread_subscription_changes(user, since, survey.now, asked.limit)
            .await?;
        Ok((!page.is_empty()).then(|| page.shown("prev_batch").to_string()))
    }
}
