//! Follows the stream and tells the push gateways.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Push,
    badge::Badge,
    decide::Deciders,
    gateway::{News, Told},
    retry,
};
use crate::{
    rooms::threads_of,
    store::{
        Membership, RoomNid, StreamPosition, UserNid, job_leases,
        live::{Change, Entry, RoomHead},
        push_work::{self, Stall},
        pushers::{self, Pusher, Recipients},
    },
};

/// The name of the lease.
const JOB: &str = "push";
/// For how long a process has it.
const LEASE_MS: i64 = 60_000;
/// How often a process without it asks for it.
const LEASE_RETRY: Duration = Duration::from_secs(5);
/// How often it renews it.
const LEASE_RENEWAL: Duration = Duration::from_secs(20);
/// How often the stream is looked at without a hint.
const LOOK: Duration = Duration::from_secs(10);
/// What comes within this time is looked at together.
const GATHERING: Duration = Duration::from_millis(50);
/// How much of the stream that notified nobody may be looked at again after a crash.
const CURSOR_RENEWAL: Duration = Duration::from_secs(5);
/// How long all others wait for one gateway: then it is tried again apart from them.
const PATIENCE: Duration = Duration::from_secs(4);
/// The pause after the database failed.
const FAILED: Duration = Duration::from_secs(5);
/// How many entries are taken at once.
const PAGE: usize = 500;
/// How many gateways are told at once.
const AT_ONCE: usize = 64;

/// What is kept between pages.
struct Dispatcher {
    position: StreamPosition,
    /// When the position was written down, unless it is still to be.
    noted: Option<Instant>,
    deciders: Deciders,
    /// The number that each pusher was told last.
    badges: HashMap<i64, i64>,
}

/// What a page of the stream is about.
#[derive(Default)]
struct Page {
    events: Vec<(StreamPosition, Arc<crate::store::live::TimelineEvent>)>,
    rooms: HashSet<RoomNid>,
    invited: HashSet<UserNid>,
    readers: HashSet<UserNid>,
}

impl Push {
    /// Tells push gateways until a shutdown is asked for.
    pub async fn dispatch(self, soft: CancellationToken) {
        soft.run_until_cancelled(async {
            loop {
                match self.follow().await {
                    Ok(()) => sleep(LEASE_RETRY).await,
                    Err(error) => {
                        tracing::warn!(%error, "push gateways could not be told");
                        sleep(FAILED).await;
                    }
                }
            }
        })
        .await;
        if let Ok(mut conn) = self.0.store.conn().await {
            // Another process need not wait then.
            let _ = job_leases::release(&mut conn, JOB, &self.0.holder).await;
        }
    }

    /// Follows the stream for as long as the lease is this process's.
    async fn follow(&self) -> Result<(), Error> {
        let mut advances = self.0.store.live().advances();
        let mut dispatcher: Option<Dispatcher> = None;
        let mut renewed: Option<Instant> = None;
        loop {
            if renewed.is_none_or(|renewed| renewed.elapsed() >= LEASE_RENEWAL) {
                if !self.keep_lease().await? {
                    return Ok(());
                }
                renewed = Some(Instant::now());
            }
            let now = if let Some(now) = &mut dispatcher {
                now
            } else {
                let mut conn = self.0.store.conn().await?;
                dispatcher.insert(Dispatcher {
                    position: push_work::cursor(&mut conn).await?,
                    noted: None,
                    deciders: Deciders::new(self.0.settings.rules),
                    badges: HashMap::new(),
                })
            };
            advances.borrow_and_update();
            let entries = self.0.store.entries_after(now.position, PAGE).await?;
            if let Some(last) = entries.last() {
                let last = last.position;
                self.tell_page(now, &entries, last).await?;
                now.position = last;
                continue;
            }
            // A hint that is lost costs time.
            if timeout(LOOK, advances.changed()).await.is_ok() {
                sleep(GATHERING).await;
            }
        }
    }

    async fn keep_lease(&self) -> Result<bool, Error> {
        let now = self.0.clock.now_i64();
        let mut conn = self.0.store.conn().await?;
        let until = now.saturating_add(LEASE_MS);
        Ok(job_leases::take(&mut conn, JOB, &self.0.holder, now, until).await?)
    }

    /// Tells of a page of the stream, and notes that it was told.
    async fn tell_page(
        &self,
        now: &mut Dispatcher,
        entries: &[Arc<Entry>],
        last: StreamPosition,
    ) -> Result<(), Error> {
        let page = Page::new(entries, &mut now.deciders);
        let others: Vec<UserNid> = page.invited.union(&page.readers).copied().collect();
        let mut conn = self.0.store.conn().await?;
        let recipients = if page.rooms.is_empty() && others.is_empty() {
            Recipients::default()
        } else {
            let rooms: Vec<RoomNid> = page.rooms.iter().copied().collect();
            let clock = self.0.clock.now_i64();
            let expires = self.0.settings.expiry.as_deref();
            pushers::recipients(&mut conn, &rooms, &others, expires, clock).await?
        };
        let is_told = !recipients.in_rooms.is_empty() || !recipients.others.is_empty();
        if is_told {
            push_work::update_upto(&mut conn, last).await?;
            let mut users: Vec<_> = recipients.in_rooms.iter().map(|(_, user)| *user).collect();
            users.extend(&recipients.others);
            users.sort_unstable();
            users.dedup();
            now.deciders.load(&mut conn, &users).await?;
            drop(conn);
            let news = self.decide(now, &page, &recipients).await?;
            let readers = page.readers.intersection(&recipients.others);
            let readers: HashSet<UserNid> = readers.copied().collect();
            self.tell_users(now, news, &readers).await?;
            conn = self.0.store.conn().await?;
        }
        let is_due = |noted: Instant| noted.elapsed() >= CURSOR_RENEWAL;
        if is_told || now.noted.is_none_or(is_due) {
            push_work::update_cursor(&mut conn, last).await?;
            now.noted = Some(Instant::now());
        }
        Ok(())
    }

    /// Whom each event of a page notifies.
    async fn decide(
        &self,
        now: &Dispatcher,
        page: &Page,
        recipients: &Recipients,
    ) -> Result<HashMap<UserNid, Vec<(StreamPosition, News)>>, Error> {
        let mut in_rooms: HashMap<RoomNid, Vec<UserNid>> = HashMap::new();
        for (room, user) in &recipients.in_rooms {
            in_rooms.entry(*room).or_default().push(*user);
        }
        let rooms: Vec<RoomNid> = page.rooms.iter().copied().collect();
        let heads: HashMap<RoomNid, Arc<RoomHead>> = self
            .0
            .store
            .load_rooms(&rooms)
            .await?
            .into_iter()
            .map(|room| (room.nid(), room.head()))
            .collect();
        let events = page.events.iter().map(|(_, event)| event);
        let threads = threads_of(events);
        let mut users: Vec<UserNid> = Vec::new();
        if !threads.is_empty() {
            users.extend(recipients.in_rooms.iter().map(|(_, user)| *user));
            users.sort_unstable();
            users.dedup();
        }
        let subscribed = self.0.rooms.subscribed(&users, &threads).await?;
        let mut news: HashMap<UserNid, Vec<_>> = HashMap::new();
        for (at, event) in &page.events {
            let Some(head) = heads.get(&event.room) else {
                continue;
            };
            let invited = event.member.map(|member| member.user);
            let invited = invited
                .filter(|user| page.invited.contains(user) && recipients.others.contains(user));
            let members = in_rooms.get(&event.room).into_iter().flatten().copied();
            let users = members.chain(invited);
            let room = head.room();
            for (user, actions) in now.deciders.decide(event, room, users, &subscribed) {
                news.entry(user).or_default().push((
                    *at,
                    News {
                        event: Arc::clone(event),
                        room: head.room().clone(),
                        actions,
                    },
                ));
            }
        }
        Ok(news)
    }

    /// Tells the gateways of users what notifies them, and of readers how much is left.
    async fn tell_users(
        &self,
        now: &mut Dispatcher,
        news: HashMap<UserNid, Vec<(StreamPosition, News)>>,
        readers: &HashSet<UserNid>,
    ) -> Result<(), Error> {
        let mut users: Vec<UserNid> = news.keys().chain(readers).copied().collect();
        users.sort_unstable();
        users.dedup();
        if users.is_empty() {
            return Ok(());
        }
        let mut conn = self.0.store.conn().await?;
        let mut pushers = pushers::list(&mut conn, &users).await?;
        drop(conn);
        // Gateways that fail are tried again apart from the others.
        pushers.retain(|pusher| pusher.kind == pushers::HTTP && pusher.stalled_at.is_none());
        if pushers.is_empty() {
            return Ok(());
        }
        let badges = self.badges(&users).await?;
        let (badges, news, known) = (&badges, &news, &now.badges);
        let outcomes: Vec<_> = stream::iter(pushers)
            .map(|pusher| async move {
                let nothing = Badge::default();
                let badge = badges.get(&pusher.user).unwrap_or(&nothing);
                let of_user = news.get(&pusher.user).map_or(&[][..], Vec::as_slice);
                let last = known.get(&pusher.id).copied();
                self.tell_one(pusher, badge, of_user, last).await
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        self.note(now, outcomes).await
    }

    /// Tells one gateway, in order, until it fails or takes too long.
    async fn tell_one(
        &self,
        pusher: Pusher,
        badge: &Badge,
        news: &[(StreamPosition, News)],
        last: Option<i64>,
    ) -> (Pusher, i64, Option<StreamPosition>, Told) {
        let until = Instant::now() + PATIENCE;
        let tell = async |news: Option<&News>| {
            let told = timeout_at(until, self.tell(&pusher, news, badge.unread)).await;
            told.unwrap_or(Told::Failed)
        };
        let mut was_told = false;
        for (at, news) in news {
            if !is_unread(badge, news) {
                continue;
            }
            let told = tell(Some(news)).await;
            if told != Told::Well {
                return (pusher, badge.unread, Some(StreamPosition(at.0 - 1)), told);
            }
            was_told = true;
        }
        let mut told = Told::Well;
        if !was_told && last != Some(badge.unread) {
            told = tell(None).await;
        }
        // The number alone is told again with what comes next.
        if told == Told::Failed {
            told = Told::Well;
        }
        (pusher, badge.unread, None, told)
    }

    /// Notes what gateways answered.
    async fn note(
        &self,
        now: &mut Dispatcher,
        outcomes: Vec<(Pusher, i64, Option<StreamPosition>, Told)>,
    ) -> Result<(), Error> {
        let clock = self.0.clock.now_i64();
        let (mut rejected, mut stalls) = (Vec::new(), Vec::new());
        for (pusher, unread, at, told) in outcomes {
            match (told, at) {
                (Told::Rejected, _) => rejected.push(pusher.id),
                (Told::Failed, Some(at)) => stalls.push(Stall {
                    id: pusher.id,
                    at,
                    next_attempt_ms: retry::next_attempt(clock, 0),
                }),
                _ => {
                    now.badges.insert(pusher.id, unread);
                }
            }
        }
        let mut conn = self.0.store.conn().await?;
        if !rejected.is_empty() {
            pushers::delete_rejected(&mut conn, &rejected).await?;
        }
        if !stalls.is_empty() {
            push_work::stall(&mut conn, &stalls, clock).await?;
        }
        Ok(())
    }
}

/// Whether a user has not read an event yet; an invitation is never read.
pub(super) fn is_unread(badge: &Badge, news: &News) -> bool {
    if news.event.member.is_some() {
        return true;
    }
    badge
        .view
        .get(news.event.room)
        .is_some_and(|room| news.event.position > room.read_up_to(news.event.thread.as_ref()))
}

impl Page {
    fn new(entries: &[Arc<Entry>], deciders: &mut Deciders) -> Self {
        let mut page = Self::default();
        for entry in entries {
            match &entry.change {
                Change::Event(event) => {
                    page.rooms.insert(event.room);
                    if let Some(member) = event.member
                        && member.after == Membership::Invite
                    {
                        page.invited.insert(member.user);
                    }
                    if event.marks_read() {
                        page.readers.insert(event.sender);
                    }
                    page.events.push((entry.position, Arc::clone(event)));
                }
                Change::Receipt { user, .. } => {
                    page.readers.insert(*user);
                }
                Change::AccountData {
                    user, room: None, ..
                } => deciders.forget(*user),
                _ => {}
            }
        }
        page
    }
}
