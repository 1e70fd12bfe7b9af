//! `/room_keys`: backups of room keys.
//!
//! Specification v1.19, client-server API, "Server-side key backups".

use std::collections::BTreeMap;

use axum::{Router, extract::State, response::Response};
use ruma::{
    api::client::backup::{
        BackupAlgorithm, KeyBackupData, add_backup_keys, add_backup_keys_for_room,
        add_backup_keys_for_session, create_backup_version, delete_backup_keys,
        delete_backup_keys_for_room, delete_backup_keys_for_session, delete_backup_version,
        get_backup_info, get_backup_keys, get_backup_keys_for_room, get_backup_keys_for_session,
        get_latest_backup_info, update_backup_version,
    },
    serde::Raw,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{keys::number, raw};
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    keys::{BackupKeys, BackupState, Keys, NewBackup},
    rooms::Actor,
    store::key_backup::{Backup, Selection},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(create)
        .endpoint_raw(&[], get_latest)
        .endpoint_raw(&[], get)
        .endpoint(update)
        .endpoint(delete)
        .endpoint(put_all)
        .endpoint(put_of_room)
        .endpoint(put_one)
        .endpoint_raw(&[], get_all)
        .endpoint_raw(&[], get_of_room)
        .endpoint_raw(&[], get_one)
        .endpoint(delete_all)
        .endpoint(delete_of_room)
        .endpoint(delete_one)
}

/// `POST /_matrix/client/v3/room_keys/version`.
async fn create(
    State(keys): State<Keys>,
    request: Ruma<create_backup_version::v3::Request>,
) -> Result<create_backup_version::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let new = parse(&request.body.algorithm)?;
    let version = keys.create_backup(&actor, &new).await?;
    Ok(create_backup_version::v3::Response::new(version))
}

fn parse(body: &Raw<BackupAlgorithm>) -> Result<NewBackup, ApiError> {
    let new = serde_json::from_str(body.json().get());
    new.map_err(|error| ApiError::bad_json(format!("Bad JSON: {error}")))
}

/// `GET /_matrix/client/v3/room_keys/version`.
async fn get_latest(
    State(keys): State<Keys>,
    request: Ruma<get_latest_backup_info::v3::Request>,
) -> Result<Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let backup = keys.backup(&actor, None).await?;
    Ok(raw::json(describe(&backup)))
}

/// `GET /_matrix/client/v3/room_keys/version/{version}`.
async fn get(
    State(keys): State<Keys>,
    request: Ruma<get_backup_info::v3::Request>,
) -> Result<Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let backup = keys.backup(&actor, Some(&request.body.version)).await?;
    Ok(raw::json(describe(&backup)))
}

fn describe(backup: &Backup) -> String {
    let auth_data: Option<&RawValue> = serde_json::from_str(&backup.auth_data).ok();
    let document = json!({
        "algorithm": backup.algorithm,
        "auth_data": auth_data,
        "count": backup.count,
        "etag": backup.etag.to_string(),
        "version": backup.version.to_string(),
    });
    document.to_string()
}

/// `PUT /_matrix/client/v3/room_keys/version/{version}`.
async fn update(
    State(keys): State<Keys>,
    request: Ruma<update_backup_version::v3::Request>,
) -> Result<update_backup_version::v3::Response, ApiError> {
    #[derive(Deserialize)]
    struct Inner {
        version: Option<String>,
    }
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let new = parse(&body.algorithm)?;
    let inner = serde_json::from_str::<Inner>(body.algorithm.json().get());
    let inner = inner.map_err(|_| ApiError::bad_json("The version is a string"))?;
    keys.update_backup(&actor, &body.version, &new, inner.version.as_deref())
        .await?;
    Ok(update_backup_version::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/room_keys/version/{version}`.
async fn delete(
    State(keys): State<Keys>,
    request: Ruma<delete_backup_version::v3::Request>,
) -> Result<delete_backup_version::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    keys.delete_backup(&actor, &request.body.version).await?;
    Ok(delete_backup_version::v3::Response::new())
}

fn sessions(sessions: BTreeMap<String, Raw<KeyBackupData>>) -> BTreeMap<String, Box<RawValue>> {
    sessions
        .into_iter()
        .map(|(session_id, key)| (session_id, key.into_json()))
        .collect()
}

/// `PUT /_matrix/client/v3/room_keys/keys`.
async fn put_all(
    State(keys): State<Keys>,
    request: Ruma<add_backup_keys::v3::Request>,
) -> Result<add_backup_keys::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let rooms = body.rooms.into_iter();
    let rooms: BackupKeys = rooms
        .map(|(room_id, room)| (room_id.to_string(), sessions(room.sessions)))
        .collect();
    let BackupState { count, etag } = keys.back_up(&actor, &body.version, &rooms).await?;
    Ok(add_backup_keys::v3::Response::new(etag, number(count)))
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}`.
async fn put_of_room(
    State(keys): State<Keys>,
    request: Ruma<add_backup_keys_for_room::v3::Request>,
) -> Result<add_backup_keys_for_room::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let rooms = BackupKeys::from([(body.room_id.to_string(), sessions(body.sessions))]);
    let BackupState { count, etag } = keys.back_up(&actor, &body.version, &rooms).await?;
    let count = number(count);
    Ok(add_backup_keys_for_room::v3::Response::new(etag, count))
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`.
async fn put_one(
    State(keys): State<Keys>,
    request: Ruma<add_backup_keys_for_session::v3::Request>,
) -> Result<add_backup_keys_for_session::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let session = BTreeMap::from([(body.session_id, body.session_data.into_json())]);
    let rooms = BackupKeys::from([(body.room_id.to_string(), session)]);
    let BackupState { count, etag } = keys.back_up(&actor, &body.version, &rooms).await?;
    let count = number(count);
    Ok(add_backup_keys_for_session::v3::Response::new(etag, count))
}

/// `GET /_matrix/client/v3/room_keys/keys`.
async fn get_all(
    State(keys): State<Keys>,
    request: Ruma<get_backup_keys::v3::Request>,
) -> Result<Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let text = keys.backed_up(&actor, &request.body.version, None).await?;
    Ok(raw::json(text))
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}`.
async fn get_of_room(
    State(keys): State<Keys>,
    request: Ruma<get_backup_keys_for_room::v3::Request>,
) -> Result<Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let room_id = Some(body.room_id.as_str());
    let text = keys.backed_up(&actor, &body.version, room_id).await?;
    Ok(raw::json(text))
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`.
async fn get_one(
    State(keys): State<Keys>,
    request: Ruma<get_backup_keys_for_session::v3::Request>,
) -> Result<Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let (room_id, session_id) = (body.room_id.as_str(), &body.session_id);
    let text = keys
        .backed_up_session(&actor, &body.version, room_id, session_id)
        .await?;
    Ok(raw::json(text))
}

/// `DELETE /_matrix/client/v3/room_keys/keys`.
async fn delete_all(
    State(keys): State<Keys>,
    request: Ruma<delete_backup_keys::v3::Request>,
) -> Result<delete_backup_keys::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let version = &request.body.version;
    let which = Selection::default();
    let BackupState { count, etag } = keys.delete_backed_up(&actor, version, which).await?;
    Ok(delete_backup_keys::v3::Response::new(etag, number(count)))
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}`.
async fn delete_of_room(
    State(keys): State<Keys>,
    request: Ruma<delete_backup_keys_for_room::v3::Request>,
) -> Result<delete_backup_keys_for_room::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let which = Selection {
        room_id: Some(body.room_id.as_str()),
        session_id: None,
    };
    let BackupState { count, etag } = keys.delete_backed_up(&actor, &body.version, which).await?;
    let count = number(count);
    Ok(delete_backup_keys_for_room::v3::Response::new(etag, count))
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`.
async fn delete_one(
    State(keys): State<Keys>,
    request: Ruma<delete_backup_keys_for_session::v3::Request>,
) -> Result<delete_backup_keys_for_session::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let which = Selection {
        room_id: Some(body.room_id.as_str()),
        session_id: Some(&body.session_id),
    };
    let BackupState { count, etag } = keys.delete_backed_up(&actor, &body.version, which).await?;
    let count = number(count);
    Ok(delete_backup_keys_for_session::v3::Response::new(
        etag, count,
    ))
}
