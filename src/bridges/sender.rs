//! Tells a service what happens, one transaction after the other.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use tokio::{select, sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Bridges,
    body::{Body, Receipt},
    client::{AT_ROOT, Ask},
    interest::Interest,
};
use crate::{
    appservice::Service,
    store::{
        DeviceNid, RoomNid, Store, StoreError, StreamPosition, UserNid,
        appservices::{self, PendingTransaction, ServiceStream},
        job_leases,
        live::{Change, Entry},
        to_device,
    },
};

/// How long a process keeps a service's lease without saying so again, beside what a request takes.
const LEASE: Duration = Duration::from_secs(30);
/// How often the lease is taken again.
const RENEW: Duration = Duration::from_secs(10);
/// How often a process looks whether a lease has become free.
const LOOK: Duration = Duration::from_secs(5);
/// The pause after the database failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(2);
/// The pauses after a service did not take a transaction: from the first to the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// How many entries of the stream are looked at in one go.
const PAGE: usize = 500;
/// How far a service may be ahead of what the database knows of it, where nothing concerned it.
const UNSAVED: i64 = 1_000;
/// The length of transaction ids.
const ID_LENGTH: usize = 20;

/// A service and how far it is, in one process.
pub(super) struct Sender {
    pub(super) bridges: Bridges,
    pub(super) service: Arc<Service>,
    pub(super) interest: Interest,
    /// What the database says; `None`: it must be asked.
    saved: Option<ServiceStream>,
    /// How far it is: what lies between did not concern it.
    pub(super) position: StreamPosition,
    /// The devices of its users for which messages may wait.
    pub(super) waiting: BTreeSet<DeviceNid>,
    /// The time of the newest typing that it was told of.
    typing: i64,
    /// The time of the newest change of who is there that it was told of.
    pub(super) presence: i64,
    /// Whether it is time to look who has changed: once a second, however fast the service is told.
    looks_who_is_there: bool,
    /// Until when the lease need not be taken again.
    leased_until: Option<Instant>,
}

/// What comes next.
enum Next {
    /// There may be more to do.
    More,
    /// Nothing, until something happens.
    News,
    /// Nothing for so long.
    Pause(Duration),
}

impl Bridges {
    /// Tells all services what happens, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut reloaded = self.0.reloaded.subscribe();
        loop {
            let end = stop.child_token();
            let mut tasks = JoinSet::new();
            let services = self.0.parts.services.load_full();
            for service in services.services() {
                if service.url().is_some() {
                    let sender = Sender::new(self.clone(), Arc::clone(service));
                    tasks.spawn(sender.run(end.clone()));
                }
            }
            let is_over = select! {
                () = stop.cancelled() => true,
                changed = reloaded.changed() => changed.is_err(),
            };
            end.cancel();
            while tasks.join_next().await.is_some() {}
            if is_over {
                return;
            }
        }
    }
}

impl Sender {
    fn new(bridges: Bridges, service: Arc<Service>) -> Self {
        Self {
            bridges,
            service,
            interest: Interest::default(),
            saved: None,
            position: StreamPosition::default(),
            waiting: BTreeSet::new(),
            typing: 0,
            presence: 0,
            looks_who_is_there: true,
            leased_until: None,
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        let parts = &self.bridges.0.parts;
        let mut news = parts.store.live().advances();
        let mut typing = parts.rooms.typing_news();
        let mut presence = parts.presence.news();
        // Nobody misses who typed, or came, before this.
        (_, self.typing) = parts.rooms.all_typing_changes(0);
        self.presence = parts.presence.newest();
        loop {
            news.mark_unchanged();
            typing.mark_unchanged();
            self.looks_who_is_there |= presence.has_changed().unwrap_or(false);
            presence.mark_unchanged();
            let next = select! {
                biased;
                () = stop.cancelled() => break,
                next = self.step() => next.unwrap_or_else(|error| {
                    tracing::warn!(service = self.service.id(), %error, "an application service cannot be told now");
                    self.saved = None;
                    Next::Pause(DATABASE_PAUSE)
                }),
            };
            let pause = match next {
                Next::More => continue,
                Next::News => RENEW,
                Next::Pause(pause) => pause.min(RENEW),
            };
            let waits_for_news = matches!(next, Next::News);
            let hears_more = waits_for_news && self.service.receives_ephemeral();
            select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
                () = changed(&mut news), if waits_for_news => {}
                () = changed(&mut typing), if hears_more => {}
                () = changed(&mut presence), if hears_more => self.looks_who_is_there = true,
            }
        }
        self.release().await;
    }

    /// Does one thing.
    async fn step(&mut self) -> Result<Next, StoreError> {
        if !self.take_lease().await? {
            // Somebody else moves it meanwhile.
            self.saved = None;
            self.interest = Interest::default();
            // What that one may not have told any more.
            let parts = &self.bridges.0.parts;
            let before = parts.clock.now_i64().saturating_sub(millis(self.lease()));
            self.presence = self.presence.max(before.min(parts.presence.newest()));
            self.looks_who_is_there = true;
            return Ok(Next::Pause(LOOK));
        }
        let saved = match self.saved.take() {
            Some(saved) => saved,
            None => self.load().await?,
        };
        match saved.pending {
            Some(pending) => self.send(saved.position, pending).await,
            None => self.collect(saved.position).await,
        }
    }

    async fn load(&mut self) -> Result<ServiceStream, StoreError> {
        let mut conn = self.bridges.0.parts.store.conn().await?;
        let saved = appservices::begin(&mut conn, self.service.id()).await?;
        self.position = saved.position;
        Ok(saved)
    }

    /// Keeps the lease, or takes it. `false`: another process has it.
    async fn take_lease(&mut self) -> Result<bool, StoreError> {
        if self
            .leased_until
            .is_some_and(|until| Instant::now() < until)
        {
            return Ok(true);
        }
        self.leased_until = None;
        let inner = &self.bridges.0;
        let now = inner.parts.clock.now_i64();
        let until = now.saturating_add(millis(self.lease()));
        let mut conn = inner.parts.store.conn().await?;
        let taken = job_leases::take(&mut conn, &self.job(), &inner.process, now, until).await?;
        if taken {
            self.leased_until = Some(Instant::now() + RENEW);
        }
        Ok(taken)
    }

    /// How long a lease lasts.
    fn lease(&self) -> Duration {
        LEASE + self.bridges.0.settings.timeout * 2
    }

    async fn release(&self) {
        if self.leased_until.is_none() {
            return;
        }
        let inner = &self.bridges.0;
        let released = async {
            let mut conn = inner.parts.store.conn().await?;
            job_leases::release(&mut conn, &self.job(), &inner.process).await
        };
        if let Err(error) = released.await {
            tracing::debug!(%error, "the lease of an application service could not be given back");
        }
    }

    fn job(&self) -> String {
        format!("application service {}", self.service.id())
    }

    /// Goes along the stream, and keeps what concerns the service as a transaction.
    async fn collect(&mut self, saved: StreamPosition) -> Result<Next, StoreError> {
        let store = self.bridges.0.parts.store.clone();
        let entries = store.entries_after(self.position, PAGE).await?;
        let mut body = Body::default();
        let mut seen = 0;
        for entry in &entries {
            if body.is_full() {
                break;
            }
            self.look_at(&mut body, entry).await?;
            self.position = entry.position;
            seen += 1;
        }
        let is_behind = seen < entries.len() || entries.len() == PAGE;
        let mut presence = self.told();
        let mut looks_again = self.looks_who_is_there;
        if self.add_devices(&mut body).await? {
            // The messages to devices fill a transaction of their own. What else there was is
            // looked at again after it, with the messages that are left: a process that begins
            // anew finds all of it.
            body = body.with_messages_alone();
            self.position = saved;
            self.waiting.clear();
        } else if self.service.receives_ephemeral() {
            self.add_typing(&mut body).await?;
            // Who is in which room is read as it is now.
            if !is_behind && self.looks_who_is_there {
                presence = self.add_presence(&mut body).await?;
                looks_again = presence.has_more;
            }
        }
        let has_more = is_behind || presence.has_more;
        if body.is_empty() {
            let mut saved = saved;
            if self.position.0 - saved.0 >= UNSAVED {
                let id = self.service.id();
                let mut conn = store.conn().await?;
                if !appservices::advance(&mut conn, id, saved, self.position).await? {
                    return Ok(Next::More);
                }
                saved = self.position;
            }
            (self.presence, self.looks_who_is_there) = (presence.until, looks_again);
            self.saved = Some(ServiceStream {
                position: saved,
                pending: None,
            });
            return Ok(if has_more { Next::More } else { Next::News });
        }
        let pending = PendingTransaction {
            id: self.bridges.0.parts.random.alphanumeric(ID_LENGTH),
            position: self.position,
            body: body.text(),
            failures: 0,
            retry_at_ms: None,
        };
        let mut tx = store.begin().await?;
        if appservices::set_pending(&mut tx, self.service.id(), saved, &pending).await? {
            // From here on the transaction holds them.
            to_device::delete_told(&mut tx, body.devices.messages()).await?;
            Store::commit(tx).await?;
            (self.presence, self.looks_who_is_there) = (presence.until, looks_again);
            self.saved = Some(ServiceStream {
                position: saved,
                pending: Some(pending),
            });
        }
        Ok(Next::More)
    }

    async fn look_at(&mut self, body: &mut Body, entry: &Entry) -> Result<(), StoreError> {
        let bridges = self.bridges.clone();
        let (store, server_name) = (
            &bridges.0.parts.store,
            bridges.0.settings.server_name.as_str(),
        );
        match &entry.change {
            Change::Event(event) => {
                let interest = &mut self.interest;
                if interest
                    .in_event(store, &self.service, server_name, event)
                    .await?
                {
                    body.push_event(event);
                }
            }
            Change::Receipt {
                room,
                user,
                private,
                thread,
                event_id,
                at,
                ..
            } if self.service.receives_ephemeral() => {
                let Some((room_id, user_id)) = self.names(*room, *user).await? else {
                    return Ok(());
                };
                if *private && !self.service.covers_user(&user_id) {
                    return Ok(());
                }
                let interest = &mut self.interest;
                if interest
                    .in_room(store, &self.service, server_name, *room, &room_id)
                    .await?
                {
                    let receipt = Receipt {
                        is_private: *private,
                        thread,
                        at: *at,
                    };
                    body.push_receipt(&room_id, event_id, &user_id, &receipt);
                }
            }
            _ if self.service.receives_ephemeral() => {
                self.look_at_devices(&mut body.devices, entry).await?;
            }
            _ => (),
        }
        Ok(())
    }

    async fn names(
        &self,
        room: RoomNid,
        user: UserNid,
    ) -> Result<Option<(ruma::OwnedRoomId, ruma::OwnedUserId)>, StoreError> {
        let store = &self.bridges.0.parts.store;
        let room_id = store.room_ids(&[room]).await?.remove(&room);
        let user_id = store.user_ids(&[user]).await?.remove(&user);
        Ok(room_id.zip(user_id))
    }

    async fn add_typing(&mut self, body: &mut Body) -> Result<(), StoreError> {
        let bridges = self.bridges.clone();
        let (store, server_name) = (
            &bridges.0.parts.store,
            bridges.0.settings.server_name.as_str(),
        );
        let (changes, newest) = bridges.0.parts.rooms.all_typing_changes(self.typing);
        self.typing = newest;
        if changes.is_empty() {
            return Ok(());
        }
        let rooms: Vec<RoomNid> = changes.iter().map(|(room, _)| *room).collect();
        let ids: HashMap<_, _> = store.room_ids(&rooms).await?;
        for (room, user_ids) in &changes {
            let Some(room_id) = ids.get(room) else {
                continue;
            };
            let interest = &mut self.interest;
            if interest
                .in_room(store, &self.service, server_name, *room, room_id)
                .await?
            {
                body.push_typing(room_id, user_ids);
            }
        }
        Ok(())
    }

    /// Sends a transaction, when its time has come.
    async fn send(
        &mut self,
        saved: StreamPosition,
        mut pending: PendingTransaction,
    ) -> Result<Next, StoreError> {
        let parts = &self.bridges.0.parts;
        let now = parts.clock.now_i64();
        if let Some(wait) = pending.retry_at_ms.map(|at| at.saturating_sub(now))
            && wait > 0
        {
            let wait = Duration::from_millis(wait.unsigned_abs());
            self.saved = Some(ServiceStream {
                position: saved,
                pending: Some(pending),
            });
            return Ok(Next::Pause(wait));
        }
        let is_taken = self.try_send(&pending).await;
        let mut conn = parts.store.conn().await?;
        let id = self.service.id();
        if is_taken {
            if appservices::finish_pending(&mut conn, id, &pending.id).await? {
                self.position = pending.position;
                self.saved = Some(ServiceStream {
                    position: pending.position,
                    pending: None,
                });
            }
            return Ok(Next::More);
        }
        let pause = self.pause(pending.failures);
        let retry_at_ms = parts.clock.now_i64().saturating_add(millis(pause));
        if appservices::postpone(&mut conn, id, &pending.id, retry_at_ms).await? {
            pending.failures = pending.failures.saturating_add(1);
            pending.retry_at_ms = Some(retry_at_ms);
            self.saved = Some(ServiceStream {
                position: saved,
                pending: Some(pending),
            });
        }
        Ok(Next::Pause(pause))
    }

    async fn try_send(&self, pending: &PendingTransaction) -> bool {
        let ask = Ask {
            method: Method::PUT,
            path: &["transactions", &pending.id],
            query: &[],
            body: Some(pending.body.clone().into()),
            older: Some(AT_ROOT),
        };
        let service = self.service.id();
        match self.bridges.ask(&self.service, &ask).await {
            None => false,
            Some(Ok(answer)) if answer.status.is_success() => {
                tracing::debug!(
                    service,
                    transaction = pending.id,
                    "an application service was told"
                );
                true
            }
            Some(Ok(answer)) => {
                let status = answer.status.as_u16();
                tracing::warn!(
                    service,
                    status,
                    failures = pending.failures,
                    "an application service did not take a transaction"
                );
                false
            }
            Some(Err(error)) => {
                tracing::warn!(service, %error, failures = pending.failures, "an application service cannot be reached");
                false
            }
        }
    }

    /// How long to wait after so many failures; services that failed together come back apart.
    fn pause(&self, failures: i32) -> Duration {
        let (first, longest) = RETRY;
        let factor = 1_u32
            .checked_shl(u32::try_from(failures).unwrap_or(0))
            .unwrap_or(u32::MAX);
        let pause = first.saturating_mul(factor).min(longest);
        let spread = u64::try_from(pause.as_millis() / 8).unwrap_or(0).max(1);
        let more = self.bridges.0.parts.random.range(0..spread);
        pause + Duration::from_millis(more)
    }
}

async fn changed<T: Send + Sync>(news: &mut watch::Receiver<T>) {
    // The other end is there as long as the server is.
    if news.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
