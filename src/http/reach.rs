//! What each endpoint asks for, as far as accounts that are held back are concerned.
//!
//! The specification leaves open what a suspended account may do (v1.19, client-server API, "Account
//! suspension"), and names what it should: read, leave rooms, redact its own events, end sessions,
//! keep its keys, and manage itself. An endpoint that is not named here is one it may not use.

use axum::extract::MatchedPath;
use http::{Method, Request};

use crate::accounts::Reach;

/// Endpoints that change things nobody else sees, without their version. One that ends with a
/// slash stands for all below it.
const PRIVATE: &[&str] = &[
    "account/",
    "dehydrated_device",
    "dehydrated_device/",
    "delete_devices",
    "devices/",
    "keys/",
    "login/get_token",
    "publicRooms",
    "pushers/",
    "pushrules/",
    "room_keys/",
    "search",
    "sendToDevice/",
    "user/",
    "sync",
    "user_directory/search",
    "users/info",
];

/// Endpoints among those that change more than what is private: an address by which the user can be
/// reached goes.
const PUBLIC: &[&str] = &["account/3pid/delete", "account/3pid/unbind"];

/// Endpoints of one room, without what stands before.
const PRIVATE_IN_ROOM: &[&str] = &[
    "forget",
    "leave",
    "read_markers",
    "receipt/",
    "redact/",
    "report",
    "report/",
];

/// What a request asks for.
pub(super) fn of(request: &Request<()>) -> Reach {
    let route = request.extensions().get::<MatchedPath>();
    reach(request.method(), route.map_or("", MatchedPath::as_str))
}

fn reach(method: &Method, route: &str) -> Reach {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Reach::Private;
    }
    let Some(rest) = route.strip_prefix("/_matrix/client/") else {
        return Reach::Public;
    };
    let endpoint = rest
        .split_once('/')
        .map_or("", |(_version, endpoint)| without_proposal(endpoint));
    if matches!(endpoint, "logout" | "logout/all") {
        return Reach::Logout;
    }
    let in_room = endpoint
        .strip_prefix("rooms/")
        .and_then(|room| room.split_once('/'));
    let is_private = if let Some((_room, endpoint)) = in_room {
        is_among(PRIVATE_IN_ROOM, endpoint)
    } else {
        let reports = endpoint.starts_with("users/") && endpoint.ends_with("/report");
        reports || is_among(PRIVATE, endpoint) && !is_among(PUBLIC, endpoint)
    };
    if is_private {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// The endpoint, without the name of a proposal, such as `org.matrix.msc0`.
fn without_proposal(endpoint: &str) -> &str {
    let parts = endpoint.split_once('/');
    parts.map_or(endpoint, |(proposal, rest)| {
        if proposal.contains('.') {
            rest
        } else {
            endpoint
        }
    })
}

fn is_among(listed: &[&str], endpoint: &str) -> bool {
    listed.iter().any(|one| {
        if one.ends_with('/') {
            endpoint.starts_with(one)
        } else {
            endpoint == *one
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_the_reach_that_the_specification_suggests() {
        let cases = [
            (Method::POST, "/_matrix/client/v3/logout", Reach::Logout),
            (Method::POST, "/_matrix/client/r0/logout/all", Reach::Logout),
            (Method::GET, "/_matrix/client/v3/sync", Reach::Private),
            (
                Method::POST,
                "/_matrix/client/v3/rooms/{room_id}/leave",
                Reach::Private,
            ),
            (
                Method::PUT,
                "/_matrix/client/v3/rooms/{room_id}/redact/{event_id}/{txn_id}",
                Reach::Private,
            ),
            (
                Method::POST,
                "/_matrix/client/v3/rooms/{room_id}/join",
                Reach::Public,
            ),
            (
                Method::PUT,
                "/_matrix/client/v3/rooms/{room_id}/send/{event_type}/{txn_id}",
                Reach::Public,
            ),
            (Method::POST, "/_matrix/client/v3/createRoom", Reach::Public),
            (
                Method::PUT,
                "/_matrix/client/v3/profile/{user_id}/{field}",
                Reach::Public,
            ),
            (
                Method::POST,
                "/_matrix/client/v3/account/password",
                Reach::Private,
            ),
            (
                Method::POST,
                "/_matrix/client/v3/account/3pid/add",
                Reach::Private,
            ),
            (
                Method::POST,
                "/_matrix/client/v3/account/3pid/delete",
                Reach::Public,
            ),
            (
                Method::POST,
                "/_matrix/client/v3/users/{user_id}/report",
                Reach::Private,
            ),
            (
                Method::POST,
                "/_matrix/client/v1/login/get_token",
                Reach::Private,
            ),
            (
                Method::POST,
                "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
                Reach::Private,
            ),
            (
                Method::PUT,
                "/_matrix/client/unstable/org.matrix.msc4140/rooms/{room_id}/delayed_event/{a}/{b}",
                Reach::Public,
            ),
            (Method::POST, "/something/else", Reach::Public),
            (Method::POST, "", Reach::Public),
        ];
        for (method, route, expected) in cases {
            assert_eq!(reach(&method, route), expected, "{method} {route}");
        }
    }
}
