//! What a device hears by sync: the messages that wait for it, and what became of its one-time
//! keys.
//!
//! Most syncs have nothing to say of either, and must not ask the database for that. So each
//! process remembers of a device up to which position of the stream it knows that no message
//! waits, and at which position it read the counts; as long as memory has no entry about the device
//! after that, both still hold.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Error, Keys};
use crate::store::{DeviceNid, StreamPosition, UserNid, device_keys, to_device};

/// The most messages in one answer.
const MAX_MESSAGES: usize = 100;
/// A device with fewer keys than this is told at once when one is claimed.
const FEW: i64 = 25;
/// How long counts are believed, in milliseconds: a process that ended before it told of a claim
/// leaves them wrong for so long at most.
const BELIEVED_MS: u64 = 600_000;
/// The algorithm whose count is always told.
const SIGNED_CURVE25519: &str = "signed_curve25519";

/// What a process knows of a device.
#[derive(Debug, Default)]
pub(super) struct DeviceMemory(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// No message at or before this position waits.
    quiet: Option<StreamPosition>,
    /// The messages up to this position are deleted.
    confirmed: StreamPosition,
    counts: Option<Counted>,
}

#[derive(Clone, Debug)]
struct Counted {
    at: StreamPosition,
    read_ms: u64,
    counts: Arc<KeyCounts>,
}

/// What one-time keys and fallback keys a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// How many one-time keys of each algorithm; `signed_curve25519` is always there.
    pub one_time: BTreeMap<String, i64>,
    /// The algorithms for which it has a fallback key that was not given out.
    pub unused_fallback: Vec<String>,
}

impl From<(Vec<(String, i64)>, Vec<String>)> for KeyCounts {
    fn from((counts, mut unused_fallback): (Vec<(String, i64)>, Vec<String>)) -> Self {
        let mut one_time = BTreeMap::from([(SIGNED_CURVE25519.to_owned(), 0)]);
        one_time.extend(counts);
        unused_fallback.sort_unstable();
        Self {
            one_time,
            unused_fallback,
        }
    }
}

impl KeyCounts {
    /// How many one-time keys there are.
    pub(super) fn total(&self) -> i64 {
        self.one_time.values().sum()
    }

    fn are_few(&self) -> bool {
        let signed = self.one_time.get(SIGNED_CURVE25519);
        signed.is_none_or(|count| *count < FEW)
    }
}

/// Messages for a device.
#[derive(Clone, Debug, Default)]
pub struct ToDevice {
    /// The events, as JSON.
    pub events: Vec<String>,
    /// Up to where these are all there are. A later request with this position as `since` confirms
    /// them.
    pub until: StreamPosition,
}

impl Keys {
    /// The messages for a device after `since` and up to `until`, which memory has reached. Those up
    /// to `since` are confirmed by that, and deleted. Without `since` all that wait, at most a
    /// hundred at once.
    pub async fn to_device(
        &self,
        user: UserNid,
        device: DeviceNid,
        since: Option<StreamPosition>,
        until: StreamPosition,
    ) -> Result<ToDevice, Error> {
        let memory = self.memory(device);
        let nothing = ToDevice {
            events: Vec::new(),
            until,
        };
        let quiet = memory.known().quiet;
        if let Some(quiet) = quiet {
            let news = self.0.store.live().device_news(user, device, quiet);
            if let Some(news) = news.filter(|news| !news.has_messages) {
                memory.known().quiet = Some(news.now.max(quiet));
                return Ok(nothing);
            }
        }
        let mut conn = self.0.store.conn().await?;
        let since = since.map(|since| since.min(until));
        let confirmed = memory.known().confirmed;
        if let Some(since) = since.filter(|since| *since > confirmed) {
            to_device::delete_confirmed(&mut conn, device, confirmed, since).await?;
            memory.known().confirmed = since;
        }
        let batch = self
            .read_messages(&mut conn, device, since.unwrap_or_default(), until)
            .await?;
        if batch.events.is_empty() {
            memory.known().quiet = Some(until);
        }
        Ok(batch)
    }

    /// The messages for a device between two positions, the oldest hundred.
    pub(super) async fn read_messages(
        &self,
        conn: &mut crate::store::Conn,
        device: DeviceNid,
        since: StreamPosition,
        until: StreamPosition,
    ) -> Result<ToDevice, Error> {
        let limit = i64::try_from(MAX_MESSAGES).unwrap_or(i64::MAX) + 1;
        let mut found = to_device::list(conn, device, since, until, limit).await?;
        let mut reached = until;
        if found.len() > MAX_MESSAGES {
            found.truncate(MAX_MESSAGES);
            reached = found.last().map_or(until, |(position, _)| *position);
        }
        Ok(ToDevice {
            events: found.into_iter().map(|(_, json)| json).collect(),
            until: reached,
        })
    }

    /// What one-time keys a device has: from memory, mostly.
    pub async fn key_counts(
        &self,
        user: UserNid,
        device: DeviceNid,
    ) -> Result<Arc<KeyCounts>, Error> {
        let memory = self.memory(device);
        let now_ms = self.0.clock.now_ms();
        let counted = memory.known().counts.clone();
        if let Some(counted) = counted
            && now_ms.saturating_sub(counted.read_ms) < BELIEVED_MS
        {
            let news = self.0.store.live().device_news(user, device, counted.at);
            if let Some(news) = news.filter(|news| !news.has_keys) {
                if let Some(known) = &mut memory.known().counts
                    && known.at == counted.at
                {
                    known.at = news.now;
                }
                return Ok(counted.counts);
            }
        }
        // Read before the counts: what happens in between is looked at again.
        let at = self.0.store.live().position();
        let mut conn = self.0.store.conn().await?;
        let counts = Arc::new(KeyCounts::from(
            device_keys::count(&mut conn, device).await?,
        ));
        memory.known().counts = Some(Counted {
            at,
            read_ms: now_ms,
            counts: Arc::clone(&counts),
        });
        Ok(counts)
    }

    /// Whether a device that knows everything up to `since` must hear of these counts at once: keys
    /// were claimed since, and few are left.
    pub fn are_counts_news(
        &self,
        user: UserNid,
        device: DeviceNid,
        since: StreamPosition,
        counts: &KeyCounts,
    ) -> bool {
        let news = self.0.store.live().device_news(user, device, since);
        news.is_some_and(|news| news.has_keys) && counts.are_few()
    }

    fn memory(&self, device: DeviceNid) -> Arc<DeviceMemory> {
        self.0.devices.get_with(device, Arc::default)
    }
}

impl DeviceMemory {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
