//! The client-server API: one file for each of ruma's modules, each with its handlers and nothing
//! else.

mod account;
mod account_data;
mod admin;
mod appservice;
mod backup;
pub(super) mod capabilities;
mod dehydrated_device;
mod delayed_event;
mod device;
mod directory;
mod filter;
mod identity;
mod keys;
mod media;
mod media_download;
mod media_headers;
mod media_request;
mod membership;
mod message;
mod older_sync;
mod presence;
mod profile;
mod push_rule;
mod pusher;
mod raw;
mod receipt;
mod register;
mod relations;
pub(super) mod rendezvous;
mod reporting;
mod room;
mod said;
mod scanner;
mod search;
mod session;
mod sliding_sync;
mod space;
mod state;
mod sync;
mod tag;
mod third_party;
mod thread_subscription;
mod threads;
mod to_device;
mod typing;
mod user_directory;
mod users_info;
mod versions;
mod voip;

use axum::Router;

use super::{AppState, endpoint::RouterExt as _};

/// All endpoints of the client-server API.
pub(super) fn routes(state: &AppState) -> Router<AppState> {
    Router::new()
        .merge(sync::routes())
        .merge(older_sync::routes())
        .merge(sliding_sync::routes())
        .merge(versions::routes(state))
        .merge(voip::routes())
        .merge(session::routes())
        .merge(register::routes())
        .merge(account::routes())
        .merge(users_info::routes())
        .merge(admin::routes())
        .merge(appservice::routes())
        .merge(third_party::routes())
        .merge(delayed_event::routes())
        .merge(device::routes())
        .merge(profile::routes(state))
        .merge(room::routes())
        .merge(rendezvous::routes(state))
        .merge(reporting::routes())
        .merge(membership::routes())
        .merge(directory::routes())
        .merge(space::routes())
        .merge(user_directory::routes())
        .merge(message::routes())
        .merge(relations::routes())
        .merge(threads::routes())
        .merge(thread_subscription::routes())
        .merge(search::routes())
        .merge(state::routes())
        .merge(receipt::routes())
        .merge(media::routes())
        .merge(media_download::routes())
        .merge(scanner::routes(state))
        .merge(typing::routes())
        .merge(presence::routes())
        .merge(account_data::routes())
        .merge(tag::routes())
        .merge(filter::routes())
        .merge(identity::routes())
        .merge(push_rule::routes())
        .merge(keys::routes())
        .merge(to_device::routes())
        .merge(backup::routes())
        .merge(dehydrated_device::routes())
        .merge(pusher::routes())
        .endpoint_raw(&[], capabilities::get_capabilities)
}
