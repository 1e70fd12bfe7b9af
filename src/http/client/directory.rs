//! Aliases, and the directory of published rooms.
//!
//! Specification v1.19, client-server API, "Room aliases" and "Published room directory".

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::{
    OwnedMxcUri, RoomAliasId, UInt,
    api::{
        client::{
            alias::{create_alias, delete_alias, get_alias},
            directory::{
                get_public_rooms, get_public_rooms_filtered, get_room_visibility,
                set_room_visibility,
            },
            room::{Visibility, aliases},
        },
        error::ErrorCode,
    },
    directory::{PublicRoomsChunk, PublicRoomsChunkInit, RoomNetwork},
    room::{JoinRuleKind, RoomType},
};

use crate::{
    accounts::Reach,
    http::{ApiError, AppState, Kind, RouterExt as _, Ruma, auth},
    rooms::{Actor, DirectoryPage, DirectoryQuery, Error, Rooms},
    store::directory::PublishedRoom,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(create)
        .endpoint(resolve)
        .endpoint(delete)
        .endpoint(list_aliases)
        .endpoint(list_published)
        .endpoint(search_published)
        .endpoint(get_visibility)
        .endpoint(set_visibility)
}

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}`.
async fn create(
    State(state): State<AppState>,
    request: Ruma<create_alias::v3::Request>,
) -> Result<create_alias::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    state.limits.check_user(Kind::Message, actor.user)?;
    let body = request.body;
    let rooms = &state.rooms;
    let service = request.sender.service();
    if service.is_some_and(|service| !service.covers_alias(&body.room_alias)) {
        return Err(ApiError::exclusive());
    }
    let created = rooms.create_alias(&actor, &body.room_alias, &body.room_id);
    match created.await {
        Ok(()) => Ok(create_alias::v3::Response::new()),
        // Here a taken alias is a conflict; where a room is made it is a bad request.
        Err(error @ Error::AliasTaken) => {
            let (status, code) = (StatusCode::CONFLICT, ErrorCode::Unknown);
            Err(ApiError::new(status, code, error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`.
async fn resolve(
    State(state): State<AppState>,
    request: Ruma<get_alias::v3::Request>,
) -> Result<get_alias::v3::Response, ApiError> {
    let alias = &request.body.room_alias;
    let room_id = state.bridges.resolve_alias(alias).await?;
    let servers = vec![state.rooms.server_name().to_owned()];
    Ok(get_alias::v3::Response::new(room_id, servers))
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}`.
async fn delete(
    State(rooms): State<Rooms>,
    request: Ruma<delete_alias::v3::Request>,
) -> Result<delete_alias::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let alias = &request.body.room_alias;
    rooms.delete_alias(&actor, alias).await?;
    Ok(delete_alias::v3::Response::new())
}

/// `GET /_matrix/client/v3/rooms/{roomId}/aliases`.
async fn list_aliases(
    State(rooms): State<Rooms>,
    request: Ruma<aliases::v3::Request>,
) -> Result<aliases::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let aliases = rooms.aliases(&actor, &request.body.room_id).await?;
    Ok(aliases::v3::Response::new(aliases))
}

/// `GET /_matrix/client/v3/publicRooms`, which needs no access token in the specification. With
/// Tchap's rules it does: the list is not for people without an account.
async fn list_published(
    State(state): State<AppState>,
    request: Ruma<get_public_rooms::v3::Request>,
) -> Result<get_public_rooms::v3::Response, ApiError> {
    let address = request.client.address;
    state.limits.check_address(Kind::DirectorySearch, address)?;
    let requester = match request.client.access_token() {
        Some(token) => Some(auth::of_token(&state, token, request.client.query()).await?),
        None => None,
    };
    if let Some(requester) = &requester {
        state.accounts.may_proceed(requester, Reach::Private)?;
        let user = requester.user();
        state.limits.check_user(Kind::DirectorySearchDaily, user)?;
    }
    if !state.accounts.may_list_rooms(requester.as_deref()) {
        return match requester {
            Some(_) => Ok(get_public_rooms::v3::Response::new(Vec::new())),
            None => Err(ApiError::missing_token()),
        };
    }
    let body = request.body;
    require_own(&state.rooms, body.server.as_deref())?;
    let query = DirectoryQuery {
        since: body.since,
        limit: body.limit.map(u64::from),
        ..DirectoryQuery::default()
    };
    let page = state.rooms.published_rooms(&query).await?;
    let mut response = get_public_rooms::v3::Response::new(chunks(&page));
    response.total_room_count_estimate = UInt::try_from(page.total).ok();
    response.next_batch = page.next_batch;
    response.prev_batch = page.prev_batch;
    Ok(response)
}

/// `POST /_matrix/client/v3/publicRooms`.
async fn search_published(
    State(state): State<AppState>,
    request: Ruma<get_public_rooms_filtered::v3::Request>,
) -> Result<get_public_rooms_filtered::v3::Response, ApiError> {
    let user = request.sender.user();
    state.limits.check_user(Kind::DirectorySearch, user)?;
    state.limits.check_user(Kind::DirectorySearchDaily, user)?;
    if !state.accounts.may_list_rooms(Some(&request.sender)) {
        return Ok(get_public_rooms_filtered::v3::Response::new());
    }
    let body = request.body;
    require_own(&state.rooms, body.server.as_deref())?;
    let types = body.filter.room_types.iter();
    let query = DirectoryQuery {
        search: body.filter.generic_search_term,
        room_types: types
            .map(|name| name.as_str().unwrap_or_default().to_owned())
            .collect(),
        since: body.since,
        limit: body.limit.map(u64::from),
    };
    let page = match body.room_network {
        RoomNetwork::Matrix => state.rooms.published_rooms(&query).await?,
        RoomNetwork::ThirdParty(instance) => {
            // As the instances of networks are named: by service and network.
            let (service, network) = match instance.split_once('|') {
                Some((service, network)) => (Some(service), network),
                None => (None, &*instance),
            };
            let rooms = &state.rooms;
            rooms
                .rooms_of_network(service, Some(network), &query)
                .await?
        }
        _ => state.rooms.rooms_of_network(None, None, &query).await?,
    };
    let mut response = get_public_rooms_filtered::v3::Response::new();
    response.chunk = chunks(&page);
    response.total_room_count_estimate = UInt::try_from(page.total).ok();
    response.next_batch = page.next_batch;
    response.prev_batch = page.prev_batch;
    Ok(response)
}

/// `GET /_matrix/client/v3/directory/list/room/{roomId}`.
async fn get_visibility(
    State(rooms): State<Rooms>,
    request: Ruma<get_room_visibility::v3::Request>,
) -> Result<get_room_visibility::v3::Response, ApiError> {
    let visibility = if rooms.is_published(&request.body.room_id).await? {
        Visibility::Public
    } else {
        Visibility::Private
    };
    Ok(get_room_visibility::v3::Response::new(visibility))
}

/// `PUT /_matrix/client/v3/directory/list/room/{roomId}`.
async fn set_visibility(
    State(rooms): State<Rooms>,
    request: Ruma<set_room_visibility::v3::Request>,
) -> Result<set_room_visibility::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let published = match body.visibility {
        Visibility::Public => true,
        Visibility::Private => false,
        _ => return Err(ApiError::invalid_param("There is no such visibility")),
    };
    rooms
        .set_published(&actor, &body.room_id, published)
        .await?;
    Ok(set_room_visibility::v3::Response::new())
}

/// The directories of other servers cannot be reached.
fn require_own(rooms: &Rooms, server: Option<&ruma::ServerName>) -> Result<(), ApiError> {
    match server {
        Some(server) if server != rooms.server_name() => Err(Error::Unreachable.into()),
        _ => Ok(()),
    }
}

fn chunks(page: &DirectoryPage) -> Vec<PublicRoomsChunk> {
    page.rooms.iter().map(chunk).collect()
}

fn chunk(room: &PublishedRoom) -> PublicRoomsChunk {
    let summary = &room.summary;
    let mut chunk = PublicRoomsChunk::from(PublicRoomsChunkInit {
        num_joined_members: UInt::try_from(summary.joined_count).unwrap_or_default(),
        room_id: room.room_id.clone(),
        world_readable: summary.world_readable,
        guest_can_join: summary.guest_can_join,
    });
    let alias = summary.canonical_alias.as_deref();
    chunk.canonical_alias = alias.and_then(|alias| RoomAliasId::parse(alias).ok());
    chunk.name.clone_from(&summary.name);
    chunk.topic.clone_from(&summary.topic);
    chunk.avatar_url = summary.avatar_url.as_deref().map(OwnedMxcUri::from);
    // A room without a join rule is one for invited users.
    let join_rule = summary.join_rule.as_deref().map(JoinRuleKind::from);
    chunk.join_rule = join_rule.unwrap_or(JoinRuleKind::Invite);
    chunk.room_type = summary.room_type.as_deref().map(RoomType::from);
    chunk
}
