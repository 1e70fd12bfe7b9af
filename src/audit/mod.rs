//! The audit log: who changed what, and who was refused what (tchap.md, R-03, R-07, R-08).
//!
//! Whoever changes something [`record`](Audit::record)s an [`Entry`], which waits for nothing: it
//! goes into a bounded queue, and where that is full it is counted, and the count is written. One
//! task (`writer`) takes all that waits, makes lines of it, and writes and syncs them together. Each
//! line holds the hash of the line before it (`chain`), so that `chappe audit verify` finds what was
//! removed, changed or put elsewhere later ([`verify`]). Each process has a chain of its own, named
//! by its instance; several can share a file.
//!
//! Nothing of what people write is in it, no token, and no whole e-mail address.

mod chain;
mod time;
pub mod verify;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use ruma::OwnedUserId;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

pub use self::writer::{AuditTask, Target};
use crate::clock::SharedClock;

/// How many entries wait at most; more are counted and not written.
const MAX_WAITING: usize = 8192;
/// For how long one limit that somebody keeps running into is told once.
const LIMIT_WINDOW: Duration = Duration::from_mins(10);
/// Of how many limits this is remembered.
const MAX_LIMITS: u64 = 20_000;
/// The longest object, in characters; the rest is cut off.
const MAX_OBJECT: usize = 512;

/// What is done, as the log names it.
pub mod action {
    /// An account was made.
    pub const ACCOUNT_CREATED: &str = "account.created";
    /// An account was closed for good.
    pub const ACCOUNT_DEACTIVATED: &str = "account.deactivated";
    /// A closed account was opened again.
    pub const ACCOUNT_REACTIVATED: &str = "account.reactivated";
    /// An account was locked: its sessions do not work.
    pub const ACCOUNT_LOCKED: &str = "account.locked";
    /// A locked account works again.
    pub const ACCOUNT_UNLOCKED: &str = "account.unlocked";
    /// An account was suspended: it can only read.
    pub const ACCOUNT_SUSPENDED: &str = "account.suspended";
    /// A suspended account can write again.
    pub const ACCOUNT_UNSUSPENDED: &str = "account.unsuspended";
    /// What a closed account wrote is to be forgotten.
    pub const ACCOUNT_ERASED: &str = "account.erased";
    /// An account that expires was renewed by its owner.
    pub const ACCOUNT_RENEWED: &str = "account.renewed";
    /// An administrator set when an account expires.
    pub const VALIDITY_SET: &str = "account.validity_set";
    /// An account has other e-mail addresses.
    pub const ADDRESSES_CHANGED: &str = "account.addresses_changed";
    /// All sessions of an account were ended by somebody else.
    pub const SESSIONS_ENDED: &str = "account.sessions_ended";
    /// The owner of an account agreed to the terms in force.
    pub const TERMS_ACCEPTED: &str = "account.terms_accepted";
    /// An account has a new password.
    pub const PASSWORD_CHANGED: &str = "account.password_changed";
    /// An account may administer the server.
    pub const ADMIN_GRANTED: &str = "account.admin_granted";
    /// An account may administer the server no more.
    pub const ADMIN_REVOKED: &str = "account.admin_revoked";
    /// The policy refused something.
    pub const POLICY_DENIED: &str = "policy.denied";
    /// Somebody did something more often than they may.
    pub const LIMIT_HIT: &str = "limit.hit";
    /// A user reported an event, a room or a user.
    pub const REPORTED: &str = "content.reported";
    /// Contents can be downloaded no more.
    pub const MEDIA_QUARANTINED: &str = "media.quarantined";
    /// Contents can be downloaded again.
    pub const MEDIA_RELEASED: &str = "media.released";
    /// Media were deleted.
    pub const MEDIA_DELETED: &str = "media.deleted";
    /// An administrator used the admin API.
    pub const ADMIN_REQUEST: &str = "admin.request";
    /// The first line of a process.
    pub const BEGUN: &str = "audit.begun";
    /// The first line of a process in a file that it went over to.
    pub const REOPENED: &str = "audit.reopened";
    /// Entries found no place and are not in the log.
    pub const DROPPED: &str = "audit.dropped";
    /// The last line of a process.
    pub const ENDED: &str = "audit.ended";
}

/// Who does something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Actor {
    /// Somebody without a session.
    #[default]
    Anonymous,
    /// A user.
    User(OwnedUserId),
    /// Whoever runs commands on the machine.
    Operator,
    /// The server, by itself.
    Server,
}

impl Actor {
    fn as_str(&self) -> &str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User(user_id) => user_id.as_str(),
            Self::Operator => "operator",
            Self::Server => "server",
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    #[default]
    Done,
    /// It is not allowed.
    Denied,
    /// It was not possible.
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// Something to remember.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What was done: one of [`action`].
    pub action: &'static str,
    /// Who did it.
    pub actor: Actor,
    /// To whom or what: a user id, a room id, a route.
    pub object: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// The row of the policy that decided.
    pub rule: Option<&'static str>,
    /// The request in which it was done.
    pub request_id: Option<String>,
    /// What else is worth knowing.
    pub details: Map<String, Value>,
}

/// An entry with its time, in milliseconds since the epoch.
struct Stamped {
    entry: Entry,
    time_ms: u64,
}

/// Where entries go. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    /// `None`: the log is off.
    queue: Option<mpsc::Sender<Stamped>>,
    clock: SharedClock,
    dropped: AtomicU64,
    /// Who ran into which limit lately.
    limits: Cache<(String, &'static str), ()>,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audit")
    }
}

impl Audit {
    /// A log that forgets everything.
    pub fn off(clock: SharedClock) -> Self {
        Self::new(None, clock)
    }

    fn new(queue: Option<mpsc::Sender<Stamped>>, clock: SharedClock) -> Self {
        Self(Arc::new(Inner {
            queue,
            clock,
            dropped: AtomicU64::new(0),
            limits: Cache::builder()
                .max_capacity(MAX_LIMITS)
                .time_to_live(LIMIT_WINDOW)
                .build(),
        }))
    }

    /// Remembers something. It waits for nothing: an entry that finds no place is counted, and the
    /// count is written once there is place.
    pub fn record(&self, mut entry: Entry) {
        let Some(queue) = &self.0.queue else { return };
        if let Some(object) = &mut entry.object
            && let Some((end, _)) = object.char_indices().nth(MAX_OBJECT)
        {
            object.truncate(end);
        }
        let time_ms = self.0.clock.now_ms();
        if queue.try_send(Stamped { entry, time_ms }).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Remembers that somebody ran into a limit: the first time, and again when they still do
    /// after ten minutes.
    pub fn record_limit(&self, limit: &'static str, entry: Entry) {
        let key = (entry.actor.as_str().to_owned(), limit);
        if self.0.limits.entry(key).or_insert(()).is_fresh() {
            self.record(entry);
        }
    }
}
