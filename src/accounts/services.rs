//! Application services: acting for users, making their accounts and logging in as them.
//!
//! Specification v1.19, application service API, "Identity assertion" and "Server admin style
//! permissions".

use std::sync::Arc;

use ruma::{OwnedDeviceId, OwnedUserId, UserId};

use super::{
    Accounts, Error, Identifier, NewSession, Registered, Requester, Session, check_device,
    register::Draft,
};
use crate::{
    appservice::{Registry, Service, SharedRegistry},
    audit::{Actor, action},
    store::{
        Store,
        access_tokens::{self, TokenHash},
        accounts,
    },
};

/// What marks the accounts of application services.
const USER_TYPE: &str = "appservice";

/// Whom an application service says it acts for.
#[derive(Clone, Debug, Default)]
pub struct Masquerade {
    /// The user; its own if there is none.
    pub user_id: Option<String>,
    /// One of the user's devices.
    pub device_id: Option<String>,
}

/// A request of an application service to make an account.
pub struct ServiceRegistration {
    /// The local part of the user id.
    pub username: Option<String>,
    /// The first device.
    pub session: NewSession,
    /// Whether no session is wanted.
    pub inhibit_login: bool,
}

impl Accounts {
    /// The application services in force.
    pub fn services(&self) -> &SharedRegistry {
        &self.0.settings.services
    }

    /// The application service that has this access token.
    pub fn service_of(&self, token: &str) -> Option<Arc<Service>> {
        let services = self.services().load();
        if services.services().is_empty() {
            return None;
        }
        services
            .find_by_token(TokenHash::of(token).as_bytes())
            .map(Arc::clone)
    }

    /// Whom an application service acts for.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for a user who is not the service's or has no account,
    /// [`Error::UnknownDevice`] for a device that the user does not have.
    pub async fn act_for(
        &self,
        service: &Arc<Service>,
        whom: &Masquerade,
    ) -> Result<Arc<Requester>, Error> {
        let user_id = match &whom.user_id {
            None => service.sender().to_owned(),
            Some(user_id) => UserId::parse(user_id)
                .map_err(|_| Error::InvalidParam("the parameter user_id is no user id"))?,
        };
        if !service.covers_user(&user_id) {
            let message = "the application service may not act for this user";
            return Err(Error::Forbidden(message));
        }
        let device_id = whom.device_id.as_deref();
        check_device(device_id, None).map_err(|_| Error::UnknownDevice)?;
        let key = format!(
            "{}\0{user_id}\0{}",
            service.id(),
            device_id.unwrap_or_default()
        );
        // Nobody's token: it is not looked up as one, and no token holds a NUL.
        let key = TokenHash::of(&key);
        if let Some(known) = self.remembered(key) {
            // The service's registration may be another one by now.
            let is_same = |own: &Arc<Service>| Arc::ptr_eq(own, service);
            if known.service().is_some_and(is_same) {
                return Ok(known);
            }
        }
        let device_id = device_id.map(OwnedDeviceId::from);
        let before = self.times_forgotten();
        let mut conn = self.0.store.conn().await?;
        let found = access_tokens::find_of_user(&mut conn, &user_id, device_id.as_deref()).await?;
        let message = "the application service has not registered this user";
        let session = found.ok_or(Error::Forbidden(message))?;
        if session.is_deactivated {
            return Err(Error::Deactivated);
        }
        if device_id.is_some() && session.device.is_none() {
            return Err(Error::UnknownDevice);
        }
        let requester = Arc::new(Requester::acting(session, key, Arc::clone(service)));
        self.remember(before, &requester);
        Ok(requester)
    }

    /// Makes an account for an application service. It has no password.
    ///
    /// # Errors
    /// [`Error::Exclusive`] for a user who is not the service's, [`Error::UserInUse`].
    pub async fn register_for_service(
        &self,
        service: &Service,
        request: ServiceRegistration,
    ) -> Result<Registered, Error> {
        let username = request.username.ok_or(Error::MissingParam("username"))?;
        let user_id = self.service_user(service, &username)?;
        check_device(
            request.session.device_id.as_ref().map(|id| id.as_str()),
            request.session.device_name.as_deref(),
        )?;
        let mut tx = self.0.store.begin().await?;
        let (user, user_id) = self
            .insert_unchecked(&mut tx, &user_id, &draft())
            .await?
            .ok_or(Error::UserInUse)?;
        let session = if request.inhibit_login {
            None
        } else {
            let session = self.start_session(&mut tx, user, &user_id, request.session);
            Some(session.await?)
        };
        Store::commit(tx).await?;
        tracing::info!(user.id = %user_id, service = service.id(), "an account was made by an application service");
        self.note(action::ACCOUNT_CREATED, Actor::Operator, &user_id);
        Ok(Registered {
            user,
            user_id,
            session,
        })
    }

    /// Logs an application service in as one of its users.
    ///
    /// # Errors
    /// [`Error::Exclusive`] for a user who is not the service's, [`Error::Forbidden`] for one who
    /// has no account.
    pub async fn login_for_service(
        &self,
        service: &Service,
        identifier: &Identifier,
        session: NewSession,
    ) -> Result<Session, Error> {
        let Identifier::User(name) = identifier else {
            return Err(Error::InvalidParam("the identifier is not a user"));
        };
        let user_id = self.service_user(service, name)?;
        let mut conn = self.0.store.conn().await?;
        let account = accounts::find(&mut conn, &user_id).await?;
        let account = account.ok_or(Error::Forbidden("there is no such user"))?;
        drop(conn);
        Self::may_log_in(&account)?;
        let mut tx = self.0.store.begin().await?;
        let session = self
            .start_session(&mut tx, account.user, &account.user_id, session)
            .await?;
        Store::commit(tx).await?;
        self.forget_sessions(account.user);
        Ok(session)
    }

    /// Makes the accounts of the services' own users that have none. To be called when the
    /// registrations were read.
    pub async fn prepare_services(&self, registry: &Registry) -> Result<(), Error> {
        let senders: Vec<OwnedUserId> = registry
            .services()
            .iter()
            .map(|service| service.sender().to_owned())
            .collect();
        if senders.is_empty() {
            return Ok(());
        }
        let mut conn = self.0.store.conn().await?;
        let known = accounts::list_existing(&mut conn, &senders).await?;
        drop(conn);
        for sender in senders.iter().filter(|sender| !known.contains(*sender)) {
            let mut tx = self.0.store.begin().await?;
            // Another process may have made it meanwhile.
            let made = self.insert_unchecked(&mut tx, sender, &draft()).await?;
            Store::commit(tx).await?;
            if made.is_some() {
                tracing::info!(user.id = %sender, "the user of an application service was made");
            }
        }
        Ok(())
    }

    /// Whether a user name is kept for an application service.
    pub(super) fn check_not_exclusive(&self, user_id: &UserId) -> Result<(), Error> {
        match self.services().load().owner_of_user(user_id) {
            Some(_) => Err(Error::Exclusive),
            None => Ok(()),
        }
    }

    /// A name as one of the service's users.
    fn service_user(&self, service: &Service, name: &str) -> Result<OwnedUserId, Error> {
        let server_name = &self.0.settings.server_name;
        let user_id = UserId::parse_with_server_name(name, server_name)
            .ok()
            .filter(|user_id| user_id.validate_strict().is_ok())
            .ok_or(Error::InvalidUsername)?;
        if !service.covers_user(&user_id) {
            return Err(Error::Exclusive);
        }
        Ok(user_id)
    }
}

fn draft() -> Draft<'static> {
    Draft {
        password_hash: None,
        is_admin: false,
        is_external: false,
        is_guest: false,
        user_type: Some(USER_TYPE),
        display_name: None,
    }
}

impl Masquerade {
    /// From the query of a request, where it may stand.
    pub fn from_query(query: Option<&str>) -> Self {
        let mut whom = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "user_id" => whom.user_id = Some(value.into_owned()),
                // The second is what services used before it was in the specification.
                "device_id" | "org.matrix.msc3202.device_id" => {
                    whom.device_id = Some(value.into_owned());
                }
                _ => (),
            }
        }
        whom
    }
}
