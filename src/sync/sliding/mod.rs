//! Simplified sliding sync: the rooms that a client looks at, and what is new in them.
//!
//! A look surveys the user's rooms at one moment ([`Survey`]), chooses those in the windows of the
//! lists and those subscribed to ([`lists`]), works out what the client does not know of them
//! ([`news`]) from what it was told before ([`snapshot`]), and writes it ([`mod@write`]) with what the
//! extensions add ([`extensions`]). With nothing new it waits as `/sync` does. Timelines, history
//! visibility and the state of rooms that were left are those of `/sync`.
//!
//! MSC4186, as Element X and the Rust SDK speak it.

mod extensions;
mod lists;
mod news;
mod next;
mod past;
mod request;
mod required;
mod snapshot;
mod threads;
mod write;

use std::sync::Arc;

use tokio::time::Instant;

use self::lists::Named;
pub(super) use self::snapshot::memory;
pub use self::{
    request::{Body, Request},
    snapshot::{InvalidPosition, Position, Snapshot},
};
use super::{Answer, Error, MAX_TIMEOUT, Sync, SyncToken, ToldKey};
use crate::store::{
    DeviceNid, StoreError, StreamPosition, UserNid,
    live::Survey,
    sliding_positions::{self, NewPosition},
};

/// How often memory is looked at again because something fell out of it in between.
const MAX_LOOKS: usize = 4;

/// How far a position may fall behind the stream before it is renewed without any news.
const MAX_STALE: i64 = 1_000;

/// A request with what stays the same however often it looks.
struct Conversation {
    request: Request,
    device: DeviceNid,
    /// What the client knows; nothing for a new connection.
    known: Arc<Snapshot>,
    named: Named,
}

impl Conversation {
    /// The place in the stream that the client has seen.
    fn since(&self) -> Option<SyncToken> {
        self.request.pos.map(|pos| pos.token)
    }

    fn told_key(&self) -> ToldKey {
        let conn_id = self.request.conn_id.as_str();
        (Some(self.device), Some(conn_id.into()))
    }
}

impl Sync {
    /// Answers a sliding sync, as JSON.
    ///
    /// # Errors
    /// [`Error::UnknownPosition`] for a position that this connection was not given, or that is
    /// forgotten: the client begins anew.
    pub async fn sliding(&self, request: Request) -> Result<String, Error> {
        let device = request.actor.device;
        let device = device.ok_or(Error::Invalid("Only devices have sliding sync"))?;
        let known = match request.pos {
            Some(pos) => Box::pin(self.known_snapshot(&request, device, pos)).await?,
            None => Arc::new(Snapshot::new(device, &request.conn_id)),
        };
        if let Some(pos) = request.pos
            && pos.token.position > self.0.store.live().position()
        {
            // The position is of another process, which is ahead.
            Box::pin(self.0.store.catch_up()).await?;
            if pos.token.position > self.0.store.live().position() {
                return Err(Error::UnknownPosition);
            }
        }
        let named = Box::pin(self.named_rooms(&request)).await?;
        let timeout = request.timeout.min(MAX_TIMEOUT);
        let may_wait = request.pos.is_some() && !timeout.is_zero();
        let deadline = may_wait.then(|| Instant::now() + timeout);
        let user = request.actor.user;
        let conversation = Conversation {
            request,
            device,
            known,
            named,
        };
        self.when_there_is_news(user, deadline, || self.look_at_rooms(&conversation))
            .await
    }

    /// The snapshot that a position names.
    async fn known_snapshot(
        &self,
        request: &Request,
        device: DeviceNid,
        pos: Position,
    ) -> Result<Arc<Snapshot>, Error> {
        let is_of =
            |snapshot: &Snapshot| snapshot.device == device && snapshot.conn_id == request.conn_id;
        if let Some(snapshot) = self.0.snapshots.get(&pos.snapshot) {
            return if is_of(&snapshot) {
                Ok(snapshot)
            } else {
                Err(Error::UnknownPosition)
            };
        }
        let found = {
            let mut conn = self.0.store.conn().await?;
            sliding_positions::find(&mut conn, device, pos.snapshot).await?
        };
        let (conn_id, json) = found.ok_or(Error::UnknownPosition)?;
        let snapshot = Snapshot::from_json(pos.snapshot, device, conn_id, &json)
            .map_err(|_| Error::UnknownPosition)?;
        if !is_of(&snapshot) {
            return Err(Error::UnknownPosition);
        }
        let snapshot = Arc::new(snapshot);
        self.0.snapshots.insert(pos.snapshot, Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// What there is to tell now.
    async fn look_at_rooms(&self, conversation: &Conversation) -> Result<Answer, Error> {
        let request = &conversation.request;
        let since = conversation.since().map(|since| since.position);
        let survey = self.survey(request.actor.user, since).await?;
        let known = request.pos.map(|_| &*conversation.known);
        let choice = self
            .choose(request, &conversation.named, &survey, known)
            .await?;
        let news = self.news(conversation, &survey, &choice).await?;
        let extended = self
            .extensions(conversation, &survey, &choice, &news)
            .await?;
        let is_empty = news.is_empty() && extended.is_empty;
        let snapshot = news.snapshot(conversation, &survey, &choice);
        let token = SyncToken {
            typing: extended.typing,
            ..SyncToken::at(survey.now)
        };
        let pos = self.renew(conversation, snapshot, token, is_empty).await?;
        if !is_empty {
            self.note_answer(&conversation.told_key(), conversation.since());
        }
        let text = write::answer(conversation, &survey, &choice, &news, &extended, pos);
        Ok(Answer { text, is_empty })
    }

    /// The user's rooms at one moment, with all that lists need.
    async fn survey(&self, user: UserNid, since: Option<StreamPosition>) -> Result<Survey, Error> {
        let store = &self.0.store;
        let mut last = None;
        for _ in 0..MAX_LOOKS {
            store.load_user(user).await?;
            let since = since.unwrap_or_else(|| store.live().position());
            let Some(survey) = store.live().survey(user, since) else {
                continue;
            };
            if survey.missing.is_empty() {
                return Ok(survey);
            }
            store.load_activities(&survey.missing).await?;
            // Rooms whose activity does not stay in memory are left out of lists.
            last = Some(survey);
        }
        Ok(last.ok_or(StoreError::Unavailable)?)
    }

    /// The position of an answer; writes the snapshot if it says anything new.
    async fn renew(
        &self,
        conversation: &Conversation,
        mut snapshot: Snapshot,
        token: SyncToken,
        is_empty: bool,
    ) -> Result<Position, Error> {
        let known = &conversation.known;
        if let Some(pos) = conversation.request.pos {
            if snapshot.says_the_same(known) {
                return Ok(Position {
                    snapshot: known.id,
                    token,
                });
            }
            // What changed is out of the client's sight: it can wait for an answer with news.
            if is_empty && token.position.0 - pos.token.position.0 < MAX_STALE {
                return Ok(pos);
            }
        }
        let number = u64::from_le_bytes(self.0.random.bytes::<8>()) >> 1;
        snapshot.id = i64::try_from(number).unwrap_or(i64::MAX).max(1);
        let content = snapshot
            .to_json()
            .map_err(|_| StoreError::inconsistent("sliding_positions", "content", known.id))?;
        let new = NewPosition {
            device: conversation.device,
            conn_id: &snapshot.conn_id,
            snapshot_id: snapshot.id,
            acknowledged: conversation.request.pos.map(|pos| pos.snapshot),
            now_ms: self.0.clock.now_i64(),
            content: &content,
        };
        {
            let mut conn = self.0.store.conn().await?;
            sliding_positions::insert(&mut conn, &new).await?;
        }
        let id = snapshot.id;
        self.0.snapshots.insert(id, Arc::new(snapshot));
        Ok(Position {
            snapshot: id,
            token,
        })
    }
}
