//! Sessions: access tokens, their refresh, and what is remembered of them.
//!
//! Specification v1.19, client-server API, "Using access tokens" and "Refreshing access tokens".

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use tokio::sync::Notify;
use url::Url;
use zeroize::Zeroizing;

use super::{Accounts, Error, check_device, interactive_auth::Passed};
use crate::{
    appservice::Service,
    audit::Actor,
    policy::{Policy, rooms::Standing},
    store::{
        Conn, DeviceNid, Store, UserNid,
        access_tokens::{self, NewToken, TokenHash},
        devices::{self, Seen},
    },
};

/// How many sessions a process remembers.
const MAX_REMEMBERED: u64 = 100_000;
/// How long a session is remembered: the longest that a revocation can go unnoticed if the
/// message about it is lost.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);
/// How many devices one account may have.
pub(super) const MAX_DEVICES: i64 = 1000;
/// The length of device ids that the server chooses.
const DEVICE_ID_LENGTH: usize = 10;

/// Who sends a request. Made only by [`Accounts::authenticate`].
#[derive(Debug)]
pub struct Requester {
    session: access_tokens::Session,
    token: TokenHash,
    /// Where the user agrees to terms that are new; none: there is nothing to agree to.
    consent: Option<Url>,
    /// The application service that acts for the user.
    service: Option<Arc<Service>>,
    pub(super) seen_ms: AtomicU64,
}

impl Requester {
    /// Somebody for whom an application service acts; `key` names the session.
    pub(super) fn acting(
        session: access_tokens::Session,
        key: TokenHash,
        service: Arc<Service>,
    ) -> Self {
        Self {
            session,
            token: key,
            consent: None,
            service: Some(service),
            seen_ms: AtomicU64::new(0),
        }
    }

    /// The user.
    pub fn user_id(&self) -> &UserId {
        &self.session.user_id
    }

    /// The user's number.
    pub fn user(&self) -> UserNid {
        self.session.user
    }

    /// The device that the request comes from. None: an application service acts for the user and
    /// names no device.
    pub fn device_id(&self) -> Option<&DeviceId> {
        self.session.device_id.as_deref()
    }

    /// The device's number, where there is a device.
    pub fn device(&self) -> Option<DeviceNid> {
        self.session.device
    }

    /// The application service that acts for the user, if it is not the user's own session.
    pub fn service(&self) -> Option<&Arc<Service>> {
        self.service.as_ref()
    }

    /// Whether it counts how often the user does something.
    pub fn is_limited(&self) -> bool {
        let service = self.service.as_ref();
        service.is_none_or(|service| service.is_limited(self.user_id()))
    }

    /// Whether the user may administer the server.
    pub fn is_admin(&self) -> bool {
        self.session.is_admin
    }

    /// Whether the user registered as an external guest.
    pub fn is_external(&self) -> bool {
        self.session.is_external
    }

    /// Whether it is a guest account of the specification, which may do little.
    pub fn is_guest(&self) -> bool {
        self.session.is_guest
    }

    /// Who the user is to the audit log.
    pub fn actor(&self) -> Actor {
        Actor::User(self.user_id().to_owned())
    }

    /// Who the user is to the rules.
    pub fn standing(&self, policy: &Policy) -> Standing {
        policy.standing(self.user_id(), self.is_external(), self.is_admin())
    }

    /// Whether the account is suspended: it reads, and changes nothing that others see.
    pub fn is_suspended(&self) -> bool {
        self.session.is_suspended
    }

    pub(super) fn is_locked(&self) -> bool {
        self.session.is_locked
    }

    pub(super) fn account_expires_ms(&self) -> Option<i64> {
        self.session.account_expires_ms
    }

    pub(super) fn consent_page(&self) -> Option<&Url> {
        self.consent.as_ref()
    }

    /// What names the session, without being its token.
    pub fn token_hash(&self) -> TokenHash {
        self.token
    }

    fn is_over(&self, now_ms: i64) -> bool {
        self.session.expires_ms.is_some_and(|end| end <= now_ms)
    }
}

/// The device that a session is for.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    /// The device's id; the server chooses one if there is none. If the user has this device
    /// already, its tokens are replaced.
    pub device_id: Option<OwnedDeviceId>,
    /// The name of a new device.
    pub device_name: Option<String>,
    /// Whether the client can refresh its access token.
    pub refresh_token: bool,
}

/// What a client gets at login.
pub struct Session {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// The access token.
    pub access_token: Zeroizing<String>,
    /// The refresh token, for clients that asked for one.
    pub refresh_token: Option<Zeroizing<String>>,
    /// How long the access token lives; `None`: until logout.
    pub expires_in: Option<Duration>,
}

/// What a process remembers of sessions.
pub(super) struct Sessions {
    remembered: Cache<TokenHash, Arc<Requester>>,
    /// Grows whenever something is forgotten: what was loaded before that is not remembered.
    forgotten: AtomicU64,
    pub(super) seen: Mutex<HashMap<DeviceNid, Seen>>,
    /// Who waits for changes of whose sessions.
    pub(super) watched: Mutex<HashMap<UserNid, Arc<Notify>>>,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self {
            remembered: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(REMEMBERED_FOR)
                .support_invalidation_closures()
                .build(),
            forgotten: AtomicU64::new(0),
            seen: Mutex::default(),
            watched: Mutex::default(),
        }
    }
}

impl Accounts {
    /// Who has this access token. A session that was used a moment ago is answered from memory.
    ///
    /// [`Error::UnknownToken`] if nobody has it, or it has expired.
    pub async fn authenticate(&self, token: &str) -> Result<Arc<Requester>, Error> {
        self.authenticate_hash(TokenHash::of(token)).await
    }

    /// What is remembered under the hash, if anything.
    pub(super) fn remembered(&self, hash: TokenHash) -> Option<Arc<Requester>> {
        self.0.sessions.remembered.get(&hash)
    }

    /// How often something was forgotten: to be asked before what [`remember`](Self::remember) is
    /// given was read.
    pub(super) fn times_forgotten(&self) -> u64 {
        self.0.sessions.forgotten.load(Ordering::SeqCst)
    }

    /// Remembers a session that was read, unless anything was revoked since.
    pub(super) fn remember(&self, before: u64, requester: &Arc<Requester>) {
        let (sessions, token) = (&self.0.sessions, requester.token);
        sessions.remembered.insert(token, Arc::clone(requester));
        // If anything was revoked meanwhile, what was read may be out of date.
        if self.times_forgotten() != before {
            sessions.remembered.invalidate(&token);
        }
    }

    pub(super) async fn authenticate_hash(&self, hash: TokenHash) -> Result<Arc<Requester>, Error> {
        let requester = match self.0.sessions.remembered.get(&hash) {
            Some(requester) => requester,
            None => self.load_session(hash).await?,
        };
        if requester.is_over(self.0.clock.now_i64()) {
            let soft_logout = requester.session.can_refresh;
            return Err(Error::UnknownToken { soft_logout });
        }
        Ok(requester)
    }

    async fn load_session(&self, token: TokenHash) -> Result<Arc<Requester>, Error> {
        let before = self.times_forgotten();
        let mut conn = self.0.store.conn().await?;
        let session = access_tokens::find(&mut conn, token)
            .await?
            .filter(|session| !session.is_deactivated)
            .ok_or(Error::UnknownToken { soft_logout: false })?;
        let consent = self.missing_consent(&mut conn, &session).await?;
        let requester = Arc::new(Requester {
            session,
            token,
            consent,
            service: None,
            seen_ms: AtomicU64::new(0),
        });
        if requester.is_over(self.0.clock.now_i64()) {
            return Ok(requester);
        }
        // The new token works for the client, so it does not need the old one any more.
        if let Some(replaced) = requester.session.replaced {
            access_tokens::delete_refresh(&mut conn, replaced).await?;
        }
        self.remember(before, &requester);
        Ok(requester)
    }

    /// Forgets what this process remembers of a user's sessions, because one was revoked. Called
    /// here for what this process revokes, and by the listener of
    /// [`SESSIONS_CHANNEL`](access_tokens::SESSIONS_CHANNEL) for what others do.
    pub fn forget_sessions(&self, user: UserNid) {
        let sessions = &self.0.sessions;
        sessions.forgotten.fetch_add(1, Ordering::SeqCst);
        let forgotten = sessions
            .remembered
            .invalidate_entries_if(move |_, requester| requester.user() == user);
        // Only a cache that does not support closures refuses.
        if forgotten.is_err() {
            sessions.remembered.invalidate_all();
        }
        self.tell_watchers(user);
    }

    /// Forgets all sessions that this process remembers, because messages of other processes may
    /// have been lost. Who waits for changes is not told: their next request is early enough.
    pub fn forget_all_sessions(&self) {
        let sessions = &self.0.sessions;
        sessions.forgotten.fetch_add(1, Ordering::SeqCst);
        sessions.remembered.invalidate_all();
    }

    /// Gives a user a session, in the caller's transaction. After the commit the caller forgets
    /// the user's sessions, because a device's earlier tokens may have been revoked.
    pub(super) async fn start_session(
        &self,
        conn: &mut Conn,
        user: UserNid,
        user_id: &UserId,
        new: NewSession,
    ) -> Result<Session, Error> {
        check_device(
            new.device_id.as_ref().map(|id| id.as_str()),
            new.device_name.as_deref(),
        )?;
        let is_known = match &new.device_id {
            Some(device_id) => devices::find(conn, user, device_id).await?.is_some(),
            None => false,
        };
        if !is_known && devices::count(conn, user).await? >= MAX_DEVICES {
            return Err(Error::Forbidden("the account has too many devices"));
        }
        let device_id = new
            .device_id
            .unwrap_or_else(|| self.0.random.capitals(DEVICE_ID_LENGTH).into());
        let now_ms = self.0.clock.now_i64();
        let name = new.device_name.as_deref();
        let device = devices::upsert(conn, user, &device_id, name, now_ms).await?;
        if is_known {
            access_tokens::delete_of_device(conn, device).await?;
            access_tokens::notify_changed(conn, user).await?;
        }
        let tokens = self
            .insert_tokens(conn, device, new.refresh_token, None)
            .await?;
        Ok(Session {
            user_id: user_id.to_owned(),
            device_id,
            access_token: tokens.access,
            refresh_token: tokens.refresh,
            expires_in: tokens.expires_in,
        })
    }

    /// Trades a refresh token for a new access token and a new refresh token. The old ones work
    /// until one of the new ones is used, so that a lost answer does no harm.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Session, Error> {
        let unknown = || Error::UnknownToken { soft_logout: false };
        let hash = TokenHash::of(refresh_token);
        let mut tx = self.0.store.begin().await?;
        let found = access_tokens::find_refresh(&mut tx, hash)
            .await?
            .filter(|found| !found.is_deactivated)
            .ok_or_else(unknown)?;
        if found.is_locked {
            return Err(Error::Locked);
        }
        if found
            .expires_ms
            .is_some_and(|end| end <= self.0.clock.now_i64())
        {
            return Err(Error::UnknownToken { soft_logout: true });
        }
        if let Some(replaced) = found.replaced {
            access_tokens::delete_refresh(&mut tx, replaced).await?;
        }
        let tokens = self
            .insert_tokens(&mut tx, found.device, true, Some(hash))
            .await?;
        Store::commit(tx).await?;
        Ok(Session {
            user_id: found.user_id,
            device_id: found.device_id,
            access_token: tokens.access,
            refresh_token: tokens.refresh,
            expires_in: tokens.expires_in,
        })
    }

    async fn insert_tokens(
        &self,
        conn: &mut Conn,
        device: DeviceNid,
        can_refresh: bool,
        replaces: Option<TokenHash>,
    ) -> Result<Tokens, Error> {
        let settings = &self.0.settings.sessions;
        let created_ms = self.0.clock.now_i64();
        let token = |secret: &str, lifetime: Option<Duration>| NewToken {
            token: TokenHash::of(secret),
            device,
            created_ms,
            expires_ms: lifetime.map(|lifetime| later(created_ms, lifetime)),
        };
        let refresh = can_refresh.then(|| Zeroizing::new(self.0.random.secret("chr_")));
        if let Some(refresh) = &refresh {
            let new = token(refresh, settings.refresh_token_lifetime);
            access_tokens::insert_refresh(conn, &new, replaces).await?;
        }
        let expires_in = if can_refresh {
            Some(settings.access_token_lifetime)
        } else {
            settings.nonrefreshable_access_token_lifetime
        };
        let access = Zeroizing::new(self.0.random.secret("cha_"));
        let refresh_hash = refresh.as_ref().map(|refresh| TokenHash::of(refresh));
        access_tokens::insert(conn, &token(&access, expires_in), refresh_hash).await?;
        Ok(Tokens {
            access,
            refresh,
            expires_in,
        })
    }

    /// Ends the requester's session, and removes its device.
    ///
    /// The removed device's id comes back, for layers that keep lists of devices.
    pub async fn logout(&self, requester: &Requester) -> Result<Vec<OwnedDeviceId>, Error> {
        let device_ids: Vec<_> = requester.session.device_id.iter().cloned().collect();
        self.remove_devices(requester.user(), &device_ids, None)
            .await
    }

    /// Ends all sessions of the requester, and removes all devices. Their ids come back.
    pub async fn logout_all(&self, requester: &Requester) -> Result<Vec<OwnedDeviceId>, Error> {
        let mut tx = self.0.store.begin().await?;
        let removed = devices::delete_all_but(&mut tx, requester.user(), None).await?;
        access_tokens::notify_changed(&mut tx, requester.user()).await?;
        Store::commit(tx).await?;
        self.forget_sessions(requester.user());
        self.tell_of_devices(requester.user()).await;
        Ok(removed)
    }

    /// Removes devices with their sessions, and uses up the proof that the user gave for it.
    pub(super) async fn remove_devices(
        &self,
        user: UserNid,
        device_ids: &[OwnedDeviceId],
        passed: Option<&Passed>,
    ) -> Result<Vec<OwnedDeviceId>, Error> {
        let mut tx = self.0.store.begin().await?;
        if let Some(passed) = passed {
            self.finish(&mut tx, passed).await?;
        }
        let removed = devices::delete(&mut tx, user, device_ids).await?;
        access_tokens::notify_changed(&mut tx, user).await?;
        Store::commit(tx).await?;
        self.forget_sessions(user);
        self.tell_of_devices(user).await;
        Ok(removed)
    }

    /// Tells those who share a room with a user of devices that were removed or renamed.
    pub(super) async fn tell_of_devices(&self, user: UserNid) {
        self.0.store.try_announce_device_list(user).await;
    }
}

struct Tokens {
    access: Zeroizing<String>,
    refresh: Option<Zeroizing<String>>,
    expires_in: Option<Duration>,
}

/// A time after another, in milliseconds since the epoch.
pub(super) fn later(now_ms: i64, by: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}
