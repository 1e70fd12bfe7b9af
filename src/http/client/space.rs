//! Rooms seen from the outside: their summaries, what spaces hold, and the rooms shared with
//! somebody.
//!
//! Specification v1.19, client-server API, "Spaces", "Room summary" and "Mutual rooms".

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::get,
};
use ruma::{
    OwnedMxcUri, RoomAliasId, UInt,
    api::client::{
        room::get_summary,
        space::{SpaceHierarchyRoomsChunk, get_hierarchy},
    },
    events::room::member::MembershipState,
    room::{JoinRuleSummary, RoomSummary, RoomType},
    serde::Raw,
};
use serde_json::{Value, json};

use crate::{
    accounts::Reach,
    http::{ApiError, AppState, RouterExt as _, Ruma, plain},
    rooms::{Actor, HierarchyQuery, Outline},
};

/// The path under which clients asked for summaries before they were in the specification, as
/// MSC3266 has it.
const OLD_SUMMARY: &[&str] =
    &["/_matrix/client/unstable/im.nheko.summary/summary/{room_id_or_alias}"];

/// The most rooms in one answer about shared rooms.
const MUTUAL_PAGE: usize = 500;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(hierarchy)
        .endpoint_also(OLD_SUMMARY, summary)
        .route("/_matrix/client/v1/mutual_rooms", get(mutual_rooms))
        .route(
            "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms",
            get(mutual_rooms),
        )
}

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`.
async fn hierarchy(
    State(state): State<AppState>,
    request: Ruma<get_hierarchy::v1::Request>,
) -> Result<get_hierarchy::v1::Response, ApiError> {
    let sees_public = state.accounts.may_list_rooms(Some(&request.sender));
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let query = HierarchyQuery {
        from: body.from,
        limit: body.limit.map(u64::from),
        max_depth: body.max_depth.map(u64::from),
        suggested_only: body.suggested_only,
    };
    if query.limit == Some(0) {
        return Err(ApiError::invalid_param("limit must be greater than zero"));
    }
    let onlooker = state.rooms.onlooker(&actor, sees_public).await?;
    let page = state.rooms.hierarchy(&onlooker, &body.room_id, &query);
    let page = page.await?;
    let mut response = get_hierarchy::v1::Response::new();
    response.next_batch = page.next_batch;
    response.rooms = page
        .rooms
        .into_iter()
        .map(|(outline, children)| {
            let children = children.into_iter().map(Raw::from_json).collect();
            SpaceHierarchyRoomsChunk::new(outlined(outline), children)
        })
        .collect();
    Ok(response)
}

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`. The specification leaves it to the server
/// whether people without an account are answered; here they are not.
async fn summary(
    State(state): State<AppState>,
    request: Ruma<get_summary::v1::Request>,
) -> Result<get_summary::v1::Response, ApiError> {
    let Some(requester) = &request.sender else {
        return Err(ApiError::missing_token());
    };
    let sees_public = state.accounts.may_list_rooms(Some(requester));
    let actor = Actor::from(&**requester);
    let onlooker = state.rooms.onlooker(&actor, sees_public).await?;
    let outline = state
        .rooms
        .outline(&onlooker, &request.body.room_id_or_alias);
    let (outline, membership): (Outline, MembershipState) = outline.await?;
    let mut response = get_summary::v1::Response::new(outlined(outline));
    response.membership = Some(membership);
    Ok(response)
}

fn outlined(outline: Outline) -> RoomSummary {
    let summary = outline.summary;
    let mut told = RoomSummary::new(
        outline.room_id,
        JoinRuleSummary::from(outline.join_rule),
        summary.guest_can_join,
        UInt::try_from(summary.joined_count).unwrap_or_default(),
        summary.world_readable,
    );
    let alias = summary.canonical_alias.as_deref();
    told.canonical_alias = alias.and_then(|alias| RoomAliasId::parse(alias).ok());
    told.name = summary.name;
    told.topic = summary.topic;
    told.avatar_url = summary.avatar_url.map(OwnedMxcUri::from);
    told.room_type = summary.room_type.as_deref().map(RoomType::from);
    told.encryption = outline
        .encryption
        .map(|algorithm| algorithm.as_str().into());
    told.room_version = Some(outline.room_version);
    told
}

/// `GET /_matrix/client/v1/mutual_rooms`, which ruma knows by its former path alone (MSC2666).
async fn mutual_rooms(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let sender = plain::sender(&state, request, Reach::Private).await?;
    let parameter = |names: &[&str]| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find_map(|(name, value)| names.contains(&&*name).then(|| value.into_owned()))
    };
    let other = parameter(&["user_id"]);
    let other = other.ok_or_else(|| ApiError::invalid_param("user_id is missing"))?;
    let other = plain::user_id(&other)?;
    let actor = Actor::from(&*sender);
    let shared = state.rooms.mutual_rooms(&actor, &other).await?;
    let first = match parameter(&["from", "batch_token"]) {
        None => 0,
        // A token is the last room of the page before.
        Some(token) if token.starts_with('!') => {
            shared.partition_point(|room| room.as_str() <= token.as_str())
        }
        Some(_) => return Err(ApiError::invalid_param("This is not a token of this list")),
    };
    let page: Vec<_> = shared.iter().skip(first).take(MUTUAL_PAGE).collect();
    let mut answer = json!({ "joined": page, "count": shared.len() });
    if first + page.len() < shared.len()
        && let Some(last) = page.last()
    {
        answer["next_batch"] = json!(last);
        // As it was called before it was in the specification.
        answer["next_batch_token"] = json!(last);
    }
    Ok(Json(answer))
}
