//! `/user/{userId}/filter`.
//!
//! Specification v1.19, client-server API, "Filtering".

use axum::{Router, extract::State, response::Response};
use ruma::api::client::filter::{create_filter, get_filter};

use super::{
    raw::{self, require_self},
    said::Said,
};
use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, Rooms, filter::RelationFilters},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint(create).endpoint_raw(&[], get)
}

/// `POST /_matrix/client/v3/user/{userId}/filter`.
async fn create(
    State(rooms): State<Rooms>,
    request: Ruma<Said<create_filter::v3::Request, RelationFilters>>,
) -> Result<create_filter::v3::Response, ApiError> {
    let Said { body, said } = request.body;
    require_self(&request.sender, &body.user_id)?;
    let actor = Actor::from(&*request.sender);
    let filter_id = rooms.create_filter(&actor, &body.filter, &said).await?;
    Ok(create_filter::v3::Response::new(filter_id))
}

/// `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`.
async fn get(
    State(rooms): State<Rooms>,
    request: Ruma<get_filter::v3::Request>,
) -> Result<Response, ApiError> {
    let body = request.body;
    require_self(&request.sender, &body.user_id)?;
    let actor = Actor::from(&*request.sender);
    Ok(raw::json(rooms.filter(&actor, &body.filter_id).await?))
}
