//! `/_chappe/admin/v1`: what administrators of the server ask of it, with their access token.

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::{get, post},
};
use ruma::{OwnedRoomId, OwnedUserId, api::client::room::create_room};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    AppState,
    endpoint::convert,
    error::ApiError,
    plain::{Plain, UserIdOfPath},
    reports::number,
};
use crate::{
    policy::{Explanation, RegistrationQuestion},
    rooms::{Actor, Says},
    store::RoomNid,
};

/// The rooms on a page of what an account could read, where nobody says.
const PAGE: i64 = 100;
/// The most rooms on such a page.
const MAX_PAGE: i64 = 1_000;
/// In how many rooms one request takes a power level away.
const DEMOTED_AT_ONCE: usize = 50;

/// Where it is explained what the policy says of a registration.
pub const EXPLAIN_REGISTRATION: &str = "/_chappe/admin/v1/policy/explain/registration";

/// Where it is explained what the policy says of an invite to a room.
pub const EXPLAIN_INVITE: &str = "/_chappe/admin/v1/policy/explain/invite";
/// Where it is explained what the policy says of a new room.
pub const EXPLAIN_ROOM: &str = "/_chappe/admin/v1/policy/explain/room";

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route(EXPLAIN_REGISTRATION, post(explain_registration))
        .route(EXPLAIN_INVITE, post(explain_invite))
        .route(EXPLAIN_ROOM, post(explain_room))
        .route("/_chappe/admin/v1/users/{user_id}/exposure", get(exposure))
        .route("/_chappe/admin/v1/users/{user_id}/demote", post(demote))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    address: String,
    #[serde(default)]
    invited: bool,
    password: Option<Zeroizing<String>>,
    display_name: Option<String>,
    user_id: Option<String>,
}

/// `POST /_chappe/admin/v1/policy/explain/registration`: whether somebody could register, and which
/// rules decide. It changes nothing.
async fn explain_registration(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Explanation>, ApiError> {
    let question: Question = question(&state, request).await?;
    let explanation = state
        .accounts
        .explain_registration(&RegistrationQuestion {
            address: &question.address,
            invited: question.invited,
            password: question.password.as_ref().map(|password| password.as_str()),
            display_name: question.display_name.as_deref(),
            user_id: question.user_id.as_deref(),
        })
        .await?;
    Ok(Json(explanation))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InviteQuestion {
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    user_id: OwnedUserId,
}

/// `POST /_chappe/admin/v1/policy/explain/invite`: whether a user may invite another to a room.
async fn explain_invite(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Explanation>, ApiError> {
    let question: InviteQuestion = question(&state, request).await?;
    let InviteQuestion {
        room_id,
        sender,
        user_id,
    } = question;
    let rooms = &state.rooms;
    Ok(Json(
        rooms.explain_invite(&room_id, &sender, &user_id).await?,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoomQuestion {
    creator: OwnedUserId,
    /// The body of a `createRoom`.
    room: Value,
}

/// `POST /_chappe/admin/v1/policy/explain/room`: whether a user may make a room like this.
async fn explain_room(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Explanation>, ApiError> {
    let RoomQuestion { creator, room }: RoomQuestion = question(&state, request).await?;
    let (request, says) = creation(&room)?;
    let rooms = &state.rooms;
    Ok(Json(
        rooms.explain_creation(&creator, &request, says).await?,
    ))
}

/// The body of a `createRoom` as the service takes it.
///
/// # Errors
/// What the endpoint would answer.
pub fn creation(room: &Value) -> Result<(create_room::v3::Request, Says), ApiError> {
    let says = match room.get("visibility") {
        Some(_) => Says::Visibility,
        None => Says::NoVisibility,
    };
    let text = room.to_string();
    let request = http::Request::post("/_matrix/client/v3/createRoom")
        .body(text.as_bytes())
        .map_err(|error| ApiError::internal(&error))?;
    Ok((convert::<create_room::v3::Request>(request, &[])?, says))
}

/// `GET /_chappe/admin/v1/users/{userId}/exposure`: what an account could read, for those who look
/// into one that somebody else has used. `from` is the `next_token` of the page before.
async fn exposure(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let request = Plain::read_of_admin(&state, request).await?;
    let user_id = user_id.parse()?;
    let limit = number(&query, "limit")?.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let after = RoomNid(number(&query, "from")?.unwrap_or(0));
    let accounts = &state.accounts;
    let account = accounts.view_account(&request.sender, &user_id).await?;
    let user = account.details.user;
    let (rooms, next) = state.rooms.exposure(user, after, limit).await?;
    let mut answer = json!({ "user_id": user_id, "rooms": rooms });
    if let Some(next) = next {
        answer["next_token"] = next.0.into();
    }
    Ok(Json(answer))
}

/// `POST /_chappe/admin/v1/users/{userId}/demote`: takes the account's power level away in the next
/// rooms that somebody else leads. `from` is the `next_token` of the request before.
async fn demote(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let request = Plain::read_of_admin(&state, request).await?;
    let user_id = user_id.parse()?;
    let after = number(&query, "from")?.map(RoomNid);
    let accounts = &state.accounts;
    let account = accounts.view_account(&request.sender, &user_id).await?;
    let actor = Actor {
        user_id,
        user: account.details.user,
        device: None,
    };
    let rooms = &state.rooms;
    let done = rooms.resign_in_some(&actor, after, DEMOTED_AT_ONCE).await?;
    let mut answer = json!({ "failed": done.failed });
    if let Some(next) = done.next {
        answer["next_token"] = next.0.into();
    }
    Ok(Json(answer))
}

/// What an administrator asks.
async fn question<Q: DeserializeOwned>(state: &AppState, request: Request) -> Result<Q, ApiError> {
    let plain = Plain::read_of_admin(state, request).await?;
    serde_json::from_value(Value::Object(plain.body))
        .map_err(|error| ApiError::bad_json(format!("Bad JSON: {error}")))
}
