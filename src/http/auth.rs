//! Who sent a request, by the authentication scheme that ruma gives its endpoint.
//!
//! An endpoint whose scheme is not here does not compile: no request is let in by accident.

use std::{future::Future, sync::Arc};

use http::{Request, header::USER_AGENT};
use ruma::api::auth_scheme::{
    AccessToken, AccessTokenOptional, AppserviceTokenOptional, AuthScheme, NoAccessToken,
    NoAuthentication, extract_bearer_or_query_token,
};

use super::{AppState, audit::Sender, error::ApiError, guests, peer::ClientAddress, reach};
use crate::{
    accounts::{Reach, Requester},
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
}

/// The schemes under which clients send nothing that is checked. There are no application
/// services, so [`AppserviceTokenOptional`] is one of them.
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

nobody!(NoAuthentication, NoAccessToken, AppserviceTokenOptional);

/// Whose token this is, if their account may do this. That the device was seen is noted.
async fn requester(
    request: &Request<()>,
    state: &AppState,
    token: &str,
    reach: Reach,
) -> Result<Arc<Requester>, ApiError> {
    let requester = state.accounts.authenticate(token).await?;
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
