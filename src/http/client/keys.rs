//! `/keys`: the keys of devices and users.
//!
//! Specification v1.19, client-server API, "Key management API" and "Cross-signing".

use std::collections::BTreeMap;

use axum::{Router, extract::State};
use ruma::{
    OneTimeKeyAlgorithm, OwnedOneTimeKeyId, OwnedServerName, OwnedUserId, UInt,
    api::client::keys::{
        claim_keys, get_key_changes, get_keys, upload_keys, upload_signatures, upload_signing_keys,
    },
    encryption::OneTimeKey,
    serde::Raw,
};
use serde_json::{Value, json, value::RawValue};

use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    keys::{CrossSigningUpload, Error, KeyCounts, Keys, Upload},
    rooms::Actor,
    store::{StoreError, device_keys::SessionKey},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(upload)
        .endpoint(query)
        .endpoint(claim)
        .endpoint(changes)
        .endpoint(upload_cross_signing)
        .endpoint(sign)
}

/// Keys as they were sent, by their ids.
pub(super) fn session_keys(
    keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
) -> Vec<(String, String)> {
    keys.into_iter()
        .map(|(id, key)| (id.to_string(), key.json().get().to_owned()))
        .collect()
}

/// `POST /_matrix/client/v3/keys/upload`.
async fn upload(
    State(keys): State<Keys>,
    request: Ruma<upload_keys::v3::Request>,
) -> Result<upload_keys::v3::Response, ApiError> {
    let body = request.body;
    let actor = Actor::from(&*request.sender);
    let device_id = request.sender.device_id();
    let device_id = device_id.ok_or_else(|| ApiError::forbidden("Only devices have keys"))?;
    let upload = Upload {
        device_keys: body.device_keys.map(|keys| keys.json().get().to_owned()),
        one_time_keys: session_keys(body.one_time_keys),
        fallback_keys: session_keys(body.fallback_keys),
    };
    let counts = keys.upload(&actor, device_id.as_str(), upload).await?;
    Ok(upload_keys::v3::Response::new(format_counts(counts)))
}

fn format_counts(counts: KeyCounts) -> BTreeMap<OneTimeKeyAlgorithm, UInt> {
    let counts = counts.one_time.into_iter();
    counts
        .map(|(algorithm, count)| (algorithm.into(), number(count)))
        .collect()
}

/// A count.
pub(super) fn number(count: i64) -> UInt {
    UInt::try_from(count).unwrap_or_default()
}

/// `POST /_matrix/client/v3/keys/query`.
async fn query(
    State(keys): State<Keys>,
    request: Ruma<get_keys::v3::Request>,
) -> Result<get_keys::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let wanted = request.body.device_keys.into_iter();
    let wanted: BTreeMap<OwnedUserId, Vec<String>> = wanted
        .map(|(user_id, devices)| {
            let devices = devices.iter().map(ToString::to_string);
            (user_id, devices.collect())
        })
        .collect();
    let found = keys.query(&actor, &wanted).await?;
    let mut response = get_keys::v3::Response::new();
    response.failures = failures(&keys, wanted.keys());
    for (user_id, devices) in found.device_keys {
        let devices = devices
            .into_iter()
            .map(|(device_id, json)| (device_id.into(), Raw::from_json(json)));
        response.device_keys.insert(user_id, devices.collect());
    }
    response.master_keys = raw(found.master_keys);
    response.self_signing_keys = raw(found.self_signing_keys);
    response.user_signing_keys = raw(found.user_signing_keys);
    Ok(response)
}

fn raw<T>(keys: BTreeMap<OwnedUserId, Box<RawValue>>) -> BTreeMap<OwnedUserId, Raw<T>> {
    keys.into_iter()
        .map(|(user_id, json)| (user_id, Raw::from_json(json)))
        .collect()
}

/// The servers that were not asked.
fn failures<'a>(
    keys: &Keys,
    user_ids: impl Iterator<Item = &'a OwnedUserId>,
) -> BTreeMap<String, Value> {
    let others = user_ids.filter(|user_id| !keys.is_local(user_id));
    let servers = others.map(|user_id| OwnedServerName::from(user_id.server_name()));
    servers
        .map(|server| (server.to_string(), json!({ "status": 503 })))
        .collect()
}

/// `POST /_matrix/client/v3/keys/claim`.
async fn claim(
    State(keys): State<Keys>,
    request: Ruma<claim_keys::v3::Request>,
) -> Result<claim_keys::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let wanted = request.body.one_time_keys.into_iter();
    let wanted: BTreeMap<OwnedUserId, BTreeMap<String, String>> = wanted
        .map(|(user_id, devices)| {
            let devices = devices
                .into_iter()
                .map(|(device_id, algorithm)| (device_id.to_string(), algorithm.to_string()));
            (user_id, devices.collect())
        })
        .collect();
    let claimed = keys.claim(&actor, &wanted).await?;
    let mut one_time_keys = BTreeMap::new();
    for (user_id, devices) in claimed {
        let of_user: &mut BTreeMap<_, _> = one_time_keys.entry(user_id).or_default();
        for (device_id, key) in devices {
            of_user.insert(device_id.into(), format_key(key)?);
        }
    }
    let mut response = claim_keys::v3::Response::new(one_time_keys);
    response.failures = failures(&keys, wanted.keys());
    Ok(response)
}

fn format_key(key: SessionKey) -> Result<BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>, ApiError> {
    let id = format!("{}:{}", key.algorithm, key.key_id);
    let broken = || StoreError::inconsistent("one_time_keys", "json", &id);
    let json = RawValue::from_string(key.json).map_err(|_| broken())?;
    let parsed = OwnedOneTimeKeyId::try_from(id.as_str()).map_err(|_| broken())?;
    Ok(BTreeMap::from([(parsed, Raw::from_json(json))]))
}

/// `GET /_matrix/client/v3/keys/changes`.
async fn changes(
    State(state): State<AppState>,
    request: Ruma<get_key_changes::v3::Request>,
) -> Result<get_key_changes::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let body = request.body;
    let lists = state
        .sync
        .device_list_changes(&actor, &body.from, &body.to)
        .await?;
    let (changed, left) = (lists.changed, lists.left);
    Ok(get_key_changes::v3::Response::new(changed, left))
}

/// `POST /_matrix/client/v3/keys/device_signing/upload`. New keys in the place of others, or beside
/// them, need the password.
async fn upload_cross_signing(
    State(state): State<AppState>,
    request: Ruma<upload_signing_keys::v3::Request>,
) -> Result<upload_signing_keys::v3::Response, ApiError> {
    let body = request.body;
    let actor = Actor::from(&*request.sender);
    let upload = CrossSigningUpload {
        master: body.master_key.map(|key| key.json().get().to_owned()),
        self_signing: body.self_signing_key.map(|key| key.json().get().to_owned()),
        user_signing: body.user_signing_key.map(|key| key.json().get().to_owned()),
    };
    let prepared = state.keys.prepare_cross_signing(&actor, &upload).await?;
    // v1.17: nobody is behind an application service who could prove anything.
    if prepared.needs_proof() && request.sender.service().is_none() {
        state
            .accounts
            .confirm(
                &request.sender,
                "upload cross-signing keys",
                prepared.public_keys(),
                body.auth.as_ref(),
                Some(request.client.address),
            )
            .await?;
    }
    state.keys.publish_cross_signing(&actor, &prepared).await?;
    Ok(upload_signing_keys::v3::Response::new())
}

/// `POST /_matrix/client/v3/keys/signatures/upload`.
async fn sign(
    State(keys): State<Keys>,
    request: Ruma<upload_signatures::v3::Request>,
) -> Result<upload_signatures::v3::Response, ApiError> {
    let actor = Actor::from(&*request.sender);
    let signed = request.body.signed_keys.into_iter();
    let signed = signed
        .map(|(user_id, keys)| {
            let keys = keys
                .iter()
                .map(|(id, key)| (id.to_owned(), key.get().to_owned()));
            (user_id, keys.collect())
        })
        .collect();
    let failed = keys.add_signatures(&actor, signed).await?;
    let mut response = upload_signatures::v3::Response::new();
    for (user_id, keys) in failed {
        let of_user = response.failures.entry(user_id).or_default();
        for (id, error) in keys {
            of_user.insert(id, failure(&error)?);
        }
    }
    Ok(response)
}

fn failure(error: &Error) -> Result<upload_signatures::v3::Failure, ApiError> {
    let errcode = match error {
        Error::Signature(_) => "M_INVALID_SIGNATURE",
        Error::NotFound(_) => "M_NOT_FOUND",
        Error::BadJson(_) => "M_BAD_JSON",
        Error::TooLarge(_) => "M_TOO_LARGE",
        _ => "M_INVALID_PARAM",
    };
    let failure = json!({ "errcode": errcode, "error": error.to_string() });
    serde_json::from_value(failure).map_err(|error| ApiError::internal(&error))
}
