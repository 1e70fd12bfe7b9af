//! `/user_directory/search`: finding people.
//!
//! Specification v1.19, client-server API, "User directory".

use axum::{Router, extract::State};
use ruma::{
    OwnedMxcUri,
    api::client::user_directory::search_users::{self, v3::User},
};

use crate::{
    http::{ApiError, AppState, Kind, RouterExt as _, Ruma},
    store::user_directory::Found,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().endpoint(search)
}

/// `POST /_matrix/client/v3/user_directory/search`. Who looks for an e-mail address also takes from
/// the bucket of those.
async fn search(
    State(state): State<AppState>,
    request: Ruma<search_users::v3::Request>,
) -> Result<search_users::v3::Response, ApiError> {
    let body = request.body;
    let user = request.sender.user();
    state.limits.check_user(Kind::DirectorySearch, user)?;
    state.limits.check_user(Kind::DirectorySearchDaily, user)?;
    let is_address = body.search_term.trim().find('@').is_some_and(|at| at > 0);
    if is_address {
        state.limits.check_user(Kind::AddressLookup, user)?;
    }
    let found = state
        .accounts
        .search_users(&request.sender, &body.search_term, body.limit.into())
        .await?;
    let results = found.users.into_iter().map(shown).collect();
    Ok(search_users::v3::Response::new(results, found.limited))
}

fn shown(found: Found) -> User {
    let mut user = User::new(found.user_id);
    user.display_name = found.display_name;
    user.avatar_url = found.avatar_url.map(OwnedMxcUri::from);
    user
}
