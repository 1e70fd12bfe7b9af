//! What a sync says of end-to-end encryption: messages to the device, whose devices to look at
//! again, and how many one-time keys are left.
//!
//! Client-server API v1.19, "Extensions to /sync" of "End-to-End Encryption" and of "Send-to-Device
//! messaging".

use std::sync::Arc;

use super::{Error, Request, Sync, answer::Json};
use crate::{
    keys::{DeviceLists, KeyCounts, ToDevice},
    rooms::Actor,
    store::StreamPosition,
};

/// What there is for one device.
pub(super) struct DeviceParts {
    to_device: ToDevice,
    lists: DeviceLists,
    counts: Arc<KeyCounts>,
    counts_are_news: bool,
}

impl Sync {
    /// What there is up to `now`.
    pub(super) async fn device_parts(
        &self,
        request: &Request,
        now: StreamPosition,
    ) -> Result<DeviceParts, Error> {
        let actor = &request.actor;
        let keys = &self.0.keys;
        let lists = match request.since {
            Some(since) => keys.device_lists(actor, since.position, now).await?,
            None => DeviceLists::default(),
        };
        let Some(device) = actor.device else {
            return Ok(DeviceParts {
                to_device: ToDevice {
                    events: Vec::new(),
                    until: now,
                },
                lists,
                counts: Arc::default(),
                counts_are_news: false,
            });
        };
        let since = request.since.map(|since| since.to_device);
        let to_device = keys.to_device(actor.user, device, since, now).await?;
        let counts = keys.key_counts(actor.user, device).await?;
        let counts_are_news = request
            .since
            .is_some_and(|since| keys.are_counts_news(actor.user, device, since.position, &counts));
        Ok(DeviceParts {
            to_device,
            lists,
            counts,
            counts_are_news,
        })
    }

    /// Whose devices a user had to look at again between two sync tokens: `GET /keys/changes`.
    ///
    /// # Errors
    /// [`Error::InvalidToken`].
    pub async fn device_list_changes(
        &self,
        actor: &Actor,
        from: &str,
        to: &str,
    ) -> Result<DeviceLists, Error> {
        let from: super::SyncToken = from.parse()?;
        let to: super::SyncToken = to.parse()?;
        let store = &self.0.store;
        if to.position > store.live().position() {
            // The token is of another process, which is ahead.
            store.catch_up().await?;
        }
        let until = to.position.min(store.live().position());
        let lists = self.0.keys.device_lists(actor, from.position, until);
        Ok(lists.await?)
    }
}

impl DeviceParts {
    /// Up to where the messages are in the answer.
    pub(super) fn until(&self) -> StreamPosition {
        self.to_device.until
    }

    /// Writes the parts. `false` if a client could do without them.
    pub(super) fn write(&self, json: &mut Json) -> bool {
        if !self.to_device.events.is_empty() {
            json.events("to_device", &self.to_device.events);
        }
        if !self.lists.is_empty() {
            json.key("device_lists");
            json.open('{');
            for (key, users) in [("changed", &self.lists.changed), ("left", &self.lists.left)] {
                json.key(key);
                json.open('[');
                for user in users {
                    json.element(&serde_json::to_string(user).unwrap_or_default());
                }
                json.close(']');
            }
            json.close('}');
        }
        json.key("device_one_time_keys_count");
        json.open('{');
        for (algorithm, count) in &self.counts.one_time {
            json.key(algorithm);
            json.number(*count);
        }
        json.close('}');
        json.key("device_unused_fallback_key_types");
        json.open('[');
        for algorithm in &self.counts.unused_fallback {
            json.element(&serde_json::to_string(algorithm).unwrap_or_default());
        }
        json.close(']');
        !self.to_device.events.is_empty() || !self.lists.is_empty() || self.counts_are_news
    }
}
