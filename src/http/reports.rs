//! The reports of users, for administrators: as Synapse's admin API has those of events, which its
//! tools know, and all of them.

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    routing::{delete, get},
};
use serde_json::{Map, Value, json};

use super::{AppState, error::ApiError, plain::Plain};
use crate::store::reports::{Report, ReportPage};

/// The reports on a page where nobody says.
const PAGE: i64 = 100;
/// The most reports on a page.
const MAX_PAGE: i64 = 1_000;

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/_synapse/admin/v1/event_reports", get(of_events))
        .route("/_chappe/admin/v1/reports", get(all))
        .route("/_chappe/admin/v1/reports/{number}", delete(forget))
}

/// `GET /_synapse/admin/v1/event_reports`: newest first; `from` is the number of the last report of
/// the page before.
async fn of_events(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    answer(&state, request, true, "event_reports").await
}

/// `GET /_chappe/admin/v1/reports`: the same, with those of rooms and users.
async fn all(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    answer(&state, request, false, "reports").await
}

async fn answer(
    state: &AppState,
    request: Request,
    events_only: bool,
    name: &str,
) -> Result<Json<Value>, ApiError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    Plain::read_of_admin(state, request).await?;
    let limit = number(&query, "limit")?.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let page = ReportPage {
        before: number(&query, "from")?.unwrap_or(i64::MAX),
        limit,
        events_only,
    };
    let (reports, total) = state.rooms.reports(page).await?;
    let last = reports.last().map(|report| report.number);
    let is_full = i64::try_from(reports.len()).is_ok_and(|count| count == limit);
    let shown: Vec<Value> = reports.iter().map(shown).collect();
    let mut answer = json!({ "total": total });
    answer[name] = shown.into();
    if let Some(last) = last.filter(|_| is_full) {
        answer["next_token"] = last.into();
    }
    Ok(Json(answer))
}

/// A whole number of a query that is not below 0.
pub(super) fn number(query: &str, name: &str) -> Result<Option<i64>, ApiError> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let value = pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()));
    let Some(value) = value else {
        return Ok(None);
    };
    let number = value.parse().ok().filter(|number| *number >= 0);
    let wrong = || ApiError::invalid_param(format!("{name} is not a number"));
    number.ok_or_else(wrong).map(Some)
}

fn shown(report: &Report) -> Value {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), report.number.into());
    shown.insert("received_ts".to_owned(), report.reported_ms.into());
    shown.insert("user_id".to_owned(), json!(report.reporter));
    shown.insert("reason".to_owned(), json!(report.reason));
    if let Some(room_id) = &report.room_id {
        shown.insert("room_id".to_owned(), json!(room_id));
    }
    if let Some(event_id) = &report.event_id {
        shown.insert("event_id".to_owned(), json!(event_id));
        shown.insert("sender".to_owned(), json!(report.user_id));
    } else if let Some(user_id) = &report.user_id {
        shown.insert("target_user_id".to_owned(), json!(user_id));
    }
    shown.into()
}

/// `DELETE /_chappe/admin/v1/reports/{number}`.
async fn forget(
    State(state): State<AppState>,
    Path(number): Path<String>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    Plain::read_of_admin(&state, request).await?;
    let number = number.parse();
    let number = number.map_err(|_| ApiError::not_found("Report not found"))?;
    state.rooms.delete_report(number).await?;
    Ok(Json(json!({})))
}
