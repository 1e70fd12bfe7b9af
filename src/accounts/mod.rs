//! Accounts: who people are to this server, and the sessions of their devices.
//!
//! An operation that needs proof of who asks goes through `interactive_auth`, which keeps the
//! proofs in the database so that any process can go on, and hands over what was proved. The
//! operation then does all it does in one transaction, which also ends the proof's session, so
//! that a proof is used once. What was revoked is told to all processes by that transaction; each
//! remembers sessions for a minute at most ([`Accounts::forget_sessions`]).
//!
//! What an operation means for rooms is written down with it as [`work`], and done a few rooms at a
//! time by whichever process takes it up; device lists are left to the layers above.

mod addresses;
mod admin;
mod deactivate;
mod devices;
mod email_validation;
mod error;
mod explain;
mod fallback;
mod guests;
mod interactive_auth;
mod limits;
mod login;
mod login_tokens;
mod operator;
mod password_hash;
mod passwords;
mod profiles;
mod reactivate;
mod register;
mod registration_tokens;
mod seen;
mod services;
mod sessions;
mod settings;
mod shared_secret;
mod standing;
mod terms;
mod user_directory;
mod validity;
mod validity_jobs;
mod work;

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use ruma::{OwnedUserId, UserId};
use tokio::sync::{Notify, OnceCell};
use zeroize::Zeroizing;

pub use self::{
    addresses::AddressAdd,
    admin::{AccountChange, AccountView},
    deactivate::Deactivation,
    email_validation::{EmailTokenRequest, LinkSecrets},
    error::Error,
    fallback::{Fallback, Proof, StagePage},
    limits::Rate,
    login::{Identifier, PasswordLogin},
    login_tokens::LoginToken,
    operator::NewUser,
    passwords::{PasswordChange, PasswordChanged},
    profiles::ProfileChange,
    register::{Registered, Registration},
    registration_tokens::{NewToken, TokenChange},
    services::{Masquerade, ServiceRegistration},
    sessions::{NewSession, Requester, Session},
    settings::{
        HashCost, Limits, RegistrationSettings, SessionSettings, Settings, SharedSecret, Terms,
        ValiditySettings,
    },
    shared_secret::SharedSecretRegistration,
    standing::{Hold, Reach, SessionWatch, UserInfo},
    terms::{Consent, ConsentLink},
    user_directory::{DirectorySettings, FoundUsers},
    validity::Renewed,
    validity_jobs::ValidityWork,
    work::WorkDone,
};
use self::{limits::Limiter, password_hash::PasswordHasher, sessions::Sessions};
use crate::{
    audit::{self, Audit},
    clock::SharedClock,
    mail::Mailer,
    policy::Policy,
    random::Random,
    rooms::Actor,
    store::{
        DeviceNid, Store,
        accounts::{self, Account},
        interactive_auth as auth_sessions, registration_tokens as tokens, threepids,
    },
};

/// The longest name of a device, in bytes.
const MAX_DEVICE_NAME: usize = 256;
/// The longest device id, in bytes.
const MAX_DEVICE_ID: usize = 255;

/// The accounts service. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    policy: Arc<ArcSwap<Policy>>,
    mailer: Mailer,
    audit: Audit,
    clock: SharedClock,
    random: Random,
    hasher: PasswordHasher,
    sessions: Sessions,
    login_failed: Limiter,
    registration: Limiter,
    mail: Limiter,
    /// What this process calls itself where processes agree on who does what.
    process: String,
    /// Signs the links to the page of the terms, once it was read.
    consent_key: OnceCell<Zeroizing<Vec<u8>>>,
    /// Told when there is work in rooms.
    work: Notify,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accounts")
    }
}

impl From<&Requester> for Actor {
    /// Who sends a request is who acts in a room.
    fn from(requester: &Requester) -> Self {
        Self {
            user_id: requester.user_id().to_owned(),
            user: requester.user(),
            // Transaction ids count for a user's device, or for the user where there is none: numbers
            // of devices are above zero.
            device: Some(requester.device().unwrap_or(DeviceNid(-requester.user().0))),
        }
    }
}

impl Accounts {
    /// The service.
    pub fn new(
        settings: Settings,
        store: Store,
        policy: Arc<ArcSwap<Policy>>,
        mailer: Mailer,
        audit: Audit,
        clock: SharedClock,
        random: Random,
    ) -> Self {
        let limits = settings.limits;
        Self(Arc::new(Inner {
            hasher: PasswordHasher::new(
                settings.max_password_hashes,
                settings.hash_cost,
                random.clone(),
            ),
            sessions: Sessions::new(),
            login_failed: Limiter::new(limits.login_failed),
            registration: Limiter::new(limits.registration),
            mail: Limiter::new(limits.mail_per_address),
            settings,
            store,
            policy,
            mailer,
            audit,
            clock,
            process: random.alphanumeric(16),
            consent_key: OnceCell::new(),
            work: Notify::new(),
            random,
        }))
    }

    /// Forgets what is over: sessions of authentication, mails' links, tokens and nonces. To be
    /// called now and then by one process.
    pub async fn clean_up(&self) -> Result<(), Error> {
        let now = self.0.clock.now_i64();
        let mut conn = self.0.store.conn().await?;
        auth_sessions::delete_expired(&mut conn, now).await?;
        threepids::delete_expired_validations(&mut conn, now).await?;
        crate::store::access_tokens::delete_expired(&mut conn, now).await?;
        tokens::delete_expired_nonces(&mut conn, now).await?;
        crate::store::login_tokens::delete_expired(&mut conn, now).await?;
        Ok(())
    }

    /// Tells the audit log what was done to an account.
    fn note(&self, action: &'static str, actor: audit::Actor, whom: &UserId) {
        self.0.audit.record(audit::Entry {
            action,
            actor,
            object: Some(whom.to_string()),
            ..audit::Entry::default()
        });
    }

    /// The one gate of every kind of login: whether this account may have sessions.
    fn may_log_in(account: &Account) -> Result<(), Error> {
        if account.is_deactivated {
            return Err(Error::Deactivated);
        }
        Ok(())
    }

    /// The open account of a user id.
    async fn open_account(&self, user_id: &UserId) -> Result<Account, Error> {
        let mut conn = self.0.store.conn().await?;
        accounts::find(&mut conn, user_id)
            .await?
            .filter(|account| !account.is_deactivated)
            .ok_or(Error::NotFound("no such user on this server"))
    }

    /// A local part as a user id of this server; `None` if it is none.
    fn local_user_id(&self, localpart: &str) -> Option<OwnedUserId> {
        UserId::parse_with_server_name(localpart, &self.0.settings.server_name).ok()
    }
}

/// The database keeps no NUL, and nobody needs control characters in names.
fn has_control_characters(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// The client's address as a subject of limits: the addresses of an IPv6 /64 are one person's.
fn client_subject(client: Option<IpAddr>) -> String {
    match client.map(|ip| ip.to_canonical()) {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Checks what a client proposes for a device.
fn check_device(device_id: Option<&str>, name: Option<&str>) -> Result<(), Error> {
    if device_id
        .is_some_and(|id| id.is_empty() || id.len() > MAX_DEVICE_ID || has_control_characters(id))
    {
        return Err(Error::InvalidParam("the device id cannot be used"));
    }
    if name.is_some_and(|name| name.len() > MAX_DEVICE_NAME || has_control_characters(name)) {
        return Err(Error::InvalidParam("the device's name cannot be used"));
    }
    Ok(())
}
