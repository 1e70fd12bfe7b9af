//! Accounts that expire, and how their owners renew them (tchap.md 2.8).
//!
//! An account is good until a date; the mails before it carry a token, and whoever brings the
//! newest token sets the date anew. With `send_links` the token is a link's secret. Without, it is
//! a code of eight digits, good only together with a session of the account.

use std::time::Duration;

use ruma::UserId;
use url::Url;
use zeroize::Zeroizing;

use super::{Accounts, Error, Requester, ValiditySettings, sessions::later};
use crate::{
    audit::{Actor, action},
    mail::Renewal,
    store::{
        Conn, Store, UserNid,
        access_tokens::{self, TokenHash},
        account_validity::{self, DueMail},
        accounts, user_directory,
    },
};

/// Where the link in a mail leads.
const RENEW: &str = "/_synapse/client/email_account_validity/renew";
/// The latest date that can be set: year 9999.
const MAX_DATE_MS: i64 = 253_402_300_799_000;
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The account is good for another period.
    Now,
    /// It was used before, and changed nothing (AV-09).
    Before,
    /// It is no account's newest token (AV-10).
    Unknown,
}

/// A token, and how a mail shows it.
pub(super) struct RenewalToken {
    secret: Zeroizing<String>,
    pub(super) hash: TokenHash,
}

impl Accounts {
    pub(super) fn validity(&self) -> Option<&ValiditySettings> {
        self.0.settings.validity.as_ref()
    }

    /// Whether accounts expire at all.
    pub fn expires_accounts(&self) -> bool {
        self.validity().is_some()
    }

    /// Whether renewal links work without a session (AV-12).
    pub fn renews_by_link(&self) -> bool {
        self.validity().is_some_and(|settings| settings.send_links)
    }

    /// When an account with this date expires; `None`: never.
    pub(super) fn expiry_of(&self, user_id: &UserId, date_ms: Option<i64>) -> Option<i64> {
        let settings = self.validity()?;
        date_ms.filter(|_| !settings.excludes(user_id))
    }

    /// How long until the requester's account expires, in milliseconds, negative afterwards;
    /// `None`: it never does.
    pub fn ms_to_expiry(&self, requester: &Requester) -> Option<i64> {
        let end = self.expiry_of(requester.user_id(), requester.account_expires_ms())?;
        Some(end.saturating_sub(self.0.clock.now_i64()))
    }

    /// Gives a new account its date (AV-01).
    pub(super) async fn begin_validity(
        &self,
        conn: &mut Conn,
        user: UserNid,
        user_id: &UserId,
    ) -> Result<(), Error> {
        if let Some(settings) = self.validity()
            && !settings.excludes(user_id)
        {
            let end = later(self.0.clock.now_i64(), settings.period);
            account_validity::upsert(conn, user, end, None).await?;
        }
        Ok(())
    }

    /// Mails the requester a new token (AV-06), at most once in `resend_delay`.
    ///
    /// # Errors
    /// [`Error::NoExpiry`]: the account never expires, or has no address (AV-07).
    pub async fn send_renewal_mail(&self, requester: &Requester) -> Result<(), Error> {
        let settings = self.validity().ok_or(Error::NoExpiry)?;
        if settings.excludes(requester.user_id()) {
            return Err(Error::NoExpiry);
        }
        let user = requester.user();
        let mut conn = self.0.store.conn().await?;
        let validity = account_validity::find(&mut conn, user).await?;
        let mail = account_validity::find_mail(&mut conn, user).await?;
        let (Some(validity), Some(mail)) = (validity, mail) else {
            return Err(Error::NoExpiry);
        };
        let now = self.0.clock.now_i64();
        let next = validity
            .mailed_ms
            .map_or(0, |mailed| later(mailed, settings.resend_delay));
        if next > now {
            let left = u64::try_from(next.saturating_sub(now)).unwrap_or(0);
            let retry_after = Duration::from_millis(left);
            return Err(Error::LimitExceeded { retry_after });
        }
        let token = self.renewal_token(user);
        account_validity::update_tokens(&mut conn, &[user], &[token.hash]).await?;
        // Before it is sent, so that two requests at once are one.
        account_validity::update_mailed(&mut conn, &[user], now).await?;
        drop(conn);
        self.mail_renewal(&mail, &token).await
    }

    /// A token for a mail to this user.
    pub(super) fn renewal_token(&self, user: UserNid) -> RenewalToken {
        if self.renews_by_link() {
            let secret = Zeroizing::new(self.0.random.secret("chv_"));
            return RenewalToken {
                hash: TokenHash::of(&secret),
                secret,
            };
        }
        let number = self.0.random.range(0..100_000_000);
        let secret = Zeroizing::new(format!("{number:08}"));
        RenewalToken {
            hash: code_hash(user, &secret),
            secret,
        }
    }

    pub(super) async fn mail_renewal(
        &self,
        mail: &DueMail,
        token: &RenewalToken,
    ) -> Result<(), Error> {
        let by_link = self.renews_by_link();
        let link = self.renewal_link(token);
        let left_ms = mail
            .expires_ms
            .saturating_sub(self.0.clock.now_i64())
            .max(0);
        let days = left_ms.saturating_add(DAY_MS - 1) / DAY_MS;
        let renewal = Renewal {
            display_name: mail
                .display_name
                .as_deref()
                .unwrap_or_else(|| mail.user_id.localpart()),
            expires_ms: u64::try_from(mail.expires_ms).unwrap_or(0),
            days: u64::try_from(days).unwrap_or(0),
            link: by_link.then_some(&link),
            code: (!by_link).then_some(token.secret.as_str()),
        };
        let mailer = &self.0.mailer;
        Ok(mailer.send_renewal(&mail.address, &renewal, None).await?)
    }

    fn renewal_link(&self, token: &RenewalToken) -> Url {
        let mut link = self.0.settings.public_url.clone();
        let base = link.path().trim_end_matches('/').to_owned();
        link.set_path(&format!("{base}{RENEW}"));
        link.query_pairs_mut().append_pair("token", &token.secret);
        link
    }

    /// Sets the date anew for whoever brings the newest token: the account is open again at once,
    /// on every process. Codes need `requester`, links do not.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] after many wrong codes.
    pub async fn renew(
        &self,
        token: &str,
        requester: Option<&Requester>,
    ) -> Result<Renewed, Error> {
        let Some(settings) = self.validity() else {
            return Ok(Renewed::Unknown);
        };
        let now_ms = self.0.clock.now_ms();
        let (hash, subject) = match requester {
            _ if settings.send_links => (TokenHash::of(token), None),
            // Eight digits can be guessed, a link's secret cannot.
            Some(requester) => {
                let subject = format!("renewal of {}", requester.user_id());
                (code_hash(requester.user(), token), Some(subject))
            }
            None => return Ok(Renewed::Unknown),
        };
        if let Some(subject) = &subject {
            self.0.login_failed.try_take(subject, now_ms)?;
        }
        let end = later(self.0.clock.now_i64(), settings.period);
        let mut tx = self.0.store.begin().await?;
        let renewed = match account_validity::renew(&mut tx, hash, end).await? {
            Some(user) => {
                let account = accounts::find_by_number(&mut tx, user).await?;
                // AV-17.
                user_directory::set_expired(&mut tx, &[user], false).await?;
                access_tokens::notify_changed(&mut tx, user).await?;
                Store::commit(tx).await?;
                self.forget_sessions(user);
                if let Some(account) = account {
                    let actor = Actor::User(account.user_id.clone());
                    self.note(action::ACCOUNT_RENEWED, actor, &account.user_id);
                }
                Renewed::Now
            }
            None if account_validity::is_used(&mut tx, hash).await? => Renewed::Before,
            None => Renewed::Unknown,
        };
        if renewed != Renewed::Unknown
            && let Some(subject) = &subject
        {
            self.0.login_failed.give_back(subject);
        }
        Ok(renewed)
    }

    /// Sets an account's date, as an administrator asks (AV-14); without one it is a period from
    /// now. Gives the date. `sends_mails`: whether reminders are sent from now on.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for who is no administrator (AV-13); [`Error::NoExpiry`] where accounts
    /// do not expire; [`Error::InvalidParam`] for a date that is none; [`Error::NotFound`].
    pub async fn set_expiry(
        &self,
        requester: &Requester,
        user_id: &UserId,
        date_ms: Option<i64>,
        sends_mails: Option<bool>,
    ) -> Result<i64, Error> {
        if !requester.is_admin() {
            return Err(Error::Forbidden("only administrators may do this"));
        }
        let settings = self.validity().ok_or(Error::NoExpiry)?;
        let date_ms = date_ms.unwrap_or_else(|| later(self.0.clock.now_i64(), settings.period));
        if !(0..=MAX_DATE_MS).contains(&date_ms) {
            return Err(Error::InvalidParam("expiration_ts is not a date"));
        }
        let account = self.open_account(user_id).await?;
        let mut tx = self.0.store.begin().await?;
        account_validity::upsert(&mut tx, account.user, date_ms, sends_mails).await?;
        if date_ms > self.0.clock.now_i64() {
            user_directory::set_expired(&mut tx, &[account.user], false).await?;
        }
        access_tokens::notify_changed(&mut tx, account.user).await?;
        Store::commit(tx).await?;
        self.forget_sessions(account.user);
        self.note(action::VALIDITY_SET, requester.actor(), user_id);
        Ok(date_ms)
    }
}

/// The same code of two users has two hashes.
fn code_hash(user: UserNid, code: &str) -> TokenHash {
    TokenHash::of(&format!("{user} {code}"))
}
