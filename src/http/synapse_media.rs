//! The calls of Synapse's admin API on media that tools use: withdraw, protect, list and delete.
//!
//! Fields that this server has no use for are ignored.

use std::collections::HashMap;

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    routing::{get, post},
};
use http::Uri;
use ruma::RoomId;
use serde_json::{Map, Value, json};

use super::{
    AppState,
    error::ApiError,
    plain::{Plain, UserIdOfPath},
};
use crate::{
    accounts::Requester,
    audit::{Actor, Entry, action},
    store::{UserNid, media::Media as Row, media_admin::Page},
};

/// How many media a page has at most.
const MOST: i64 = 1_000;
/// What deletions leave alone that are larger than nothing and not told otherwise, by their time: a
/// moment before this, in milliseconds, was not meant (Synapse does the same).
const EARLIEST_MS: i64 = 30 * 365 * 24 * 60 * 60 * 1000;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    let v1 = "/_synapse/admin/v1";
    Router::new()
        .route(
            &format!("{v1}/media/quarantine/{{server_name}}/{{media_id}}"),
            post(quarantine),
        )
        .route(
            &format!("{v1}/media/unquarantine/{{server_name}}/{{media_id}}"),
            post(unquarantine),
        )
        .route(&format!("{v1}/media/protect/{{media_id}}"), post(protect))
        .route(
            &format!("{v1}/media/unprotect/{{media_id}}"),
            post(unprotect),
        )
        .route(
            &format!("{v1}/media/{{server_name}}/{{media_id}}"),
            get(view).delete(delete),
        )
        .route(&format!("{v1}/media/delete"), post(delete_unused))
        .route(&format!("{v1}/room/{{room_id}}/media"), get(list_of_room))
        .route(
            &format!("{v1}/room/{{room_id}}/media/quarantine"),
            post(quarantine_room),
        )
        .route(
            &format!("{v1}/user/{{user_id}}/media/quarantine"),
            post(quarantine_user),
        )
        .route(
            &format!("{v1}/users/{{user_id}}/media"),
            get(list_of_user).delete(delete_of_user),
        )
}

type Named = Path<HashMap<String, String>>;

/// The id of a path, if the media are of this server.
fn own_media(state: &AppState, path: &HashMap<String, String>) -> Result<String, ApiError> {
    let part = |name: &str| path.get(name).map(String::as_str);
    let server_name = part("server_name").unwrap_or(state.media.server_name().as_str());
    let media_id = part("media_id").unwrap_or_default();
    if server_name != state.media.server_name() || media_id.contains('\0') {
        return Err(ApiError::not_found("Media not found"));
    }
    Ok(media_id.to_owned())
}

/// Writes down what an administrator did with media.
fn note(state: &AppState, by: &Requester, action: &'static str, object: String, count: u64) {
    let mut details = Map::new();
    details.insert("count".to_owned(), count.into());
    state.audit.record(Entry {
        action,
        actor: Actor::User(by.user_id().to_owned()),
        object: Some(object),
        details,
        ..Entry::default()
    });
}

/// `POST /_synapse/admin/v1/media/quarantine/{server_name}/{media_id}`.
async fn quarantine(
    State(state): State<AppState>,
    Path(path): Named,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let media_id = own_media(&state, &path)?;
    state.media.view(&media_id).await?;
    let by = request.sender.user_id().as_str();
    let count = state
        .media
        .quarantine(std::slice::from_ref(&media_id), by)
        .await?;
    let uri = state.media.uri(&media_id);
    note(
        &state,
        &request.sender,
        action::MEDIA_QUARANTINED,
        uri,
        count,
    );
    Ok(Json(json!({})))
}

/// `POST /_synapse/admin/v1/media/unquarantine/{server_name}/{media_id}`.
async fn unquarantine(
    State(state): State<AppState>,
    Path(path): Named,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let media_id = own_media(&state, &path)?;
    state.media.view(&media_id).await?;
    let count = state
        .media
        .unquarantine(std::slice::from_ref(&media_id))
        .await?;
    let uri = state.media.uri(&media_id);
    note(&state, &request.sender, action::MEDIA_RELEASED, uri, count);
    Ok(Json(json!({})))
}

/// `POST /_synapse/admin/v1/media/protect/{media_id}`.
async fn protect(
    State(state): State<AppState>,
    Path(path): Named,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    Plain::read_of_admin(&state, request).await?;
    state
        .media
        .protect(&own_media(&state, &path)?, true)
        .await?;
    Ok(Json(json!({})))
}

/// `POST /_synapse/admin/v1/media/unprotect/{media_id}`.
async fn unprotect(
    State(state): State<AppState>,
    Path(path): Named,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    Plain::read_of_admin(&state, request).await?;
    state
        .media
        .protect(&own_media(&state, &path)?, false)
        .await?;
    Ok(Json(json!({})))
}

fn shown(media: &Row) -> Value {
    let file = media.file.as_ref();
    json!({
        "media_id": media.media_id,
        "media_type": media.content_type,
        "media_length": file.map(|file| file.size),
        "upload_name": media.file_name,
        "created_ts": media.created_ms,
        "last_access_ts": media.used_ms,
        "quarantined_by": file.and_then(|file| file.quarantined_by.as_deref()),
        "safe_from_quarantine": media.is_protected,
    })
}

/// `GET /_synapse/admin/v1/media/{server_name}/{media_id}`.
async fn view(
    State(state): State<AppState>,
    Path(path): Named,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    Plain::read_of_admin(&state, request).await?;
    let media = state.media.view(&own_media(&state, &path)?).await?;
    Ok(Json(json!({ "media_info": shown(&media) })))
}

/// `DELETE /_synapse/admin/v1/media/{server_name}/{media_id}`.
async fn delete(
    State(state): State<AppState>,
    Path(path): Named,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let media_id = own_media(&state, &path)?;
    let deleted = state.media.delete(&[&media_id]).await?;
    if deleted.is_empty() {
        return Err(ApiError::not_found("Media not found"));
    }
    Ok(answer_deleted(
        &state,
        &request.sender,
        state.media.uri(&media_id),
        &deleted,
    ))
}

fn answer_deleted(
    state: &AppState,
    by: &Requester,
    object: String,
    deleted: &[String],
) -> Json<Value> {
    let count = u64::try_from(deleted.len()).unwrap_or(u64::MAX);
    note(state, by, action::MEDIA_DELETED, object, count);
    Json(json!({ "deleted_media": deleted, "total": deleted.len() }))
}

/// `POST /_synapse/admin/v1/media/delete?before_ts=…`.
async fn delete_unused(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let uri = request.uri().clone();
    let request = Plain::read_of_admin(&state, request).await?;
    let before_ms = number(&uri, "before_ts")?
        .ok_or_else(|| ApiError::missing_param("Missing parameter: before_ts"))?;
    if before_ms < EARLIEST_MS {
        return Err(ApiError::invalid_param("before_ts is not in milliseconds"));
    }
    let size = number(&uri, "size_gt")?.unwrap_or(-1);
    let keeps = query(&uri, "keep_profiles").is_none_or(|keeps| keeps != "false");
    let media = &state.media;
    let deleted = media.delete_unused_before(before_ms, size, keeps).await?;
    let object = format!("before {before_ms}");
    Ok(answer_deleted(&state, &request.sender, object, &deleted))
}

/// `GET /_synapse/admin/v1/room/{room_id}/media`.
async fn list_of_room(
    State(state): State<AppState>,
    Path(path): Named,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    Plain::read_of_admin(&state, request).await?;
    let ids = media_of_room(&state, &path).await?;
    let local: Vec<String> = ids.iter().map(|id| state.media.uri(id)).collect();
    Ok(Json(json!({ "local": local, "remote": [] })))
}

async fn media_of_room(
    state: &AppState,
    path: &HashMap<String, String>,
) -> Result<Vec<String>, ApiError> {
    let room_id = path.get("room_id").map(String::as_str).unwrap_or_default();
    let room_id = RoomId::parse(room_id).map_err(|_| ApiError::invalid_param("Not a room id"))?;
    Ok(state.media.list_of_room(&room_id).await?)
}

/// `POST /_synapse/admin/v1/room/{room_id}/media/quarantine`.
async fn quarantine_room(
    State(state): State<AppState>,
    Path(path): Named,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let ids = media_of_room(&state, &path).await?;
    let by = request.sender.user_id().as_str();
    let count = state.media.quarantine(&ids, by).await?;
    let room_id = path.get("room_id").cloned().unwrap_or_default();
    note(
        &state,
        &request.sender,
        action::MEDIA_QUARANTINED,
        room_id,
        count,
    );
    Ok(Json(json!({ "num_quarantined": count })))
}

/// `POST /_synapse/admin/v1/user/{user_id}/media/quarantine`.
async fn quarantine_user(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let (user_id, user) = known_user(&state, &request, &user_id).await?;
    let by = request.sender.user_id().as_str();
    let count = state.media.quarantine_of_user(user, by).await?;
    note(
        &state,
        &request.sender,
        action::MEDIA_QUARANTINED,
        user_id,
        count,
    );
    Ok(Json(json!({ "num_quarantined": count })))
}

async fn known_user(
    state: &AppState,
    request: &Plain,
    user_id: &UserIdOfPath,
) -> Result<(String, UserNid), ApiError> {
    let user_id = user_id.parse()?;
    let account = state
        .accounts
        .view_account(&request.sender, &user_id)
        .await?;
    Ok((user_id.to_string(), account.details.user))
}

/// `GET /_synapse/admin/v1/users/{user_id}/media`.
async fn list_of_user(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let uri = request.uri().clone();
    let request = Plain::read_of_admin(&state, request).await?;
    let (_, user) = known_user(&state, &request, &user_id).await?;
    let (list, usage) = state.media.list(user, &page(&uri)?).await?;
    let media: Vec<Value> = list.iter().map(shown).collect();
    let mut body = json!({ "media": media, "total": usage.files });
    if let Some(last) = list
        .last()
        .filter(|_| usage.files > i64::try_from(list.len()).unwrap_or(0))
    {
        body["next_token"] = json!(format!("{}_{}", last.created_ms, last.media_id));
    }
    Ok(Json(body))
}

/// `DELETE /_synapse/admin/v1/users/{user_id}/media`: a page of them.
async fn delete_of_user(
    State(state): State<AppState>,
    user_id: UserIdOfPath,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let uri = request.uri().clone();
    let request = Plain::read_of_admin(&state, request).await?;
    let (user_id, user) = known_user(&state, &request, &user_id).await?;
    let (list, _) = state.media.list(user, &page(&uri)?).await?;
    let ids: Vec<&str> = list.iter().map(|media| media.media_id.as_str()).collect();
    let deleted = state.media.delete(&ids).await?;
    Ok(answer_deleted(&state, &request.sender, user_id, &deleted))
}

/// A page, newest first; `from` is the `next_token` of the one before.
fn page(uri: &Uri) -> Result<Page, ApiError> {
    let limit = number(uri, "limit")?.unwrap_or(100).clamp(1, MOST);
    let from = match query(uri, "from") {
        None => None,
        Some(from) => {
            let wrong = || ApiError::invalid_param("from is no token");
            let (time, id) = from.split_once('_').ok_or_else(wrong)?;
            Some((
                time.parse::<i64>().map_err(|_| wrong())?,
                id.replace('\0', ""),
            ))
        }
    };
    let (before_ms, before_id) = from.unwrap_or((i64::MAX, String::new()));
    Ok(Page {
        before_ms,
        before_id,
        limit,
    })
}

fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut found = pairs.filter(|(key, _)| key == name);
    found.next().map(|(_, value)| value.into_owned())
}

fn number(uri: &Uri, name: &'static str) -> Result<Option<i64>, ApiError> {
    let wrong = |_| ApiError::invalid_param(format!("{name} is not a number"));
    query(uri, name)
        .map(|text| text.parse().map_err(wrong))
        .transpose()
}
