//! How often somebody may do something.
//!
//! One bucket for each kind of action and each user, address or text: it holds `burst` and refills
//! all the time. Buckets are kept in one bounded cache, the least recently used go first; a bucket
//! that nobody touched for an hour is full again, or as good as full, and is forgotten.

#[cfg(test)]
mod tests;

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use governor::{
    InsufficientCapacity, NotUntil, Quota, RateLimiter, clock::Clock as _,
    middleware::NoOpMiddleware, nanos::Nanos, state::StateStore,
};
use moka::{policy::EvictionPolicy, sync::Cache};

use super::{audit::Note, error::ApiError};
use crate::{clock::SharedClock, store::UserNid};

/// How long an untouched bucket is remembered.
const IDLE: Duration = Duration::from_hours(1);

/// How many buckets are remembered.
const MAX_BUCKETS: u64 = 100_000;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Tries to log in, per address.
    Login,
    /// Failed tries to log in, per account.
    LoginFailed,
    /// New accounts, per address.
    Registration,
    /// Mails asked for, per e-mail address.
    Mail,
    /// Events sent, per user.
    Message,
    /// Rooms joined, per user.
    Join,
    /// Every request that the specification calls rate-limited, per user, or per address where
    /// there is no user. The bridge asks for this one itself.
    Read,
    /// Searches for people and rooms, per user.
    DirectorySearch,
    /// The same searches in the long run, per user (tchap.md, R-03).
    DirectorySearchDaily,
    /// Public rooms joined without an invitation, per user.
    PublicJoin,
    /// Events of public rooms read from their history, per user.
    PublicHistory,
    /// Files uploaded, per user.
    MediaUpload,
    /// Files downloaded, per user.
    MediaDownload,
    /// Previews of web pages asked for, per user.
    UrlPreview,
    /// E-mail addresses looked up, per user.
    AddressLookup,
    /// Invitations by e-mail, per user (M3-08).
    ThirdPartyInvite,
}

impl Kind {
    /// The kind's name in measures and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::LoginFailed => "login_failed",
            Self::Registration => "registration",
            Self::Mail => "mail_per_address",
            Self::Message => "message",
            Self::Join => "join",
            Self::Read => "read",
            Self::DirectorySearch => "directory_search",
            Self::DirectorySearchDaily => "directory_search_daily",
            Self::PublicJoin => "public_join",
            Self::PublicHistory => "public_history",
            Self::MediaUpload => "media_upload",
            Self::MediaDownload => "media_download",
            Self::UrlPreview => "url_preview",
            Self::AddressLookup => "address_lookup",
            Self::ThirdPartyInvite => "third_party_invite",
        }
    }
}

/// Told of each request that a limit refused.
pub type RefusalObserver = Arc<dyn Fn(Kind) + Send + Sync>;

/// How often something may be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many per second, in the long run. Not above 0: the bucket never refills.
    pub per_second: f64,
    /// How many at once; 0 counts as 1.
    pub burst: u32,
}

/// The rates of all kinds.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each field is the kind of its name")]
pub struct RateLimitSettings {
    /// Whether anything is limited.
    pub enabled: bool,
    pub login: Rate,
    pub login_failed: Rate,
    pub registration: Rate,
    pub mail: Rate,
    pub message: Rate,
    pub join: Rate,
    pub read: Rate,
    pub directory_search: Rate,
    pub directory_search_daily: Rate,
    pub public_join: Rate,
    pub public_history: Rate,
    pub media_upload: Rate,
    pub media_download: Rate,
    pub url_preview: Rate,
    pub address_lookup: Rate,
    pub third_party_invite: Rate,
}

impl Default for RateLimitSettings {
    fn default() -> Self {
        let rate = |per_second, burst| Rate { per_second, burst };
        Self {
            enabled: true,
            login: rate(0.5, 20),
            login_failed: rate(0.17, 3),
            registration: rate(0.17, 10),
            mail: rate(0.002, 3),
            message: rate(2.0, 15),
            join: rate(0.2, 10),
            read: rate(50.0, 500),
            directory_search: rate(1.0, 20),
            directory_search_daily: rate(0.01, 500),
            public_join: rate(0.005, 30),
            public_history: rate(0.5, 10_000),
            media_upload: rate(1.0, 50),
            media_download: rate(5.0, 500),
            url_preview: rate(0.5, 30),
            address_lookup: rate(1.0, 20),
            third_party_invite: rate(0.2, 10),
        }
    }
}

/// The buckets. Cheap to clone.
#[derive(Clone)]
pub struct RateLimits(Arc<Inner>);

struct Inner {
    clock: SharedClock,
    hasher: RandomState,
    observer: RefusalObserver,
    limiters: ArcSwap<Limiters>,
}

impl RateLimits {
    /// Buckets that are all full.
    pub fn new(settings: &RateLimitSettings, clock: SharedClock) -> Self {
        Self::observed(settings, clock, Arc::new(|_| ()))
    }

    /// The same, with somebody who is told of refusals.
    pub fn observed(
        settings: &RateLimitSettings,
        clock: SharedClock,
        observer: RefusalObserver,
    ) -> Self {
        let limiters = Limiters::new(settings, &clock);
        Self(Arc::new(Inner {
            clock,
            hasher: RandomState::new(),
            observer,
            limiters: ArcSwap::from_pointee(limiters),
        }))
    }

    /// Limits nothing.
    pub(super) fn off(&self) -> Self {
        let settings = RateLimitSettings {
            enabled: false,
            ..RateLimitSettings::default()
        };
        Self::new(&settings, Arc::clone(&self.0.clock))
    }

    /// Takes new rates. All buckets are full again.
    pub fn reload(&self, settings: &RateLimitSettings) {
        let limiters = Limiters::new(settings, &self.0.clock);
        self.0.limiters.store(Arc::new(limiters));
    }

    /// Takes one from a user's bucket, or says how long to wait (429 `M_LIMIT_EXCEEDED`).
    pub fn check_user(&self, kind: Kind, user: UserNid) -> Result<(), ApiError> {
        self.check_user_for(kind, user, 1)
    }

    /// Takes several from a user's bucket at once; where that is more than it can hold, all that it
    /// holds when it is full.
    pub fn check_user_for(&self, kind: Kind, user: UserNid, count: u32) -> Result<(), ApiError> {
        self.ask(&Key::taking(kind, Subject::User(user)), count)
    }

    /// Takes from a user's buckets what a look-up of so many e-mail addresses costs in the long run:
    /// as much as a search for people for each ten, begun ones too. Whoever guesses addresses does
    /// what the limit of searches is there against.
    pub(super) fn check_lookup(&self, user: UserNid, addresses: usize) -> Result<(), ApiError> {
        let count = u32::try_from(addresses.div_ceil(10)).unwrap_or(u32::MAX);
        if count == 0 {
            return Ok(());
        }
        self.check_user_for(Kind::DirectorySearchDaily, user, count)
    }

    /// Takes one from an address's bucket. The addresses of an IPv6 /64 share one.
    pub fn check_address(&self, kind: Kind, address: IpAddr) -> Result<(), ApiError> {
        self.ask(&Key::taking(kind, Subject::address(address)), 1)
    }

    /// Takes one from the bucket of a text, such as an e-mail address or the name that somebody
    /// tries to log in with. Only its hash is kept.
    pub fn check_text(&self, kind: Kind, text: &str) -> Result<(), ApiError> {
        self.ask(
            &Key::taking(kind, Subject::Text(self.0.hasher.hash_one(text))),
            1,
        )
    }

    /// The same without taking: for actions of which only failures count.
    pub fn peek_text(&self, kind: Kind, text: &str) -> Result<(), ApiError> {
        let key = Key {
            take: false,
            ..Key::taking(kind, Subject::Text(self.0.hasher.hash_one(text)))
        };
        self.ask(&key, 1)
    }

    fn ask(&self, key: &Key, count: u32) -> Result<(), ApiError> {
        let limiters = self.0.limiters.load();
        if !limiters.enabled {
            return Ok(());
        }
        let clock = Time(Arc::clone(&self.0.clock));
        let limiter = limiters.of(key.kind);
        let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let answer = limiter
            .check_key_n(key, count)
            .or_else(|InsufficientCapacity(most)| {
                let most = NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN);
                limiter.check_key_n(key, most)
            });
        // A full bucket holds at least one.
        let answer = answer.unwrap_or(Ok(()));
        answer.map_err(|until: NotUntil<Duration>| {
            (self.0.observer)(key.kind);
            ApiError::limit_exceeded(until.wait_time_from(clock.now()))
                .noted(Note::Limited(key.kind.as_str()))
        })
    }
}

impl std::fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RateLimits")
    }
}

type Limiter = RateLimiter<Key, Buckets, Time, NoOpMiddleware<Duration>>;

struct Limiters {
    enabled: bool,
    login: Limiter,
    login_failed: Limiter,
    registration: Limiter,
    mail: Limiter,
    message: Limiter,
    join: Limiter,
    read: Limiter,
    directory_search: Limiter,
    directory_search_daily: Limiter,
    public_join: Limiter,
    public_history: Limiter,
    media_upload: Limiter,
    media_download: Limiter,
    url_preview: Limiter,
    address_lookup: Limiter,
    third_party_invite: Limiter,
}

impl Limiters {
    fn new(settings: &RateLimitSettings, clock: &SharedClock) -> Self {
        let buckets = Buckets::new();
        let limiter =
            |rate: Rate| RateLimiter::new(quota(rate), buckets.clone(), Time(Arc::clone(clock)));
        Self {
            enabled: settings.enabled,
            login: limiter(settings.login),
            login_failed: limiter(settings.login_failed),
            registration: limiter(settings.registration),
            mail: limiter(settings.mail),
            message: limiter(settings.message),
            join: limiter(settings.join),
            read: limiter(settings.read),
            directory_search: limiter(settings.directory_search),
            directory_search_daily: limiter(settings.directory_search_daily),
            public_join: limiter(settings.public_join),
            public_history: limiter(settings.public_history),
            media_upload: limiter(settings.media_upload),
            media_download: limiter(settings.media_download),
            url_preview: limiter(settings.url_preview),
            address_lookup: limiter(settings.address_lookup),
            third_party_invite: limiter(settings.third_party_invite),
        }
    }

    fn of(&self, kind: Kind) -> &Limiter {
        match kind {
            Kind::Login => &self.login,
            Kind::LoginFailed => &self.login_failed,
            Kind::Registration => &self.registration,
            Kind::Mail => &self.mail,
            Kind::Message => &self.message,
            Kind::Join => &self.join,
            Kind::Read => &self.read,
            Kind::DirectorySearch => &self.directory_search,
            Kind::DirectorySearchDaily => &self.directory_search_daily,
            Kind::PublicJoin => &self.public_join,
            Kind::PublicHistory => &self.public_history,
            Kind::MediaUpload => &self.media_upload,
            Kind::MediaDownload => &self.media_download,
            Kind::UrlPreview => &self.url_preview,
            Kind::AddressLookup => &self.address_lookup,
            Kind::ThirdPartyInvite => &self.third_party_invite,
        }
    }
}

fn quota(rate: Rate) -> Quota {
    let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
    // A year is as long as never, and keeps the sums of nanoseconds within 64 bits.
    let never = Duration::from_hours(365 * 24);
    let least = Duration::from_nanos(1);
    let period = Duration::try_from_secs_f64(1.0 / rate.per_second)
        .map_or(never, |period| period.clamp(least, never));
    Quota::with_period(period)
        .unwrap_or_else(|| Quota::per_second(burst))
        .allow_burst(burst)
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    User(UserNid),
    Address(IpAddr),
    Text(u64),
}

impl Subject {
    fn address(address: IpAddr) -> Self {
        // Whoever has one address of a /64 has all of them.
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(network.into())
            }
        })
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    subject: Subject,
    /// Whether to take from the bucket, or only look.
    take: bool,
}

impl Key {
    fn taking(kind: Kind, subject: Subject) -> Self {
        Self {
            kind,
            subject,
            take: true,
        }
    }
}

/// When each bucket is full again, in nanoseconds since its limiter was made; 0: it is full.
#[derive(Clone)]
struct Buckets(Cache<(Kind, Subject), Arc<AtomicU64>>);

impl Buckets {
    fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(MAX_BUCKETS)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(IDLE)
            .build();
        Self(cache)
    }
}

impl StateStore for Buckets {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let at = (key.kind, key.subject);
        let bucket = self.0.get_with(at, Arc::default);
        let mut before = bucket.load(Ordering::Acquire);
        loop {
            let full_at = (before != 0).then(|| Nanos::new(before));
            let (outcome, after) = measure(full_at)?;
            if !key.take {
                return Ok(outcome);
            }
            match bucket.compare_exchange_weak(
                before,
                after.as_u64(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(outcome),
                Err(changed) => before = changed,
            }
        }
    }
}

/// The program's clock, as governor reads it.
struct Time(SharedClock);

impl governor::clock::Clock for Time {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now_ms())
    }
}
