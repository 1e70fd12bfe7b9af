//! How long rooms keep messages: a job that deletes older ones.
//!
//! MSC1763, `m.room.retention`; tchap.md 4.10 (RT-01 to RT-06). Whether an event of this type may be
//! sent is the policy's question. State events stay: they are what the room is.

use std::time::Duration;

use ruma::events::StateEventType;
use serde::Deserialize;

use super::{Error, Rooms};
use crate::store::{
    RoomNid,
    retention::{self, Run},
};

/// The type of the state event that says how long a room keeps messages.
const RETENTION: &str = "m.room.retention";
/// How many rooms are looked at in one transaction.
const ROOMS: i64 = 100;
/// The most positions of a room whose messages are deleted in one transaction.
const POSITIONS: i64 = 200;
/// How long it is remembered when the stream was where: longer than anything is kept by days.
const REMEMBERED: Duration = Duration::from_hours(24 * 365 * 11);

/// How long messages are kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Whether anything is deleted.
    pub purges: bool,
    /// How long the messages of rooms are kept that say nothing; for ever if not set.
    pub default: Option<Duration>,
    /// The shortest time that a room may ask for; a shorter one counts as this.
    pub shortest: Duration,
    /// The longest time that a room may ask for; no bound if not set.
    pub longest: Option<Duration>,
    /// The pause between the beginnings of two runs.
    pub interval: Duration,
}

impl Default for Retention {
    /// Nothing is deleted.
    fn default() -> Self {
        Self {
            purges: false,
            default: None,
            shortest: Duration::from_hours(24),
            longest: None,
            interval: Duration::from_hours(1),
        }
    }
}

impl Retention {
    /// How long a room keeps messages whose retention event is `event`; `None`: for ever.
    fn lifetime(&self, event: Option<&str>) -> Option<Duration> {
        #[derive(Deserialize)]
        struct Content {
            max_lifetime: Option<u64>,
        }
        #[derive(Deserialize)]
        struct Event {
            content: Content,
        }
        let event = event.and_then(|event| serde_json::from_str::<Event>(event).ok());
        let Some(asked) = event.and_then(|event| event.content.max_lifetime) else {
            return self.default;
        };
        let asked = Duration::from_millis(asked).max(self.shortest);
        Some(self.longest.map_or(asked, |longest| asked.min(longest)))
    }
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeBatch {
    /// How many messages were deleted.
    pub deleted: i64,
    /// Whether there is more to do at once.
    pub has_more: bool,
}

impl Rooms {
    /// One batch of the job that deletes old messages. Does nothing where another process works on
    /// it, and where the next run is not due.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn purge_batch(&self) -> Result<PurgeBatch, Error> {
        let settings = self.0.settings.retention.clone();
        if !settings.purges {
            return Ok(PurgeBatch::default());
        }
        let store = &self.0.store;
        let event_type = StateEventType::from(RETENTION).to_string();
        let slots = store
            .slot_numbers(vec![(event_type, String::new())])
            .await?;
        let Some(slot) = slots.into_values().next() else {
            return Ok(PurgeBatch::default());
        };
        let now = self.0.clock.now_i64();
        let mut tx = store.begin().await?;
        let Some(run) = retention::lock_run(&mut tx).await? else {
            return Ok(PurgeBatch::default());
        };
        let Some((started_ms, from)) = begin(run, now, settings.interval) else {
            return Ok(PurgeBatch::default());
        };
        if started_ms != run.started_ms {
            retention::note_time(&mut tx, now, now.saturating_sub(ms(REMEMBERED))).await?;
        }
        let rooms = retention::list_rooms(&mut tx, from, slot, ROOMS).await?;
        let due: Vec<(RoomNid, i64)> = rooms
            .iter()
            .filter_map(|room| {
                let lifetime = settings.lifetime(room.event.as_deref())?;
                Some((room.room, started_ms.saturating_sub(ms(lifetime))))
            })
            .collect();
        let purged = retention::purge(&mut tx, &due, POSITIONS).await?;
        let unfinished = purged.iter().filter(|room| room.has_more);
        let next_room = match unfinished.map(|room| room.room).min() {
            Some(room) => Some(room),
            None if i64::try_from(rooms.len()).unwrap_or(ROOMS) < ROOMS => None,
            None => rooms.last().map(|room| RoomNid(room.room.0 + 1)),
        };
        let run = Run {
            started_ms,
            next_room,
        };
        retention::update_run(&mut tx, run).await?;
        tx.commit().await.map_err(crate::store::StoreError::from)?;
        Ok(PurgeBatch {
            deleted: purged.iter().map(|room| room.deleted).sum(),
            has_more: next_room.is_some(),
        })
    }

    /// How often a run begins.
    pub fn purge_interval(&self) -> Duration {
        self.0.settings.retention.interval
    }
}

/// When the run of this batch began, and its first room: that of the run under way, or a new one if
/// it is time.
fn begin(run: Run, now: i64, interval: Duration) -> Option<(i64, RoomNid)> {
    match run.next_room {
        Some(room) => Some((run.started_ms, room)),
        None if run.started_ms.saturating_add(ms(interval)) <= now => Some((now, RoomNid(0))),
        None => None,
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn a_room_keeps_messages_as_long_as_it_asks_for_within_bounds() {
        let retention = Retention {
            purges: true,
            default: Some(DAY * 1095),
            shortest: DAY,
            longest: Some(DAY * 100),
            interval: DAY,
        };
        let asks = |ms: &str| format!(r#"{{"content":{{"max_lifetime":{ms}}}}}"#);
        for (event, days) in [
            (None, 1095),
            (Some("{}".to_owned()), 1095),
            (Some(r#"{"content":{}}"#.to_owned()), 1095),
            (Some(asks("\"long\"")), 1095),
            (Some(asks("7776000000")), 90),
            (Some(asks("1")), 1),
            (Some(asks("9007199254740991")), 100),
        ] {
            let lifetime = retention.lifetime(event.as_deref());
            assert_eq!(lifetime, Some(DAY * days), "{event:?}");
        }
        let keeps = Retention {
            default: None,
            ..retention
        };
        assert_eq!(keeps.lifetime(None), None);
    }

    #[test]
    fn a_run_begins_when_it_is_time_and_goes_on_until_it_is_over() {
        let hour = Duration::from_hours(1);
        let run = |started_ms, next_room| Run {
            started_ms,
            next_room,
        };
        let over = run(1_000, None);
        assert_eq!(begin(over, 1_000 + ms(hour) - 1, hour), None);
        let due = 1_000 + ms(hour);
        assert_eq!(begin(over, due, hour), Some((due, RoomNid(0))));
        let under_way = run(1_000, Some(RoomNid(7)));
        assert_eq!(begin(under_way, due, hour), Some((1_000, RoomNid(7))));
    }
}
