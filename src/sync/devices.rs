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

/// Which parts are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Messages to the device.
    pub(super) messages: bool,
    /// Whose devices to look at, and the counts of keys.
    pub(super) rest: bool,
}

impl Sync {
    /// What there is up to `now`.
    pub(super) async fn device_parts(
        &self,
        request: &Request,
        now: StreamPosition,
    ) -> Result<DeviceParts, Error> {
        let since = request.since.map(|since| since.position);
        let messages = request.since.map(|since| since.to_device);
        let wanted = Wanted {
            messages: true,
            rest: true,
        };
        self.wanted_device_parts(&request.actor, since, messages, wanted, now)
            .await
    }

    /// What there is after `since` and up to `now`, of what is wanted; of the messages those after
    /// `messages`.
    pub(super) async fn wanted_device_parts(
        &self,
        actor: &Actor,
        since: Option<StreamPosition>,
        messages: Option<StreamPosition>,
        wanted: Wanted,
        now: StreamPosition,
    ) -> Result<DeviceParts, Error> {
        let keys = &self.0.keys;
        let mut parts = DeviceParts {
            to_device: ToDevice {
                events: Vec::new(),
                until: now,
            },
            lists: DeviceLists::default(),
            counts: Arc::default(),
            counts_are_news: false,
        };
        if let Some(since) = since.filter(|_| wanted.rest) {
            parts.lists = keys.device_lists(actor, since, now).await?;
        }
        let Some(device) = actor.device else {
            return Ok(parts);
        };
        if wanted.messages {
            parts.to_device = keys.to_device(actor.user, device, messages, now).await?;
        }
        if wanted.rest {
            parts.counts = keys.key_counts(actor.user, device).await?;
            parts.counts_are_news = since.is_some_and(|since| {
                keys.are_counts_news(actor.user, device, since, &parts.counts)
            });
        }
        Ok(parts)
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

    /// Whether a client could do without them.
    pub(super) fn is_empty(&self) -> bool {
        self.to_device.events.is_empty() && self.lists.is_empty() && !self.counts_are_news
    }

    /// The messages, as JSON.
    pub(super) fn messages(&self) -> &[String] {
        &self.to_device.events
    }

    /// Writes the parts. `false` if a client could do without them.
    pub(super) fn write(&self, json: &mut Json) -> bool {
        if !self.to_device.events.is_empty() {
            json.events("to_device", &self.to_device.events);
        }
        self.write_lists_and_counts(json);
        !self.is_empty()
    }

    /// Writes whose devices to look at, and the counts of keys.
    pub(super) fn write_lists_and_counts(&self, json: &mut Json) {
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
    }
}
