//! The identity service: which server an e-mail address belongs to (tchap.md 2.1).

use axum::{
    Json, Router,
    extract::{Query, Request, State},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AppState, Kind, error::ApiError, peer::ClientAddress};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/_matrix/identity/api/v1/info", get(info))
}

#[derive(Deserialize)]
struct Parameters {
    medium: Option<String>,
    address: Option<String>,
}

/// `GET /_matrix/identity/api/v1/info`, asked by clients before anybody is logged in.
async fn info(
    State(state): State<AppState>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let client = ClientAddress::of(request.extensions());
    state.limits.check_address(Kind::AddressLookup, client)?;
    let medium = parameters.medium;
    let medium = medium.ok_or_else(|| ApiError::missing_param("Missing parameter: medium"))?;
    let address = parameters.address;
    let address = address.ok_or_else(|| ApiError::missing_param("Missing parameter: address"))?;
    // LK-10.
    if medium != "email" {
        return Ok(Json(json!({})));
    }
    let info = state.accounts.address_info(&address, Some(client)).await?;
    Ok(Json(json!(info.public())))
}
