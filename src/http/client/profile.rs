//! `/profile`: what people show of themselves.
//!
//! Specification v1.19, client-server API, "Profiles".

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::Method;
use ruma::{
    api::{
        IncomingRequest, Metadata,
        client::profile::{
            delete_profile_field, get_profile, get_profile_field, set_profile_field,
        },
        error::DeserializationError,
    },
    profile::{ProfileFieldName, ProfileFieldValue},
};
use serde::de::{self, IgnoredAny, value};

use crate::{
    accounts::{Accounts, ProfileChange, Reach},
    http::{ApiError, AppState, RouterExt as _, Ruma, auth, plain},
    store::profiles::Profile,
};

/// Every endpoint of this file.
pub(super) fn routes(state: &AppState) -> Router<AppState> {
    Router::new()
        .endpoint(get)
        .endpoint(get_field)
        .endpoint(set_field)
        .endpoint(delete_field)
        .route_layer(from_fn_with_state(state.clone(), may_read))
}

/// Whether the sender may read the profile. The specification lets everybody, and its endpoints
/// carry no session; where the policy does not, a session is asked for.
async fn may_read(
    State(state): State<AppState>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if request.method() != Method::GET || state.accounts.shows_all_profiles() {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    let head = http::Request::from_parts(parts, ());
    let sender = auth::sender(&head, &state, Reach::Private).await?;
    let path = path.map_err(|_| ApiError::invalid_param("The path is not UTF-8"))?;
    let owner = path.iter().find(|(name, _)| *name == "user_id");
    let owner = plain::user_id(owner.map_or("", |(_, value)| value))?;
    state.accounts.may_see_profile(&sender, &owner).await?;
    let (parts, ()) = head.into_parts();
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// `GET /_matrix/client/v3/profile/{userId}`.
async fn get(
    State(state): State<AppState>,
    request: Ruma<get_profile::v3::Request>,
) -> Result<get_profile::v3::Response, ApiError> {
    state
        .bridges
        .prepare_users(&[&*request.body.user_id])
        .await?;
    let profile = state.accounts.profile(&request.body.user_id).await?;
    let mut response = get_profile::v3::Response::new();
    if let Some(name) = profile.display_name {
        response.set("displayname".to_owned(), name.into());
    }
    if let Some(url) = profile.avatar_url {
        response.set("avatar_url".to_owned(), url.as_str().into());
    }
    response.extend(profile.fields);
    Ok(response)
}

/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`. The two fields that all versions of the
/// specification know are never missing: not set, they are left out of the answer.
async fn get_field(
    State(accounts): State<Accounts>,
    request: Ruma<get_profile_field::v3::Request>,
) -> Result<get_profile_field::v3::Response, ApiError> {
    let body = request.body;
    let profile = accounts.profile(&body.user_id).await?;
    let is_old = matches!(
        body.field,
        ProfileFieldName::DisplayName | ProfileFieldName::AvatarUrl
    );
    let value = field(profile, &body.field)?;
    if value.is_none() && !is_old {
        return Err(ApiError::not_found("The profile has no such field"));
    }
    let mut response = get_profile_field::v3::Response::default();
    response.value = value;
    Ok(response)
}

/// A request to set a field; ruma's own type takes a body without the field for broken JSON.
struct SetRequest(set_profile_field::v3::Request);

impl Metadata for SetRequest {
    const METHOD: Method = set_profile_field::v3::Request::METHOD;
    const RATE_LIMITED: bool = set_profile_field::v3::Request::RATE_LIMITED;
    type Authentication = <set_profile_field::v3::Request as Metadata>::Authentication;
    type PathBuilder = <set_profile_field::v3::Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = set_profile_field::v3::Request::PATH_BUILDER;
}

impl IncomingRequest for SetRequest {
    type EndpointError = <set_profile_field::v3::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = set_profile_field::v3::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path: &[&str],
    ) -> Result<Self, DeserializationError> {
        let fields: BTreeMap<String, IgnoredAny> = serde_json::from_slice(request.body())?;
        if let [_user_id, name] = path
            && !fields.contains_key(*name)
        {
            let message = format!("missing field `{name}`");
            return Err(<value::Error as de::Error>::custom(message).into());
        }
        let request = set_profile_field::v3::Request::try_from_http_request_inner(request, path)?;
        Ok(Self(request))
    }
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`.
async fn set_field(
    State(state): State<AppState>,
    request: Ruma<SetRequest>,
) -> Result<set_profile_field::v3::Response, ApiError> {
    let SetRequest(body) = request.body;
    if let ProfileFieldValue::AvatarUrl(url) = &body.value
        && !url.as_str().is_empty()
        && url.parts().is_ok()
    {
        state.media.check_avatar(url.as_str()).await?;
    }
    let change = state
        .accounts
        .set_profile_field(&request.sender, &body.user_id, &body.value)
        .await?;
    tell_rooms(&state, &change).await;
    Ok(set_profile_field::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`.
async fn delete_field(
    State(state): State<AppState>,
    request: Ruma<delete_profile_field::v3::Request>,
) -> Result<delete_profile_field::v3::Response, ApiError> {
    let body = request.body;
    let change = state
        .accounts
        .delete_profile_field(&request.sender, &body.user_id, &body.field)
        .await?;
    tell_rooms(&state, &change).await;
    Ok(delete_profile_field::v3::Response::new())
}

/// Rooms show names and avatars in their member events. The first rooms hear of it now.
async fn tell_rooms(state: &AppState, change: &ProfileChange) {
    if change.is_seen_in_rooms
        && let Err(error) = state.accounts.begin_work(&state.rooms, change.user).await
    {
        // It is written down, and will be done.
        tracing::warn!(%error, "rooms will hear of a changed profile later");
    }
}

fn field(
    mut profile: Profile,
    name: &ProfileFieldName,
) -> Result<Option<ProfileFieldValue>, ApiError> {
    let other = match name {
        ProfileFieldName::DisplayName => {
            return Ok(profile.display_name.map(ProfileFieldValue::DisplayName));
        }
        ProfileFieldName::AvatarUrl => {
            return Ok(profile.avatar_url.map(ProfileFieldValue::AvatarUrl));
        }
        other => other.as_str(),
    };
    profile
        .fields
        .remove(other)
        .map(|value| ProfileFieldValue::new(other, value))
        .transpose()
        .map_err(|error| ApiError::internal(&error))
}
