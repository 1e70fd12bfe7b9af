//! What application services alone may ask for.
//!
//! Specification v1.19, application service API, "Client-Server API Extensions".

use axum::{Router, extract::State};
use http::StatusCode;
use ruma::api::{
    client::{
        appservice::{request_ping, set_room_visibility},
        room::Visibility,
    },
    error::ErrorCode,
};

use crate::{
    bridges::PingError,
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::Actor,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint(ping).endpoint(set_visibility)
}

/// `POST /_matrix/client/v1/appservice/{appserviceId}/ping`.
async fn ping(
    State(state): State<AppState>,
    request: Ruma<request_ping::v1::Request>,
) -> Result<request_ping::v1::Response, ApiError> {
    let service = request.sender.service();
    let service = service.filter(|service| service.id() == request.body.appservice_id);
    let service = service
        .ok_or_else(|| ApiError::forbidden("This is not the token of that application service"))?;
    let transaction_id = request.body.transaction_id.as_deref();
    let transaction_id = transaction_id.map(ruma::TransactionId::as_str);
    let took = state.bridges.ping(service, transaction_id).await?;
    Ok(request_ping::v1::Response::new(took))
}

impl From<PingError> for ApiError {
    fn from(error: PingError) -> Self {
        const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
        let message = error.to_string();
        match error {
            PingError::NoUrl => Self::new(StatusCode::BAD_REQUEST, ErrorCode::UrlNotSet, message),
            PingError::BadStatus { status, body } => {
                Self::new(BAD_GATEWAY, ErrorCode::BadStatus, message)
                    .with("status", status)
                    .with("body", body)
            }
            PingError::Timeout => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                ErrorCode::ConnectionTimeout,
                message,
            ),
            PingError::Unreachable(_) => {
                Self::new(BAD_GATEWAY, ErrorCode::ConnectionFailed, message)
            }
        }
    }
}

/// `PUT /_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}`.
async fn set_visibility(
    State(state): State<AppState>,
    request: Ruma<set_room_visibility::v3::Request>,
) -> Result<set_room_visibility::v3::Response, ApiError> {
    let body = request.body;
    let Some(service) = request.sender.service() else {
        return Err(ApiError::forbidden("This is for application services"));
    };
    let is_published = match body.visibility {
        Visibility::Public => true,
        Visibility::Private => false,
        _ => return Err(ApiError::invalid_param("There is no such visibility")),
    };
    if body.network_id.contains('\0') || body.network_id.len() > 255 {
        return Err(ApiError::invalid_param("There is no such network"));
    }
    let actor = Actor::from(&*request.sender);
    state
        .rooms
        .set_published_for(
            &actor,
            service,
            &body.network_id,
            &body.room_id,
            is_published,
        )
        .await?;
    Ok(set_room_visibility::v3::Response::new())
}
