//! Which server an e-mail address belongs to (tchap.md 2.1): `info` for clients, `internal-info`
//! for other servers.

use std::net::IpAddr;

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::get,
};
use http::Uri;
use serde_json::{Value, json};

use super::request::Parameters;
use crate::{
    http::{ApiError, AppState, Kind, peer::ClientAddress},
    policy::AddressInfo,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/_matrix/identity/api/v1/info", get(info))
}

/// It tells who is invited, and so is served in a closed network only.
pub(super) fn internal_routes() -> Router<AppState> {
    Router::new().route("/_matrix/identity/api/v1/internal-info", get(internal_info))
}

/// `GET /_matrix/identity/api/v1/info`, asked by clients before anybody is logged in.
async fn info(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    let parameters = Parameters::of_query(request.uri());
    let client = ClientAddress::of(request.extensions());
    state.limits.check_address(Kind::AddressLookup, client)?;
    let info = find(&state, &parameters, Some(client)).await?;
    Ok(Json(
        info.map_or_else(|| json!({}), |info| json!(info.public())),
    ))
}

/// `GET /_matrix/identity/api/v1/internal-info`, asked by the servers of the same deployment.
async fn internal_info(State(state): State<AppState>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let parameters = Parameters::of_query(&uri);
    let info = find(&state, &parameters, None).await?;
    Ok(Json(
        info.map_or_else(|| json!({}), |info| json!(info.internal())),
    ))
}

/// `None`: the medium is not e-mail, and nothing is known of it (LK-10).
async fn find(
    state: &AppState,
    parameters: &Parameters,
    client: Option<IpAddr>,
) -> Result<Option<AddressInfo>, ApiError> {
    let field = |name: &str| {
        let missing = || ApiError::missing_param(format!("Missing parameter: {name}"));
        parameters.optional(name)?.ok_or_else(missing)
    };
    let (medium, address) = (field("medium")?, field("address")?);
    if medium != "email" {
        return Ok(None);
    }
    Ok(Some(state.identity.info(address, client).await?))
}
