//! When devices were last seen: noted in memory with each request, and written now and then.

use std::{
    collections::HashMap,
    mem,
    net::IpAddr,
    sync::{PoisonError, atomic::Ordering},
};

use super::{Accounts, Error, Requester, has_control_characters};
use crate::store::{
    DeviceNid,
    devices::{self, Seen},
};

/// How exactly a device's last request is remembered, in milliseconds.
const SEEN_EVERY_MS: u64 = 60_000;
/// How many devices that were seen wait to be written.
const MAX_SEEN: usize = 200_000;
/// How many of them are written with one statement.
const SEEN_BATCH: usize = 1000;

impl Accounts {
    /// Notes that a device has sent a request. Nothing is written until [`flush`](Self::flush).
    pub fn note_seen(
        &self,
        requester: &Requester,
        client: Option<IpAddr>,
        user_agent: Option<&str>,
    ) {
        let now_ms = self.0.clock.now_ms();
        let seen_ms = requester.seen_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(seen_ms) < SEEN_EVERY_MS {
            return;
        }
        requester.seen_ms.store(now_ms, Ordering::Relaxed);
        let Some(device) = requester.device() else {
            return;
        };
        let user_agent = user_agent.filter(|agent| !has_control_characters(agent));
        let seen = Seen {
            device,
            at_ms: self.0.clock.now_i64(),
            ip: client.map(|ip| ip.to_canonical().to_string()),
            user_agent: user_agent.map(|agent| agent.chars().take(256).collect()),
        };
        let mut waiting = self.seen();
        if waiting.len() < MAX_SEEN || waiting.contains_key(&seen.device) {
            waiting.insert(seen.device, seen);
        }
    }

    /// Writes when devices were last seen. To be called every few minutes and at the end; what
    /// cannot be written now is tried again the next time.
    pub async fn flush(&self) -> Result<(), Error> {
        let waiting: Vec<Seen> = mem::take(&mut *self.seen()).into_values().collect();
        let mut batches = waiting.chunks(SEEN_BATCH);
        while let Some(batch) = batches.next() {
            let written = async {
                let mut conn = self.0.store.conn().await?;
                devices::update_last_seen(&mut conn, batch).await
            };
            if let Err(error) = written.await {
                let mut newer = self.seen();
                for seen in batch.iter().chain(batches.flatten()) {
                    newer.entry(seen.device).or_insert_with(|| seen.clone());
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashMap<DeviceNid, Seen>> {
        // Each entry is whole on its own.
        let seen = self.0.sessions.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner)
    }
}
