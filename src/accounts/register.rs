//! Registration.
//!
//! Specification v1.19, client-server API, "Account registration and management"; tchap.md 2.3
//! and 2.5.

use std::net::IpAddr;

use ruma::{
    OwnedUserId, UserId,
    api::client::uiaa::{AuthData, AuthType},
};
use zeroize::Zeroizing;

use super::{
    Accounts, Error, NewSession, Session, check_device,
    interactive_auth::{Flows, Operation, Passed, Progress},
};
use crate::{
    audit::{Actor, action},
    policy::{EmailAddress, Policy, check_localpart},
    store::{
        Conn, Store, UserNid,
        accounts::{self, NewAccount},
        identity,
        interactive_auth::Results,
        invitations, profiles, registration_tokens,
        threepids::{self, Purpose},
        users,
    },
};

/// How many user names are tried at once when some are taken.
const CANDIDATES: usize = 64;

/// The length of user names that the server chooses.
const USERNAME_LENGTH: usize = 12;

/// A request to make an account.
pub struct Registration {
    /// The local part that the client proposes.
    pub username: Option<String>,
    /// The password; it need not be sent again with later stages.
    pub password: Option<Zeroizing<String>>,
    /// The first device.
    pub session: NewSession,
    /// Whether no session is wanted (REG-22).
    pub inhibit_login: bool,
    /// The stage of authentication.
    pub auth: Option<AuthData>,
    /// The access token of a guest account that becomes this one.
    pub guest_access_token: Option<Zeroizing<String>>,
    /// The client's address.
    pub client: Option<IpAddr>,
}

/// A new account.
pub struct Registered {
    /// The user's number.
    pub user: UserNid,
    /// The user.
    pub user_id: OwnedUserId,
    /// The session, unless none was wanted.
    pub session: Option<Session>,
}

/// What an account is made of.
pub(super) struct Draft<'a> {
    pub password_hash: Option<&'a str>,
    pub is_admin: bool,
    pub is_external: bool,
    pub is_guest: bool,
    pub user_type: Option<&'a str>,
    pub display_name: Option<&'a str>,
}

impl Accounts {
    /// Makes an account, once the request has brought all the proofs that this server asks for.
    pub async fn register(&self, request: Registration) -> Result<Registered, Error> {
        if !self.0.settings.registration.enabled {
            return Err(Error::Forbidden("registration is closed"));
        }
        let policy = self.0.policy.load_full();
        check_device(
            request.session.device_id.as_ref().map(|id| id.as_str()),
            request.session.device_name.as_deref(),
        )?;
        // REG-15: the client's proposal does not count where ids follow from addresses.
        let username = request.username.filter(|_| !policy.username_is_derived());
        let username = username.map(|username| username.to_lowercase());
        let guest = match &request.guest_access_token {
            Some(token) => Some(self.guest_to_promote(token, username.as_deref()).await?),
            None => None,
        };
        if let Some(username) = username.as_ref().filter(|_| guest.is_none()) {
            self.check_available(username).await?;
        }
        let operation = Operation {
            name: "register",
            user: None,
            parameters: guest.iter().map(|(_, user_id)| user_id.as_str()).collect(),
            flows: self.registration_flows(&policy),
            purpose: Purpose::Registration,
            client: request.client,
        };
        let auth = request.auth.as_ref();
        let progress = self.find_progress(&operation, auth).await?;
        let password_hash = self.hash_once(&progress, request.password.as_ref()).await?;
        let learned = Results {
            username,
            password_hash,
            device_id: request.session.device_id.clone(),
            device_name: request.session.device_name.clone(),
            ..Results::default()
        };
        let passed = self.advance(&operation, progress, auth, learned).await?;
        let session = (!request.inhibit_login).then_some(request.session.refresh_token);
        self.complete_registration(&policy, passed, session, guest.clone())
            .await
    }

    /// The hash of the password of this request, checked, unless an earlier one brought it.
    pub(super) async fn hash_once(
        &self,
        progress: &Progress,
        password: Option<&Zeroizing<String>>,
    ) -> Result<Option<Zeroizing<String>>, Error> {
        let Some(password) = password else {
            return Ok(None);
        };
        if progress.results().password_hash.is_some() {
            return Ok(None);
        }
        self.hash_new_password(password).await.map(Some)
    }

    /// The address that was proved, if it may register.
    async fn address_to_register(&self, results: &Results) -> Result<Option<EmailAddress>, Error> {
        let address = results.address.as_deref().map(EmailAddress::parse);
        let address = address.transpose();
        let address = address.map_err(|error| Error::Denied(error.into()))?;
        if let Some(address) = &address {
            // REG-13: it may have changed since the mail.
            self.check_may_register(address).await?;
        }
        Ok(address)
    }

    /// `session`: whether the client can refresh tokens; `None`: it wants no session.
    async fn complete_registration(
        &self,
        policy: &Policy,
        passed: Passed,
        session: Option<bool>,
        guest: Option<(UserNid, OwnedUserId)>,
    ) -> Result<Registered, Error> {
        let results = &passed.results;
        // REG-18.
        let password_hash = results
            .password_hash
            .as_deref()
            .ok_or(Error::MissingParam("password"))?;
        let address = self.address_to_register(results).await?;
        let derives = policy.username_is_derived();
        let display_name = address
            .as_ref()
            .filter(|_| derives)
            .map(|address| policy.display_name_for_address(address));
        let is_external = address
            .as_ref()
            .is_some_and(|address| policy.is_external_address(address));
        let draft = Draft {
            password_hash: Some(password_hash),
            is_admin: false,
            is_external,
            is_guest: false,
            user_type: None,
            display_name: display_name.as_deref(),
        };

        let mut tx = self.0.store.begin().await?;
        self.finish(&mut tx, &passed).await?;
        if let Some(token) = &results.registration_token
            && !registration_tokens::use_once(&mut tx, token, self.0.clock.now_i64()).await?
        {
            return Err(Error::Forbidden("the registration token works no more"));
        }
        let mut done = action::ACCOUNT_CREATED;
        let (user, user_id) = match (&address, guest) {
            (_, Some((user, user_id))) => {
                self.promote_guest(&mut tx, user, password_hash).await?;
                (user, user_id)
            }
            (Some(address), None) if derives => {
                if let Some(former) = self.reopen_former(&mut tx, address, &draft).await? {
                    done = action::ACCOUNT_REACTIVATED;
                    former
                } else {
                    let candidates = policy.localparts_for_address(address)?;
                    self.insert_first_free(&mut tx, candidates, &draft).await?
                }
            }
            _ => self.insert_named(&mut tx, results, &draft).await?,
        };
        if let Some(address) = &address {
            self.add_address(&mut tx, user, address).await?;
        }
        self.accept_at_registration(&mut tx, user).await?;
        let session = match session {
            None => None,
            Some(refresh_token) => {
                let new = NewSession {
                    device_id: results.device_id.clone(),
                    device_name: results.device_name.clone(),
                    refresh_token,
                };
                Some(self.start_session(&mut tx, user, &user_id, new).await?)
            }
        };
        Store::commit(tx).await?;
        self.forget_sessions(user);
        tracing::info!(user.id = %user_id, "an account was made or opened again");
        let actor = Actor::User(user_id.clone());
        self.note(done, actor, &user_id);
        Ok(Registered {
            user,
            user_id,
            session,
        })
    }

    async fn insert_named(
        &self,
        conn: &mut Conn,
        results: &Results,
        draft: &Draft<'_>,
    ) -> Result<(UserNid, OwnedUserId), Error> {
        let username = results.username.clone();
        let username = username.unwrap_or_else(|| {
            let chosen = self.0.random.alphanumeric(USERNAME_LENGTH);
            format!("u{}", chosen.to_lowercase())
        });
        self.insert_account(conn, &username, draft)
            .await?
            .ok_or(Error::UserInUse)
    }

    /// Makes an account with the first of these names that nobody has or had.
    pub(super) async fn insert_first_free(
        &self,
        conn: &mut Conn,
        candidates: impl Iterator<Item = String>,
        draft: &Draft<'_>,
    ) -> Result<(UserNid, OwnedUserId), Error> {
        let mut candidates = candidates.peekable();
        while candidates.peek().is_some() {
            let names: Vec<String> = candidates.by_ref().take(CANDIDATES).collect();
            let ids: Vec<OwnedUserId> = names
                .iter()
                .filter_map(|name| self.local_user_id(name))
                .collect();
            let taken = accounts::list_existing(conn, &ids).await?;
            let services = self.services().load_full();
            let is_owned = |name: &str| {
                let user_id = self.local_user_id(name);
                user_id.is_some_and(|user_id| services.owner_of_user(&user_id).is_some())
            };
            let is_free = |name: &&String| {
                taken.iter().all(|id| id.localpart() != name.as_str()) && !is_owned(name)
            };
            for name in names.iter().filter(is_free) {
                // Somebody else may have taken it just now.
                if let Some(made) = self.insert_account(conn, name, draft).await? {
                    return Ok(made);
                }
            }
        }
        Err(Error::UserInUse)
    }

    /// Makes an account with its profile. `None`: the name is taken.
    pub(super) async fn insert_account(
        &self,
        conn: &mut Conn,
        localpart: &str,
        draft: &Draft<'_>,
    ) -> Result<Option<(UserNid, OwnedUserId)>, Error> {
        check_localpart(localpart, &self.0.settings.server_name)?;
        let user_id = self
            .local_user_id(localpart)
            .ok_or(Error::InvalidParam("the user name cannot be used"))?;
        self.check_not_exclusive(&user_id)?;
        let made = self.insert_unchecked(conn, &user_id, draft).await?;
        if let Some((user, user_id)) = &made {
            self.begin_validity(conn, *user, user_id).await?;
        }
        Ok(made)
    }

    /// The same for a name that was checked, and without a date on which the account expires.
    pub(super) async fn insert_unchecked(
        &self,
        conn: &mut Conn,
        user_id: &UserId,
        draft: &Draft<'_>,
    ) -> Result<Option<(UserNid, OwnedUserId)>, Error> {
        let user = users::intern(conn, user_id).await?;
        let new = NewAccount {
            user,
            password_hash: draft.password_hash,
            is_admin: draft.is_admin,
            is_external: draft.is_external,
            is_guest: draft.is_guest,
            user_type: draft.user_type,
            created_ms: self.0.clock.now_i64(),
        };
        if !accounts::insert(conn, &new).await? {
            return Ok(None);
        }
        let name = draft.display_name.unwrap_or_else(|| user_id.localpart());
        profiles::update_display_name(conn, user, Some(name)).await?;
        Ok(Some((user, user_id.to_owned())))
    }

    /// Gives a new account the address that was proved. Its proofs are not good a second time.
    pub(super) async fn add_address(
        &self,
        conn: &mut Conn,
        user: UserNid,
        address: &EmailAddress,
    ) -> Result<(), Error> {
        let now = self.0.clock.now_i64();
        let address = address.as_str();
        if !threepids::insert(conn, user, address, now, now).await? {
            return Err(Error::ThreepidInUse);
        }
        // The invites follow once this is committed.
        invitations::bind(conn, address, user, now).await?;
        threepids::delete_validations_of(conn, Purpose::Registration, address).await?;
        Ok(())
    }

    /// Whether an address may have an account here: asked before the mail, at the end, and before
    /// an address is bound (tchap.md 2.2). Somebody who needs an invitation has one only as long
    /// as it is neither withdrawn nor too old (REG-13, IN-07).
    pub async fn check_may_register(&self, address: &EmailAddress) -> Result<(), Error> {
        let (bound, invited) = {
            let mut conn = self.0.store.conn().await?;
            let now = self.0.clock.now_i64();
            let invited = invitations::exists_pending(&mut conn, address.as_str(), now).await?;
            (
                identity::find_bound(&mut conn, address.as_str()).await?,
                invited,
            )
        };
        // LK-07. An account of this server's does not count: that it is taken is told elsewhere,
        // or not at all.
        let elsewhere = bound
            .as_ref()
            .map(|user_id| user_id.server_name())
            .filter(|server| *server != self.0.settings.server_name);
        let policy = self.0.policy.load();
        let info = policy.address_info(address, None, elsewhere, invited);
        policy.may_register(&info).into_result()?;
        // UID-18, UID-19: an address that gives no user id gets no mail either.
        if policy.username_is_derived() {
            policy.localparts_for_address(address).map(drop)?;
        }
        Ok(())
    }

    fn registration_flows(&self, policy: &Policy) -> Flows {
        let settings = &self.0.settings.registration;
        let needs_email = policy.registration_requires_email();
        let mut proofs = match (needs_email, settings.open, settings.requires_token) {
            (false, true, _) => vec![vec![AuthType::Dummy], vec![AuthType::EmailIdentity]],
            (false, false, true) => vec![vec![AuthType::RegistrationToken]],
            (true, _, true) => vec![vec![AuthType::RegistrationToken, AuthType::EmailIdentity]],
            (_, _, false) => vec![vec![AuthType::EmailIdentity]],
        };
        if !settings.terms.is_empty() {
            for flow in &mut proofs {
                flow.insert(0, AuthType::Terms);
            }
        }
        proofs
    }

    /// Whether a user name can be had. Where the policy hides who has an account, every name can
    /// (REG-16).
    ///
    /// Specification v1.19, `GET /_matrix/client/v3/register/available`.
    pub async fn check_username(&self, username: &str) -> Result<(), Error> {
        if self.0.policy.load().reveals_availability() {
            self.check_available(username).await?;
        }
        Ok(())
    }

    pub(super) async fn check_available(&self, username: &str) -> Result<(), Error> {
        check_localpart(username, &self.0.settings.server_name)?;
        let user_id = self
            .local_user_id(username)
            .ok_or(Error::InvalidParam("the user name cannot be used"))?;
        self.check_not_exclusive(&user_id)?;
        let mut conn = self.0.store.conn().await?;
        match accounts::find(&mut conn, &user_id).await? {
            Some(_) => Err(Error::UserInUse),
            None => Ok(()),
        }
    }
}
