//! The routes of the server, by ruma's types where it has them.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;
use reqwest::Method;
use ruma::api::{IncomingRequest, path_builder::PathBuilder as _};

/// A route.
pub(super) struct Route {
    /// The name of its module in ruma, or of its handler.
    pub(super) name: &'static str,
    pub(super) method: Method,
    /// Its paths, with arguments in braces.
    pub(super) paths: Vec<&'static str>,
}

impl Route {
    fn of<R: IncomingRequest>(name: &'static str) -> Self {
        Self {
            name,
            method: R::METHOD,
            paths: R::PATH_BUILDER.all_paths().collect(),
        }
    }

    fn plain(name: &'static str, method: Method, path: &'static str) -> Self {
        Self {
            name,
            method,
            paths: vec![path],
        }
    }

    /// Whether it reads a body.
    pub(super) fn takes_body(&self) -> bool {
        matches!(self.method, Method::POST | Method::PUT)
    }
}

macro_rules! routes {
    ($($module:ident::$name:ident::$version:ident,)*) => {
        vec![$(Route::of::<ruma::api::client::$module::$name::$version::Request>(
            stringify!($name),
        ),)*]
    };
}

/// All routes; those that end the session come last.
pub(super) fn all() -> Vec<Route> {
    let mut routes = routes![
        sync::sync_events::v3,
        discovery::get_capabilities::v3,
        session::get_login_types::v3,
        session::login::v3,
        session::refresh_token::v3,
        account::register::v3,
        account::get_username_availability::v3,
        account::check_registration_token_validity::v1,
        account::request_registration_token_via_email::v3,
        account::request_password_change_token_via_email::v3,
        account::whoami::v3,
        account::change_password::v3,
        account::deactivate::v3,
        account::get_3pids::v3,
        account::request_openid_token::v3,
        account::request_3pid_management_token_via_email::v3,
        account::add_3pid::v3,
        account::bind_3pid::v3,
        account::unbind_3pid::v3,
        account::delete_3pid::v3,
        admin::is_user_locked::v1,
        admin::lock_user::v1,
        admin::is_user_suspended::v1,
        admin::suspend_user::v1,
        device::get_devices::v3,
        device::get_device::v3,
        device::update_device::v3,
        device::delete_device::v3,
        device::delete_devices::v3,
        profile::get_profile::v3,
        profile::get_profile_field::v3,
        profile::set_profile_field::v3,
        profile::delete_profile_field::v3,
        room::create_room::v3,
        room::upgrade_room::v3,
        room::aliases::v3,
        room::get_room_event::v3,
        membership::join_room_by_id_or_alias::v3,
        membership::join_room_by_id::v3,
        knock::knock_room::v3,
        user_directory::search_users::v3,
        membership::invite_user::v3,
        membership::kick_user::v3,
        membership::ban_user::v3,
        membership::unban_user::v3,
        membership::get_member_events::v3,
        membership::joined_members::v3,
        membership::joined_rooms::v3,
        alias::create_alias::v3,
        alias::get_alias::v3,
        alias::delete_alias::v3,
        directory::get_public_rooms::v3,
        directory::get_public_rooms_filtered::v3,
        directory::get_room_visibility::v3,
        directory::set_room_visibility::v3,
        message::send_message_event::v3,
        message::get_message_events::v3,
        context::get_context::v3,
        redact::redact_event::v3,
        state::send_state_event::v3,
        state::get_state_events::v3,
        state::get_state_event_for_key::v3,
        receipt::create_receipt::v3,
        read_marker::set_read_marker::v3,
        typing::create_typing_event::v3,
        config::get_global_account_data::v3,
        config::set_global_account_data::v3,
        config::get_room_account_data::v3,
        config::set_room_account_data::v3,
        tag::get_tags::v3,
        tag::create_tag::v3,
        tag::delete_tag::v3,
        filter::create_filter::v3,
        filter::get_filter::v3,
        push::get_pushrules_all::v3,
        push::get_pushrules_global_scope::v3,
        push::get_pushrule::v3,
        push::set_pushrule::v3,
        push::delete_pushrule::v3,
        push::get_pushrule_enabled::v3,
        push::set_pushrule_enabled::v3,
        push::get_pushrule_actions::v3,
        push::set_pushrule_actions::v3,
    ];
    routes.extend([
        Route::plain("versions", Method::GET, "/_matrix/client/versions"),
        Route::plain(
            "password_policy",
            Method::GET,
            "/_matrix/client/r0/password_policy",
        ),
        Route::plain("info", Method::GET, "/_matrix/identity/api/v1/info"),
        Route::plain("identity", Method::GET, "/_matrix/identity/v2"),
        Route::plain("terms", Method::GET, "/_matrix/identity/v2/terms"),
        Route::plain("account", Method::GET, "/_matrix/identity/v2/account"),
        Route::plain(
            "hash_details",
            Method::GET,
            "/_matrix/identity/v2/hash_details",
        ),
        Route::plain(
            "validated",
            Method::GET,
            "/_matrix/identity/v2/3pid/getValidated3pid",
        ),
        Route::plain("key", Method::GET, "/_matrix/identity/v2/pubkey/{key_id}"),
        Route::plain(
            "is_valid",
            Method::GET,
            "/_matrix/identity/v2/pubkey/isvalid",
        ),
        Route::plain(
            "is_ephemeral_valid",
            Method::GET,
            "/_matrix/identity/v2/pubkey/ephemeral/isvalid",
        ),
        Route::plain(
            "identity_link",
            Method::GET,
            "/_matrix/identity/v2/validate/email/submitToken",
        ),
        Route::plain(
            "look_up",
            Method::GET,
            "/_matrix/client/unstable/account/3pid/lookup",
        ),
        Route::plain(
            "look_up_many",
            Method::POST,
            "/_matrix/client/unstable/account/3pid/bulk_lookup",
        ),
        Route::plain("nonce", Method::GET, "/_synapse/admin/v1/register"),
        Route::plain(
            "shared_secret_register",
            Method::POST,
            "/_synapse/admin/v1/register",
        ),
        Route::plain(
            "registration_link",
            Method::GET,
            "/_matrix/client/unstable/registration/email/submit_token",
        ),
        Route::plain(
            "password_link",
            Method::GET,
            "/_synapse/client/password_reset/email/submit_token",
        ),
        Route::plain(
            "password_link_confirmed",
            Method::POST,
            "/_synapse/client/password_reset/email/submit_token",
        ),
        Route::plain(
            "renewal_mail",
            Method::POST,
            "/_synapse/client/email_account_validity/send_mail",
        ),
        Route::plain(
            "renewal_link",
            Method::GET,
            "/_synapse/client/email_account_validity/renew",
        ),
        Route::plain(
            "old_renewal_link",
            Method::GET,
            "/_matrix/client/unstable/account_validity/renew",
        ),
        Route::plain(
            "expiry",
            Method::POST,
            "/_synapse/client/email_account_validity/admin",
        ),
        Route::plain(
            "users_info",
            Method::POST,
            "/_matrix/client/unstable/users/info",
        ),
        Route::plain(
            "user_info",
            Method::GET,
            "/_matrix/client/r0/user/{user_id}/info",
        ),
        Route::plain(
            "block",
            Method::POST,
            "/_chappe/admin/v1/users/{user_id}/block",
        ),
        Route::plain(
            "kill_sessions",
            Method::POST,
            "/_chappe/admin/v1/users/{user_id}/kill-sessions",
        ),
        Route::plain(
            "admin_view",
            Method::GET,
            "/_synapse/admin/v2/users/{user_id}",
        ),
        Route::plain(
            "admin_change",
            Method::PUT,
            "/_synapse/admin/v2/users/{user_id}",
        ),
        Route::plain(
            "admin_devices",
            Method::GET,
            "/_synapse/admin/v2/users/{user_id}/devices",
        ),
        Route::plain(
            "admin_deactivate",
            Method::POST,
            "/_synapse/admin/v1/deactivate/{user_id}",
        ),
        Route::plain(
            "admin_reset_password",
            Method::POST,
            "/_synapse/admin/v1/reset_password/{user_id}",
        ),
        Route::plain(
            "address_link",
            Method::GET,
            "/_matrix/client/unstable/add_threepid/email/submit_token",
        ),
        Route::plain("consent", Method::GET, "/_matrix/consent"),
        Route::plain("consent_given", Method::POST, "/_matrix/consent"),
    ]);
    routes.extend(routes![
        membership::leave_room::v3,
        membership::forget_room::v3,
        session::logout::v3,
        session::logout_all::v3,
    ]);
    routes
}

/// The names of ruma's types that the handlers take.
pub(super) fn in_sources() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/client");
    let request = Regex::new(r"Ruma<(?:\w+::)*?(\w+)::(?:v\d+|unstable)::Request>").unwrap();
    let mut names = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        names.extend(
            request
                .captures_iter(&text)
                .map(|found| found[1].to_owned()),
        );
    }
    assert!(names.len() > 50, "the sources were not understood");
    names
}
