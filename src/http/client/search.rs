//! `/search`: finding what was said.
//!
//! Specification v1.19, client-server API, "Server Side Search".

use std::fmt::Write as _;

use axum::{Router, extract::State, response::Response};
use ruma::api::client::search::search_events::{
    self,
    v3::{Criteria, GroupingKey, OrderBy, SearchKeys},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::{raw, said::Said};
use crate::{
    http::{ApiError, AppState, Kind, RouterExt as _, Ruma},
    rooms::{Actor, Around, Group, SearchPage, SearchQuery},
    store::search::Key,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint_raw(&[], search)
}

/// Whether a search asks for what is around results: ruma's own type has a default in its place.
#[derive(Deserialize)]
struct Asked {
    search_categories: Categories,
}

#[derive(Deserialize)]
struct Categories {
    room_events: Option<RoomEvents>,
}

#[derive(Deserialize)]
struct RoomEvents {
    event_context: Option<IgnoredAny>,
}

/// `POST /_matrix/client/v3/search`.
async fn search(
    State(state): State<AppState>,
    request: Ruma<Said<search_events::v3::Request, Asked>>,
) -> Result<Response, ApiError> {
    let user = request.sender.user();
    state.limits.check_user(Kind::DirectorySearch, user)?;
    let Said { body, said } = request.body;
    let Some(criteria) = body.search_categories.room_events else {
        return Ok(raw::json("{\"search_categories\":{}}".to_owned()));
    };
    let said = said.search_categories.room_events;
    let wants_context = said.is_some_and(|said| said.event_context.is_some());
    let query = query(criteria, wants_context, body.next_batch)?;
    let reader = Actor::from(&*request.sender);
    let page = state.rooms.search(&reader, &query).await?;
    Ok(raw::json(text(&page, query.with_state)))
}

fn query(
    criteria: Criteria,
    wants_context: bool,
    next_batch: Option<String>,
) -> Result<SearchQuery, ApiError> {
    let unknown = |what: &str| ApiError::invalid_param(format!("unknown {what}"));
    let keys = match criteria.keys {
        None => vec![Key::Body, Key::Name, Key::Topic],
        Some(keys) => keys
            .iter()
            .map(|key| match key {
                SearchKeys::ContentBody => Ok(Key::Body),
                SearchKeys::ContentName => Ok(Key::Name),
                SearchKeys::ContentTopic => Ok(Key::Topic),
                _ => Err(unknown("key")),
            })
            .collect::<Result<_, _>>()?,
    };
    let by_rank = match criteria.order_by {
        None | Some(OrderBy::Rank) => true,
        Some(OrderBy::Recent) => false,
        Some(_) => return Err(unknown("order")),
    };
    let mut group_by = Vec::new();
    for grouping in criteria.groupings.group_by {
        let group = match grouping.key {
            Some(GroupingKey::RoomId) => Group::Room,
            Some(GroupingKey::Sender) => Group::Sender,
            _ => return Err(unknown("grouping")),
        };
        if !group_by.contains(&group) {
            group_by.push(group);
        }
    }
    let context = criteria.event_context;
    Ok(SearchQuery {
        term: criteria.search_term,
        keys,
        filter: criteria.filter,
        by_rank,
        around: wants_context.then(|| Around {
            before: context.before_limit.into(),
            after: context.after_limit.into(),
            with_profiles: context.include_profile,
        }),
        with_state: criteria.include_state.unwrap_or_default(),
        group_by,
        next_batch,
    })
}

/// The answer as JSON.
fn text(page: &SearchPage, with_state: bool) -> String {
    let highlights = Value::from(page.highlights.clone());
    let mut out = format!(
        "{{\"search_categories\":{{\"room_events\":{{\"count\":{},\"highlights\":{highlights}",
        page.count
    );
    // Writing to a string cannot fail.
    if let Some(next) = &page.next_batch {
        let _ = write!(out, ",\"next_batch\":\"{next}\"");
    }
    if !page.groups.is_empty() {
        let groups: Vec<_> = page
            .groups
            .iter()
            .map(|(name, members)| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(id, text)| format!("{}:{text}", Value::from(id.as_str())))
                    .collect();
                format!("\"{name}\":{{{}}}", members.join(","))
            })
            .collect();
        let _ = write!(out, ",\"groups\":{{{}}}", groups.join(","));
    }
    if with_state {
        let rooms: Vec<_> = page
            .state
            .iter()
            .map(|(room_id, state)| {
                format!("{}:{}", Value::from(room_id.as_str()), raw::array(state))
            })
            .collect();
        let _ = write!(out, ",\"state\":{{{}}}", rooms.join(","));
    }
    let _ = write!(out, ",\"results\":{}}}}}}}", raw::array(&page.results));
    out
}
