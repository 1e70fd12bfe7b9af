//! Mails with a link that proves who reads an address.
//!
//! Specification v1.19, client-server API, `POST /register/email/requestToken` and
//! `POST /account/password/email/requestToken`; tchap.md 2.3.

use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

use super::{Accounts, Error, sessions::later};
use crate::{
    language::Language,
    policy::EmailAddress,
    store::{
        access_tokens::TokenHash,
        accounts,
        threepids::{self, NewValidation, OpenedLink, Purpose, ValidationState},
    },
};

/// The longest secret of a client.
const MAX_SECRET: usize = 255;
/// The longest `next_link`, in bytes.
const MAX_LINK: usize = 2048;
/// The length of session ids.
const SID_LENGTH: usize = 24;

/// A client that asks for a mail.
pub struct EmailTokenRequest {
    /// The secret that the client chose; it will show it again with the session.
    pub client_secret: String,
    /// The address, in any form.
    pub email: String,
    /// The client's count: the same number means the same mail.
    pub send_attempt: u64,
    /// Where the browser goes after the link.
    pub next_link: Option<String>,
    /// The language of the mail, if it is known.
    pub language: Option<Language>,
}

/// What an address gets that somebody asked a mail for.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    /// The link that was asked for.
    Link,
    /// The news that it has an account.
    AlreadyRegistered,
    /// Nothing.
    Nothing,
}

/// What a link in a mail carries.
#[derive(Clone)]
pub struct LinkSecrets {
    /// The session.
    pub sid: String,
    /// The client's secret.
    pub client_secret: String,
    /// The link's own secret.
    pub token: String,
}

impl LinkSecrets {
    fn hashes(&self) -> Option<(TokenHash, TokenHash)> {
        // The database keeps no NUL, and our session ids have none.
        let is_plausible = is_client_secret(&self.client_secret) && is_client_secret(&self.sid);
        is_plausible.then(|| {
            (
                TokenHash::of(&self.client_secret),
                TokenHash::of(&self.token),
            )
        })
    }
}

impl Accounts {
    /// Sends the mail that a registration needs; the session's id comes back.
    ///
    /// An address that has an account gets no link. Where the policy hides who has one, the answer
    /// is the same (REG-06), and a mail tells its holder alone (tchap.md 5.4); else it is
    /// [`Error::ThreepidInUse`] (REG-05).
    pub async fn request_registration_token(
        &self,
        request: EmailTokenRequest,
    ) -> Result<String, Error> {
        if !self.0.settings.registration.enabled {
            return Err(Error::Forbidden("registration is closed"));
        }
        let address = parse_address(&request.email)?;
        self.check_may_register(&address).await?;
        let is_free = {
            let mut conn = self.0.store.conn().await?;
            let owner = threepids::find_user(&mut conn, address.as_str()).await?;
            owner.is_none()
        };
        if !is_free && self.reveals_accounts() {
            return Err(Error::ThreepidInUse);
        }
        let mail = if is_free {
            Reply::Link
        } else {
            Reply::AlreadyRegistered
        };
        self.send_link(Purpose::Registration, &address, request, mail)
            .await
    }

    /// Sends the mail that a new password needs; the session's id comes back.
    ///
    /// An address without an account gets no mail. Where the policy hides who has one, the answer
    /// is the same, else it is [`Error::ThreepidNotFound`].
    pub async fn request_password_token(
        &self,
        request: EmailTokenRequest,
    ) -> Result<String, Error> {
        let address = parse_address(&request.email)?;
        let is_known = {
            let mut conn = self.0.store.conn().await?;
            let owner = accounts::find_by_address(&mut conn, address.as_str()).await?;
            owner.is_some_and(|account| !account.is_deactivated)
        };
        if !is_known && self.reveals_accounts() {
            return Err(Error::ThreepidNotFound);
        }
        let mail = if is_known {
            Reply::Link
        } else {
            Reply::Nothing
        };
        self.send_link(Purpose::Password, &address, request, mail)
            .await
    }

    /// Sends the mail that proves an address to the identity service; the session's id comes back.
    ///
    /// Identity service API v1.19, `POST /validate/email/requestToken`.
    pub async fn request_identity_token(
        &self,
        request: EmailTokenRequest,
    ) -> Result<String, Error> {
        let address = parse_address(&request.email)?;
        self.send_link(Purpose::Identity, &address, request, Reply::Link)
            .await
    }

    /// How far a session of the identity service has come; `None`: there is none with this id and
    /// secret.
    pub async fn identity_validation(
        &self,
        sid: &str,
        client_secret: &str,
    ) -> Result<Option<ValidationState>, Error> {
        if !is_client_secret(client_secret) || !is_client_secret(sid) {
            return Ok(None);
        }
        let mut conn = self.0.store.conn().await?;
        let secret = TokenHash::of(client_secret);
        Ok(threepids::find_validation(&mut conn, Purpose::Identity, sid, secret).await?)
    }

    fn reveals_accounts(&self) -> bool {
        self.0.policy.load().reveals_availability()
    }

    /// Begins the session and sends the mail. With another mail, or none, everything else is the
    /// same, so that neither the answer nor what the session does later tells the difference.
    pub(super) async fn send_link(
        &self,
        purpose: Purpose,
        address: &EmailAddress,
        request: EmailTokenRequest,
        reply: Reply,
    ) -> Result<String, Error> {
        if !is_client_secret(&request.client_secret) {
            return Err(Error::InvalidParam("the client secret cannot be used"));
        }
        if let Some(link) = &request.next_link {
            self.check_next_link(link)?;
        }
        let client_secret = TokenHash::of(&request.client_secret);
        let send_attempt = i64::try_from(request.send_attempt).unwrap_or(i64::MAX);
        let now = self.0.clock.now_i64();
        let known = {
            let mut conn = self.0.store.conn().await?;
            let text = address.as_str();
            threepids::find_validation_sid(&mut conn, purpose, text, client_secret, now).await?
        };
        // REG-09.
        if let Some((sid, last_attempt)) = known
            && send_attempt <= last_attempt
        {
            return Ok(sid);
        }
        // REG-10.
        self.0
            .mail
            .try_take(address.as_str(), self.0.clock.now_ms())?;

        let token = Zeroizing::new(self.0.random.secret("che_"));
        let validation = NewValidation {
            sid: &self.0.random.alphanumeric(SID_LENGTH),
            purpose,
            address: address.as_str(),
            client_secret,
            send_attempt,
            token: TokenHash::of(&token),
            next_link: request.next_link.as_deref(),
            created_ms: now,
            expires_ms: later(now, self.0.settings.validation_lifetime),
        };
        let sid = {
            let mut conn = self.0.store.conn().await?;
            match threepids::upsert_validation(&mut conn, &validation).await? {
                Some(sid) => sid,
                // The same request came twice at once; the other one sends the mail.
                None => return Ok(self.sid_of(&validation).await?.0),
            }
        };
        let secrets = LinkSecrets {
            sid,
            client_secret: request.client_secret,
            token: token.to_string(),
        };
        let mail = async {
            match reply {
                Reply::Link => {
                    self.mail_link(purpose, address, &secrets, request.language)
                        .await
                }
                Reply::AlreadyRegistered => self.mail_known(address, request.language).await,
                Reply::Nothing => Ok(()),
            }
        };
        let (sent, ()) = tokio::join!(mail, self.pause());
        if let Err(error) = sent {
            let mut conn = self.0.store.conn().await?;
            threepids::delete_validation(&mut conn, &secrets.sid).await?;
            return Err(error);
        }
        Ok(secrets.sid)
    }

    async fn sid_of(&self, validation: &NewValidation<'_>) -> Result<(String, i64), Error> {
        let mut conn = self.0.store.conn().await?;
        threepids::find_validation_sid(
            &mut conn,
            validation.purpose,
            validation.address,
            validation.client_secret,
            validation.created_ms,
        )
        .await?
        .ok_or(Error::NotFound("the session is over"))
    }

    /// Makes the time of an answer say nothing (REG-06).
    async fn pause(&self) {
        if self.reveals_accounts() {
            return;
        }
        let pause = self.0.random.range(self.0.settings.pause_ms.clone());
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    async fn mail_link(
        &self,
        purpose: Purpose,
        address: &EmailAddress,
        secrets: &LinkSecrets,
        language: Option<Language>,
    ) -> Result<(), Error> {
        let link = self.link(purpose, secrets);
        let lifetime = self.0.settings.validation_lifetime;
        let mailer = &self.0.mailer;
        let to = address.as_str();
        match purpose {
            Purpose::Registration | Purpose::Identity | Purpose::Address => {
                mailer
                    .send_address_verification(to, &link, language, lifetime)
                    .await?;
            }
            Purpose::Password => {
                mailer
                    .send_password_reset(to, &link, language, lifetime)
                    .await?;
            }
        }
        Ok(())
    }

    /// Tells the holder of an address that it has an account.
    async fn mail_known(
        &self,
        address: &EmailAddress,
        language: Option<Language>,
    ) -> Result<(), Error> {
        let settings = &self.0.settings;
        let link = settings.web_client_url.as_ref();
        let link = link.unwrap_or(&settings.public_url);
        let mailer = &self.0.mailer;
        mailer
            .send_already_registered(address.as_str(), link, language)
            .await?;
        Ok(())
    }

    fn link(&self, purpose: Purpose, secrets: &LinkSecrets) -> Url {
        let mut link = self.0.settings.public_url.clone();
        let base = link.path().trim_end_matches('/').to_owned();
        let path = match purpose {
            Purpose::Registration => "/_matrix/client/unstable/registration/email/submit_token",
            Purpose::Password => "/_synapse/client/password_reset/email/submit_token",
            Purpose::Identity => "/_matrix/identity/v2/validate/email/submitToken",
            Purpose::Address => "/_matrix/client/unstable/add_threepid/email/submit_token",
        };
        link.set_path(&format!("{base}{path}"));
        link.query_pairs_mut()
            .append_pair("token", &secrets.token)
            .append_pair("client_secret", &secrets.client_secret)
            .append_pair("sid", &secrets.sid);
        link
    }

    /// Whether a link of a mail is good, without using it: programs that read mails open links.
    pub async fn is_link_good(
        &self,
        purpose: Purpose,
        secrets: &LinkSecrets,
    ) -> Result<bool, Error> {
        let Some(hashes) = secrets.hashes() else {
            return Ok(false);
        };
        let mut conn = self.0.store.conn().await?;
        let now = self.0.clock.now_i64();
        Ok(threepids::is_link_good(&mut conn, purpose, &secrets.sid, hashes, now).await?)
    }

    /// Takes the link of a mail as proof of its address. Opening it again is fine (REG-12).
    /// `None`: the link is not good.
    pub async fn open_link(
        &self,
        purpose: Purpose,
        secrets: &LinkSecrets,
    ) -> Result<Option<OpenedLink>, Error> {
        let Some(hashes) = secrets.hashes() else {
            return Ok(None);
        };
        let mut conn = self.0.store.conn().await?;
        let now = self.0.clock.now_i64();
        Ok(threepids::open_link(&mut conn, purpose, &secrets.sid, hashes, now).await?)
    }

    /// Links lead to web pages of hosts that the operator knows, so that a mail of ours cannot be
    /// used to send people elsewhere.
    fn check_next_link(&self, link: &str) -> Result<(), Error> {
        let settings = &self.0.settings;
        let own = settings.public_url.host_str();
        let is_known = |host: &str| {
            own == Some(host)
                || settings
                    .next_link_domains
                    .iter()
                    .any(|domain| domain.eq_ignore_ascii_case(host))
        };
        let url = Url::parse(link).ok().filter(|url| {
            link.len() <= MAX_LINK
                && matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && url.host_str().is_some_and(is_known)
        });
        match url {
            Some(_) => Ok(()),
            None => Err(Error::InvalidParam(
                "next_link leads to a place that is not allowed",
            )),
        }
    }
}

fn parse_address(text: &str) -> Result<EmailAddress, Error> {
    EmailAddress::parse(text).map_err(|error| Error::Denied(error.into()))
}

/// `[0-9a-zA-Z.=_-]{1,255}`.
pub(super) fn is_client_secret(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b".=_-".contains(&b);
    !text.is_empty() && text.len() <= MAX_SECRET && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_clients_have_few_letters() {
        assert!(is_client_secret("aZ09.=_-"));
        assert!(is_client_secret(&"a".repeat(255)));
        for wrong in ["", "a b", "é", "a\0", "a/b", &"a".repeat(256)] {
            assert!(!is_client_secret(wrong), "{wrong:?}");
        }
    }
}
