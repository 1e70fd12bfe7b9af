//! Filling the index: what there is to find in the events of the stream.
//!
//! The index follows the stream, so that no message waits for it. It can be behind by a moment:
//! a search makes up for that first.

use std::time::Duration;

use ruma::{OwnedEventId, events::TimelineEventType};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::{
    event::Pdu,
    rooms::{Error, Rooms},
    store::{
        RoomNid, StoreError, events,
        search::{self, Entry, Key},
    },
};

/// How many entries of the stream are read at once.
const BATCH: i64 = 500;
/// The pause when there is nothing to do.
const IDLE: Duration = Duration::from_secs(1);
/// The longest that a search waits for what was said just before.
const PATIENCE: Duration = Duration::from_secs(2);

impl Rooms {
    /// Fills the index for as long as the process lives.
    pub async fn keep_index(self) {
        if !self.0.settings.search {
            return;
        }
        let mut done = None;
        loop {
            let now = self.0.store.live().position();
            if done == Some(now) {
                sleep(IDLE).await;
                continue;
            }
            match self.index_batch().await {
                Ok(true) => {}
                Ok(false) => done = Some(now),
                Err(error) => {
                    tracing::warn!(%error, "messages could not be made searchable");
                    sleep(IDLE).await;
                }
            }
        }
    }

    /// Makes what was said until now searchable, if that takes no longer than a moment.
    pub(super) async fn catch_up_index(&self) -> Result<(), Error> {
        let now = self.0.store.live().position();
        let done = search::progress(&mut *self.0.store.conn().await?).await?;
        if done >= now {
            return Ok(());
        }
        let all = async {
            while self.index_batch().await? {}
            Ok(())
        };
        // What is further behind is found later.
        timeout(PATIENCE, all).await.unwrap_or(Ok(()))
    }

    /// Reads one part of the stream. `false` at its end.
    async fn index_batch(&self) -> Result<bool, Error> {
        let mut tx = self.0.store.begin().await?;
        let after = search::lock_progress(&mut tx).await?;
        let unread = search::unread(&mut tx, after, BATCH).await?;
        let Some(last) = unread.last().map(|unread| unread.at) else {
            return Ok(false);
        };
        let mut entries = Vec::new();
        let mut redacted: Vec<(RoomNid, OwnedEventId)> = Vec::new();
        for unread in &unread {
            let Some(event) = &unread.event else { continue };
            if *event.pdu.event_type() == TimelineEventType::RoomRedaction
                && let Some(target) = event.pdu.any_redacts()
            {
                redacted.push((event.room, target.to_owned()));
            }
            if let Some((key, text)) = searchable(&event.pdu) {
                entries.push(Entry {
                    at: unread.at,
                    room: event.room,
                    position: event.position,
                    sender: event.sender,
                    key,
                    text,
                });
            }
        }
        search::insert(&mut tx, &entries).await?;
        // A redaction may have come between reading an event and writing its words.
        let gone = events::places(&mut tx, &redacted).await?;
        let gone = events::at(&mut tx, &gone).await?.into_iter();
        let gone: Vec<_> = gone
            .filter(|event| event.redacted_by.is_some())
            .map(|event| (event.room, event.position))
            .collect();
        search::delete(&mut tx, &gone).await?;
        search::update_progress(&mut tx, last).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(true)
    }
}

/// What an event can be found by (client-server API v1.19, "Search Categories").
fn searchable(pdu: &Pdu) -> Option<(Key, String)> {
    #[derive(Deserialize)]
    struct Text {
        body: Option<String>,
        mimetype: Option<String>,
    }
    #[derive(Deserialize)]
    struct Topic {
        #[serde(rename = "m.text")]
        texts: Option<Vec<Text>>,
    }
    #[derive(Deserialize)]
    struct Body {
        body: String,
    }
    #[derive(Deserialize)]
    struct Name {
        name: String,
    }
    #[derive(Deserialize)]
    struct Topics {
        topic: Option<String>,
        #[serde(rename = "m.topic")]
        rich: Option<Topic>,
    }
    let is_room_state = pdu.state_key() == Some("");
    let found = match pdu.event_type() {
        TimelineEventType::RoomMessage if !pdu.is_state() => {
            (Key::Body, pdu.content_as::<Body>()?.body)
        }
        TimelineEventType::RoomName if is_room_state => (Key::Name, pdu.content_as::<Name>()?.name),
        TimelineEventType::RoomTopic if is_room_state => {
            let topics = pdu.content_as::<Topics>()?;
            let rich = topics.rich.and_then(|rich| rich.texts);
            let is_plain = |text: &Text| {
                let mimetype = text.mimetype.as_deref();
                mimetype.is_none_or(|mimetype| mimetype == "text/plain")
            };
            let rich = rich.into_iter().flatten().filter(is_plain);
            let texts = topics.topic.into_iter();
            let texts = texts.chain(rich.filter_map(|text| text.body));
            (Key::Topic, texts.collect::<Vec<_>>().join("\n"))
        }
        _ => return None,
    };
    (!found.1.trim().is_empty()).then_some(found)
}
