//! Stages of user-interactive authentication on pages in a browser, for clients that do not know
//! how to ask for them.
//!
//! Specification v1.19, client-server API, "Fallback". A page knows the id of the session alone,
//! which only the client and the browser that it opens have; what is proved there is noted in the
//! session, and the client goes on with it.

use std::net::IpAddr;

use ruma::api::client::uiaa::AuthType;
use url::Url;
use zeroize::Zeroizing;

use super::{Accounts, EmailTokenRequest, Error, Identifier, interactive_auth::Outcome};
use crate::{
    language::Language,
    store::{
        access_tokens::TokenHash,
        accounts,
        interactive_auth::{self, BrowserSession, Results},
        threepids::Purpose,
    },
};

/// The longest id of a session, in bytes.
const MAX_ID: usize = 255;
/// The length of the secret that the page of the e-mail stage keeps.
const SECRET_LENGTH: usize = 32;

/// What a page has to show.
#[derive(Clone, Debug)]
pub enum Fallback {
    /// The session is over, or has no such stage.
    Unknown,
    /// The stage was passed.
    Done,
    /// The stage is to be passed.
    Ask(StagePage),
    /// What was tried did not pass the stage: the same again.
    Wrong(StagePage),
}

/// How a stage asks for its proof.
#[derive(Clone, Debug)]
pub enum StagePage {
    /// By a button.
    Dummy,
    /// Whether somebody agrees to documents, each with its name, version and address.
    Terms(Vec<(String, String, Url)>),
    /// For the password.
    Password,
    /// For a registration token.
    RegistrationToken,
    /// For an address, to which a mail goes.
    Email,
    /// That the link in the mail was opened.
    EmailSent {
        /// The session of the mail.
        sid: String,
        /// The secret that goes with it.
        client_secret: String,
    },
}

/// What a page brings.
#[derive(Default)]
pub struct Proof {
    /// The password.
    pub password: Zeroizing<String>,
    /// The registration token.
    pub token: String,
    /// The address that a mail goes to.
    pub email: String,
    /// The session of a mail that was sent.
    pub sid: String,
    /// The secret that goes with it.
    pub client_secret: String,
    /// The language of the page.
    pub language: Language,
    /// The address of the browser.
    pub client: Option<IpAddr>,
}

impl Accounts {
    /// What the page of a stage shows first.
    pub async fn fallback(
        &self,
        session: &str,
        stage: &AuthType,
        language: Language,
    ) -> Result<Fallback, Error> {
        let Some(found) = self.browser_session(session, stage).await? else {
            return Ok(Fallback::Unknown);
        };
        if found.completed.iter().any(|name| name == stage.as_str()) {
            return Ok(Fallback::Done);
        }
        Ok(self
            .stage_page(stage, language)
            .map_or(Fallback::Unknown, Fallback::Ask))
    }

    /// Takes what a page brings. A stage that is passed is noted in the session.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], and what asking for the mail may say.
    pub async fn pass_fallback(
        &self,
        session: &str,
        stage: &AuthType,
        proof: Proof,
    ) -> Result<Fallback, Error> {
        let Some(found) = self.browser_session(session, stage).await? else {
            return Ok(Fallback::Unknown);
        };
        if found.completed.iter().any(|name| name == stage.as_str()) {
            return Ok(Fallback::Done);
        }
        let Some(page) = self.stage_page(stage, proof.language) else {
            return Ok(Fallback::Unknown);
        };
        let (page, outcome) = match stage {
            AuthType::Dummy | AuthType::Terms => {
                (page, Outcome::Passed(stage.clone(), Results::default()))
            }
            AuthType::Password => (page, self.try_page_password(&found, &proof).await?),
            AuthType::RegistrationToken => {
                let outcome = self
                    .try_registration_token(&proof.token, proof.client)
                    .await?;
                (page, outcome)
            }
            AuthType::EmailIdentity if proof.sid.is_empty() => {
                return self.send_page_mail(&found, proof).await;
            }
            AuthType::EmailIdentity => {
                let outcome = self.try_page_email(&found, &proof).await?;
                let page = StagePage::EmailSent {
                    sid: proof.sid,
                    client_secret: proof.client_secret,
                };
                (page, outcome)
            }
            _ => return Ok(Fallback::Unknown),
        };
        let Outcome::Passed(stage, results) = outcome else {
            return Ok(Fallback::Wrong(page));
        };
        let mut conn = self.0.store.conn().await?;
        let hash = TokenHash::of(session);
        let updated =
            interactive_auth::update(&mut conn, hash, Some(stage.as_str()), &results).await?;
        Ok(updated.map_or(Fallback::Unknown, |_| Fallback::Done))
    }

    /// The session with this id, if it has this stage.
    async fn browser_session(
        &self,
        session: &str,
        stage: &AuthType,
    ) -> Result<Option<BrowserSession>, Error> {
        if session.is_empty() || session.len() > MAX_ID {
            return Ok(None);
        }
        let mut conn = self.0.store.conn().await?;
        let now = self.0.clock.now_i64();
        let hash = TokenHash::of(session);
        let found = interactive_auth::find_for_browser(&mut conn, hash, now).await?;
        Ok(found.filter(|found| found.offered.iter().any(|name| name == stage.as_str())))
    }

    fn stage_page(&self, stage: &AuthType, language: Language) -> Option<StagePage> {
        match stage {
            AuthType::Dummy => Some(StagePage::Dummy),
            AuthType::Password => Some(StagePage::Password),
            AuthType::RegistrationToken => Some(StagePage::RegistrationToken),
            AuthType::EmailIdentity => Some(StagePage::Email),
            AuthType::Terms => Some(StagePage::Terms(self.documents(language))),
            _ => None,
        }
    }

    async fn try_page_password(
        &self,
        session: &BrowserSession,
        proof: &Proof,
    ) -> Result<Outcome, Error> {
        let Some(user) = session.user else {
            return Ok(Outcome::Nothing);
        };
        let account = {
            let mut conn = self.0.store.conn().await?;
            accounts::find_by_number(&mut conn, user).await?
        };
        let identifier = account.map(|account| Identifier::User(account.user_id.into()));
        let password = proof.password.clone();
        self.try_password(Some(user), identifier, password, proof.client)
            .await
    }

    async fn try_page_email(
        &self,
        session: &BrowserSession,
        proof: &Proof,
    ) -> Result<Outcome, Error> {
        let is_odd = |text: &str| text.len() > MAX_ID || text.contains('\0');
        let Some(purpose) = session.purpose.filter(|_| !is_odd(&proof.sid)) else {
            return Ok(Outcome::Nothing);
        };
        let secret = TokenHash::of(&proof.client_secret);
        self.try_email(purpose, session.user, &proof.sid, secret)
            .await
    }

    /// Sends the mail of the e-mail stage. The page keeps the secret that a client would have.
    async fn send_page_mail(
        &self,
        session: &BrowserSession,
        proof: Proof,
    ) -> Result<Fallback, Error> {
        let client_secret = self.0.random.alphanumeric(SECRET_LENGTH);
        let request = EmailTokenRequest {
            client_secret: client_secret.clone(),
            email: proof.email,
            send_attempt: 1,
            next_link: None,
            language: Some(proof.language),
        };
        let sent = match session.purpose {
            Some(Purpose::Registration) => self.request_registration_token(request).await,
            Some(Purpose::Password) => self.request_password_token(request).await,
            _ => return Ok(Fallback::Unknown),
        };
        match sent {
            Ok(sid) => Ok(Fallback::Ask(StagePage::EmailSent { sid, client_secret })),
            Err(
                Error::InvalidParam(_)
                | Error::Denied(_)
                | Error::ThreepidInUse
                | Error::ThreepidNotFound,
            ) => Ok(Fallback::Wrong(StagePage::Email)),
            Err(error) => Err(error),
        }
    }
}
