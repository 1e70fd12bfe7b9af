//! User-interactive authentication: flows, stages and the sessions between requests.
//!
//! Specification v1.19, client-server API, "User-Interactive Authentication API".
//!
//! A session is bound to one operation with its parameters. It keeps results (a stage that was
//! passed, an address that was proved, the hash of a new password) and never what was typed.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ruma::api::{
    client::uiaa::{
        AuthData, AuthFlow, AuthType, LoginTermsParams, PolicyDefinition, PolicyTranslation,
        UiaaInfo,
    },
    error::{ErrorKind, StandardErrorBody},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Accounts, Error, Identifier, client_subject, sessions::later};
use crate::store::{
    Conn, UserNid,
    access_tokens::TokenHash,
    accounts,
    interactive_auth::{self, InteractiveAuthSession, NewAuthSession, Results},
    registration_tokens::{self, RegistrationToken},
    threepids::{self, Purpose},
};

/// How long a session lives.
const LIFETIME: Duration = Duration::from_hours(1);

/// The ways to prove who asks: each a list of stages.
pub(super) type Flows = Vec<Vec<AuthType>>;

/// An operation that needs proof of who asks.
pub(super) struct Operation<'a> {
    /// What it is called, in this file's sense: sessions are not good for another one.
    pub name: &'static str,
    /// Whose account it is about, if that is known already.
    pub user: Option<UserNid>,
    /// The parameters that the session is bound to, in a fixed order.
    pub parameters: Vec<&'a str>,
    /// What is accepted.
    pub flows: Flows,
    /// What a proof of an address must have been asked for.
    pub purpose: Purpose,
    /// The client's address.
    pub client: Option<IpAddr>,
}

impl Operation<'_> {
    fn binding(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        let user = self.user.map_or(0, |user| user.0);
        hash.update(user.to_be_bytes());
        for part in std::iter::once(&self.name).chain(&self.parameters) {
            // With their lengths, so that no two lists of parts look the same.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().to_vec()
    }

    fn offers(&self, stage: &AuthType) -> bool {
        self.flows.iter().any(|flow| flow.contains(stage))
    }

    fn is_complete(&self, completed: &[String]) -> bool {
        let passed = |stage: &AuthType| completed.iter().any(|passed| passed == stage.as_str());
        self.flows.iter().any(|flow| flow.iter().all(passed))
    }
}

/// An operation's authentication, begun or found.
pub(super) struct Progress {
    /// The id that the client sent, if it names a session.
    session: Option<(String, InteractiveAuthSession)>,
    /// Whether the client named a session that there is not.
    is_lost: bool,
}

impl Progress {
    /// What was learned by earlier requests.
    pub(super) fn results(&self) -> Results {
        self.session
            .as_ref()
            .map(|(_, session)| session.results.clone())
            .unwrap_or_default()
    }
}

/// A complete authentication.
pub(super) struct Passed {
    session: Option<TokenHash>,
    /// What was learned by all requests.
    pub results: Results,
}

/// What a stage came to.
pub(super) enum Outcome {
    /// The stage was passed, and this was learned.
    Passed(AuthType, Results),
    /// Nothing was tried.
    Nothing,
    /// It was not.
    Failed(ErrorKind, &'static str),
}

impl Accounts {
    /// Finds the session that a request names. A request that begins a new one counts against
    /// the limits of its sender.
    pub(super) async fn find_progress(
        &self,
        operation: &Operation<'_>,
        auth: Option<&AuthData>,
    ) -> Result<Progress, Error> {
        let named = auth.and_then(AuthData::session);
        if let Some(id) = named {
            let mut conn = self.0.store.conn().await?;
            let now = self.0.clock.now_i64();
            let found = interactive_auth::find(&mut conn, TokenHash::of(id), now).await?;
            let bound = found
                .filter(|session| session.binding.ct_eq(&operation.binding()).into())
                .map(|session| (id.to_owned(), session));
            if let Some(session) = bound {
                return Ok(Progress {
                    session: Some(session),
                    is_lost: false,
                });
            }
        }
        if operation.user.is_none() {
            let client = client_subject(operation.client);
            let now_ms = self.0.clock.now_ms();
            self.0.registration.try_take(&client, now_ms)?;
        }
        Ok(Progress {
            session: None,
            is_lost: named.is_some(),
        })
    }

    /// Tries the stage that a request brings, and remembers what it taught. The operation may go
    /// on when a flow is complete; until then it is [`Error::InteractiveAuth`].
    pub(super) async fn advance(
        &self,
        operation: &Operation<'_>,
        progress: Progress,
        auth: Option<&AuthData>,
        learned: Results,
    ) -> Result<Passed, Error> {
        let outcome = if progress.is_lost {
            let kind = ErrorKind::Unknown;
            Outcome::Failed(kind, "the session is over: begin again")
        } else {
            self.try_stage(operation, auth).await?
        };
        let (stage, results, failure) = match outcome {
            Outcome::Passed(stage, results) => (Some(stage), merge(learned, results), None),
            Outcome::Nothing => (None, learned, None),
            Outcome::Failed(kind, message) => (None, learned, Some((kind, message))),
        };
        let stage_name = stage.as_ref().map(AuthType::as_str);
        // One request that proves everything leaves nothing to keep.
        if progress.session.is_none()
            && let Some(name) = stage_name
            && operation.is_complete(&[name.to_owned()])
        {
            return Ok(Passed {
                session: None,
                results,
            });
        }
        let mut conn = self.0.store.conn().await?;
        let id = match progress.session {
            Some((id, _)) => id,
            None => self.begin(&mut conn, operation).await?,
        };
        let hash = TokenHash::of(&id);
        let updated = interactive_auth::update(&mut conn, hash, stage_name, &results).await?;
        let Some(session) = updated else {
            // Another request has used the session just now.
            let failure = (ErrorKind::Unknown, "the session is over: begin again");
            let id = self.begin(&mut conn, operation).await?;
            return Err(self.answer(operation, id, Vec::new(), Some(failure)));
        };
        if failure.is_none() && operation.is_complete(&session.completed) {
            return Ok(Passed {
                session: Some(hash),
                results: session.results,
            });
        }
        Err(self.answer(operation, id, session.completed, failure))
    }

    /// Ends the session, in the transaction of the operation.
    pub(super) async fn finish(&self, conn: &mut Conn, passed: &Passed) -> Result<(), Error> {
        if let Some(session) = passed.session
            && !interactive_auth::delete(conn, session).await?
        {
            return Err(Error::Forbidden("the session was used by another request"));
        }
        Ok(())
    }

    async fn begin(&self, conn: &mut Conn, operation: &Operation<'_>) -> Result<String, Error> {
        let id = self.0.random.alphanumeric(32);
        let now = self.0.clock.now_i64();
        let binding = operation.binding();
        let offered: Vec<&str> = operation
            .flows
            .iter()
            .flatten()
            .map(AuthType::as_str)
            .collect();
        let new = NewAuthSession {
            session: TokenHash::of(&id),
            binding: &binding,
            offered: &offered,
            user: operation.user,
            purpose: operation.purpose,
            created_ms: now,
            expires_ms: later(now, LIFETIME),
        };
        interactive_auth::insert(conn, &new).await?;
        Ok(id)
    }

    async fn try_stage(
        &self,
        operation: &Operation<'_>,
        auth: Option<&AuthData>,
    ) -> Result<Outcome, Error> {
        let Some(auth) = auth else {
            return Ok(Outcome::Nothing);
        };
        // Without a type the client asks whether something that it did elsewhere has counted.
        let Some(stage) = auth.auth_type() else {
            return Ok(Outcome::Nothing);
        };
        if !operation.offers(&stage) {
            return Ok(Outcome::Failed(
                ErrorKind::Forbidden,
                "this stage is not part of any flow",
            ));
        }
        match auth {
            AuthData::Dummy(_) | AuthData::Terms(_) => {
                Ok(Outcome::Passed(stage, Results::default()))
            }
            AuthData::Password(data) => {
                let identifier = Identifier::from_request(Some(&data.identifier), None, None, None);
                let password = Zeroizing::new(data.password.clone());
                let client = operation.client;
                self.try_password(operation.user, identifier, password, client)
                    .await
            }
            AuthData::EmailIdentity(data) => {
                let credentials = &data.thirdparty_id_creds;
                let secret = TokenHash::of(credentials.client_secret.as_str());
                let (purpose, user) = (operation.purpose, operation.user);
                self.try_email(purpose, user, credentials.sid.as_str(), secret)
                    .await
            }
            AuthData::RegistrationToken(data) => {
                self.try_registration_token(&data.token, operation.client)
                    .await
            }
            _ => Ok(Outcome::Failed(
                ErrorKind::Unrecognized,
                "this stage is not known",
            )),
        }
    }

    pub(super) async fn try_password(
        &self,
        user: Option<UserNid>,
        identifier: Option<Identifier>,
        password: Zeroizing<String>,
        client: Option<IpAddr>,
    ) -> Result<Outcome, Error> {
        let wrong = Outcome::Failed(ErrorKind::Forbidden, "invalid user name or password");
        let Some(identifier) = identifier else {
            return Ok(wrong);
        };
        let account = self.check_password(&identifier, &password, client).await?;
        match account {
            Some(account) if account.is_deactivated => Ok(wrong),
            Some(account) if Some(account.user) == user => {
                Ok(Outcome::Passed(AuthType::Password, Results::default()))
            }
            // Right, but somebody else's: no further try can help.
            Some(_) => Err(Error::Forbidden("this is another user's password")),
            None => Ok(wrong),
        }
    }

    pub(super) async fn try_email(
        &self,
        purpose: Purpose,
        of_user: Option<UserNid>,
        sid: &str,
        client_secret: TokenHash,
    ) -> Result<Outcome, Error> {
        let mut conn = self.0.store.conn().await?;
        let now = self.0.clock.now_i64();
        let address =
            threepids::find_validated(&mut conn, purpose, sid, client_secret, now).await?;
        let Some(address) = address else {
            return Ok(Outcome::Failed(
                ErrorKind::Unauthorized,
                "the link in the mail was not opened yet",
            ));
        };
        if let Some(user) = of_user {
            let owner = accounts::find_by_address(&mut conn, &address).await?;
            if owner.is_none_or(|owner| owner.user != user) {
                return Ok(Outcome::Failed(
                    ErrorKind::Forbidden,
                    "the address is not one of this account",
                ));
            }
        }
        let results = Results {
            address: Some(address),
            ..Results::default()
        };
        Ok(Outcome::Passed(AuthType::EmailIdentity, results))
    }

    pub(super) async fn try_registration_token(
        &self,
        token: &str,
        client: Option<IpAddr>,
    ) -> Result<Outcome, Error> {
        if !self.is_registration_token_good(token, client).await? {
            return Ok(Outcome::Failed(
                ErrorKind::Unauthorized,
                "invalid registration token",
            ));
        }
        let results = Results {
            registration_token: Some(token.to_owned()),
            ..Results::default()
        };
        Ok(Outcome::Passed(AuthType::RegistrationToken, results))
    }

    /// Whether accounts can be made with this registration token. Wrong guesses are limited.
    pub async fn is_registration_token_good(
        &self,
        token: &str,
        client: Option<IpAddr>,
    ) -> Result<bool, Error> {
        let subject = format!("{} registration token", client_subject(client));
        let now_ms = self.0.clock.now_ms();
        self.0.login_failed.check(&subject, now_ms)?;
        let found = if token.contains('\0') {
            None
        } else {
            let mut conn = self.0.store.conn().await?;
            registration_tokens::find(&mut conn, token).await?
        };
        let is_good = found.is_some_and(|token| is_good(&token, self.0.clock.now_i64()));
        if !is_good {
            self.0.login_failed.take(&subject, now_ms);
        }
        Ok(is_good)
    }

    fn answer(
        &self,
        operation: &Operation<'_>,
        session: String,
        completed: Vec<String>,
        failure: Option<(ErrorKind, &'static str)>,
    ) -> Error {
        let flows = operation.flows.iter().cloned().map(AuthFlow::new).collect();
        let mut info = UiaaInfo::new(flows);
        info.session = Some(session);
        info.completed = completed.into_iter().map(AuthType::from).collect();
        let terms = operation.offers(&AuthType::Terms).then(|| self.terms());
        let params: BTreeMap<_, _> = terms
            .map(|terms| (AuthType::Terms.as_str().to_owned(), terms))
            .into_iter()
            .collect();
        info.params = serde_json::value::to_raw_value(&params).ok();
        info.auth_error = failure
            .map(|(kind, message)| Box::new(StandardErrorBody::new(kind, message.to_owned())));
        Error::InteractiveAuth(Box::new(info))
    }

    fn terms(&self) -> LoginTermsParams {
        let terms = self.0.settings.registration.terms.iter().map(|terms| {
            let text = |url: &url::Url| PolicyTranslation::new(terms.name.clone(), url.to_string());
            let texts = BTreeMap::from([
                ("fr".to_owned(), text(&terms.url_fr)),
                ("en".to_owned(), text(&terms.url_en)),
            ]);
            let definition = PolicyDefinition::new(terms.version.clone(), texts);
            (terms.name.clone(), definition)
        });
        LoginTermsParams::new(terms.collect())
    }
}

/// Whether a registration token still works.
fn is_good(token: &RegistrationToken, now_ms: i64) -> bool {
    token.uses_allowed.is_none_or(|uses| token.completed < uses)
        && token.expires_ms.is_none_or(|end| now_ms < end)
}

fn merge(learned: Results, results: Results) -> Results {
    Results {
        address: results.address,
        registration_token: results.registration_token,
        ..learned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation<'a>(name: &'static str, parameters: Vec<&'a str>) -> Operation<'a> {
        Operation {
            name,
            user: Some(UserNid(1)),
            parameters,
            flows: vec![
                vec![AuthType::Terms, AuthType::EmailIdentity],
                vec![AuthType::Dummy],
            ],
            purpose: Purpose::Registration,
            client: None,
        }
    }

    #[test]
    fn a_session_is_bound_to_its_operation_and_parameters() {
        let bindings = [
            operation("a", vec![]),
            operation("b", vec![]),
            operation("a", vec!["x"]),
            operation("a", vec!["x", "y"]),
            operation("a", vec!["xy"]),
            Operation {
                user: Some(UserNid(2)),
                ..operation("a", vec![])
            },
            Operation {
                user: None,
                ..operation("a", vec![])
            },
        ]
        .map(|operation| operation.binding());
        for (at, binding) in bindings.iter().enumerate() {
            let same = bindings.iter().filter(|other| *other == binding).count();
            assert_eq!(same, 1, "{at}");
        }
    }

    #[test]
    fn a_flow_needs_all_its_stages_in_any_order() {
        let operation = operation("a", vec![]);
        let complete = |completed: &[&str]| {
            let completed: Vec<String> = completed.iter().map(|&stage| stage.into()).collect();
            operation.is_complete(&completed)
        };
        assert!(!complete(&[]));
        assert!(!complete(&["m.login.terms"]));
        assert!(complete(&["m.login.email.identity", "m.login.terms"]));
        assert!(complete(&["m.login.dummy"]));
    }
}
