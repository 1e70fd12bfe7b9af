//! Who sent a request, by the authentication scheme that ruma gives its endpoint.
//!
//! An endpoint whose scheme is not here does not compile: no request is let in by accident.

use std::{future::Future, sync::Arc};

use http::{Request, header::USER_AGENT};
use ruma::api::auth_scheme::{
    AccessToken, AccessTokenOptional, AppserviceToken, AppserviceTokenOptional, AuthScheme,
    NoAccessToken, NoAuthentication, extract_bearer_or_query_token,
};

use super::{AppState, audit::Sender, error::ApiError, guests, peer::ClientAddress, reach};
use crate::{
    accounts::{Masquerade, Reach, Requester},
    appservice::Service,
    store::UserNid,
};

/// A scheme that this server knows how to check.
pub trait Authenticate: AuthScheme {
    /// What a handler learns about the sender.
    type Sender: Send + 'static;

    /// Checks a request's credentials.
    fn authenticate(
        request: &Request<()>,
        state: &AppState,
    ) -> impl Future<Output = Result<Self::Sender, ApiError>> + Send;

    /// The user that rate limits count for; none: they count for the address.
    fn user(sender: &Self::Sender) -> Option<UserNid>;

    /// Whether anything is counted at all.
    fn is_limited(_sender: &Self::Sender) -> bool {
        true
    }
}

/// An access token of the client-server API.
impl Authenticate for AccessToken {
    type Sender = Arc<Requester>;

    async fn authenticate(
        request: &Request<()>,
        state: &AppState,
    ) -> Result<Self::Sender, ApiError> {
        let token = token(request).ok_or_else(ApiError::missing_token)?;
        requester(request, state, &token, reach::of(request)).await
    }

    fn user(sender: &Self::Sender) -> Option<UserNid> {
        Some(sender.user())
    }

    fn is_limited(sender: &Self::Sender) -> bool {
        sender.is_limited()
    }
}

/// An access token if there is one; a wrong one is refused.
impl Authenticate for AccessTokenOptional {
    type Sender = Option<Arc<Requester>>;

    async fn authenticate(
        request: &Request<()>,
        state: &AppState,
    ) -> Result<Self::Sender, ApiError> {
        match token(request) {
            Some(token) => {
                let reach = reach::of(request);
                Ok(Some(requester(request, state, &token, reach).await?))
            }
            None => Ok(None),
        }
    }

    fn user(sender: &Self::Sender) -> Option<UserNid> {
        sender.as_ref().map(|requester| requester.user())
    }

    fn is_limited(sender: &Self::Sender) -> bool {
        sender
            .as_ref()
            .is_none_or(|requester| requester.is_limited())
    }
}

/// The access token of an application service.
impl Authenticate for AppserviceToken {
    type Sender = Arc<Requester>;

    async fn authenticate(
        request: &Request<()>,
        state: &AppState,
    ) -> Result<Self::Sender, ApiError> {
        let token = token(request).ok_or_else(ApiError::missing_token)?;
        let sender = requester(request, state, &token, reach::of(request)).await?;
        if sender.service().is_none() {
            let message = "This is not the token of an application service";
            return Err(ApiError::forbidden(message));
        }
        Ok(sender)
    }

    fn user(sender: &Self::Sender) -> Option<UserNid> {
        Some(sender.user())
    }

    fn is_limited(sender: &Self::Sender) -> bool {
        sender.is_limited()
    }
}

/// Whose token came along where application services may do more than others.
pub enum ServiceToken {
    /// There was none.
    Missing,
    /// There was one, and it is no application service's.
    Unknown,
    /// That of a service.
    Of(Arc<Service>),
}

impl ServiceToken {
    /// The service, where there must be one.
    ///
    /// # Errors
    /// 401 `M_MISSING_TOKEN` or `M_UNKNOWN_TOKEN`.
    pub fn required(self) -> Result<Arc<Service>, ApiError> {
        match self {
            Self::Missing => Err(ApiError::missing_token()),
            Self::Unknown => Err(ApiError::unknown_token(false)),
            Self::Of(service) => Ok(service),
        }
    }
}

/// The access token of an application service, if there is one. What other token there is, is not
/// looked at.
impl Authenticate for AppserviceTokenOptional {
    type Sender = ServiceToken;

    async fn authenticate(
        request: &Request<()>,
        state: &AppState,
    ) -> Result<Self::Sender, ApiError> {
        Ok(match token(request) {
            None => ServiceToken::Missing,
            Some(token) => match state.accounts.service_of(&token) {
                None => ServiceToken::Unknown,
                Some(service) => ServiceToken::Of(service),
            },
        })
    }

    fn user(_: &Self::Sender) -> Option<UserNid> {
        None
    }

    fn is_limited(sender: &Self::Sender) -> bool {
        match sender {
            ServiceToken::Missing | ServiceToken::Unknown => true,
            // As its own user, which is not limited.
            ServiceToken::Of(_) => false,
        }
    }
}

/// The schemes under which clients send nothing that is checked.
macro_rules! nobody {
    ($($scheme:ty),*) => {$(
        impl Authenticate for $scheme {
            type Sender = ();

            async fn authenticate(_: &Request<()>, _: &AppState) -> Result<(), ApiError> {
                Ok(())
            }

            fn user((): &()) -> Option<UserNid> {
                None
            }
        }
    )*};
}

nobody!(NoAuthentication, NoAccessToken);

/// Whose token this is, if their account may do this. That the device was seen is noted.
async fn requester(
    request: &Request<()>,
    state: &AppState,
    token: &str,
    reach: Reach,
) -> Result<Arc<Requester>, ApiError> {
    let requester = of_token(state, token, request.uri().query()).await?;
    if let Some(sender) = request.extensions().get::<Sender>() {
        sender.set(&requester);
    }
    let client = ClientAddress::of(request.extensions());
    let user_agent = request.headers().get(USER_AGENT);
    let user_agent = user_agent.and_then(|agent| agent.to_str().ok());
    state
        .accounts
        .note_seen(&requester, Some(client), user_agent);
    state.accounts.may_proceed(&requester, reach)?;
    if requester.is_guest() && !guests::may_use(request) {
        return Err(ApiError::guest_access_forbidden());
    }
    Ok(requester)
}

/// Whose token this is; for that of an application service, whom it acts for.
pub(super) async fn of_token(
    state: &AppState,
    token: &str,
    query: Option<&str>,
) -> Result<Arc<Requester>, ApiError> {
    let accounts = &state.accounts;
    Ok(match accounts.service_of(token) {
        Some(service) => {
            let whom = Masquerade::from_query(query);
            accounts.act_for(&service, &whom).await?
        }
        None => accounts.authenticate(token).await?,
    })
}

/// Who sends a request that no type of ruma's describes.
pub(super) async fn sender(
    request: &Request<()>,
    state: &AppState,
    reach: Reach,
) -> Result<Arc<Requester>, ApiError> {
    let token = token(request).ok_or_else(ApiError::missing_token)?;
    requester(request, state, &token, reach).await
}

/// The token of the `Authorization` header, or of the deprecated `access_token` query parameter.
///
/// A header that is no bearer token is as good as none.
fn token(request: &Request<()>) -> Option<String> {
    let token = extract_bearer_or_query_token(request).ok().flatten()?;
    (!token.is_empty()).then_some(token)
}
