//! The routes of the server.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;
use reqwest::Method;

use crate::operations;

/// A route.
pub(super) struct Route {
    /// The name of its module in ruma, or of its handler.
    pub(super) name: &'static str,
    pub(super) method: Method,
    /// Its paths, with arguments in braces.
    pub(super) paths: Vec<String>,
}

impl Route {
    fn plain(name: &'static str, method: Method, path: &str) -> Self {
        Self {
            name,
            method,
            paths: vec![path.to_owned()],
        }
    }

    /// Whether it reads a body.
    pub(super) fn takes_body(&self) -> bool {
        matches!(self.method, Method::POST | Method::PUT)
    }
}

/// All routes: the operations of `operations.tsv` that are there, and what is no operation of the
/// client-server API; those that end the session come last.
pub(super) fn all() -> Vec<Route> {
    let operations = operations::routed().map(|operation| Route {
        name: operation.name,
        method: operation.method.clone(),
        paths: operation.paths(),
    });
    others().into_iter().chain(operations).collect()
}

/// Routes that are no operation of the specification's client-server API. Where ruma has a type for
/// it, the name is that of its module.
fn others() -> Vec<Route> {
    vec![
        Route::plain(
            "put_dehydrated_device",
            Method::PUT,
            "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device",
        ),
        Route::plain(
            "get_dehydrated_device",
            Method::GET,
            "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device",
        ),
        Route::plain(
            "delete_dehydrated_device",
            Method::DELETE,
            "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device",
        ),
        Route::plain(
            "get_events",
            Method::POST,
            "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events",
        ),
        Route::plain(
            "stage",
            Method::GET,
            "/_matrix/client/v3/auth/{auth_type}/fallback/web",
        ),
        Route::plain(
            "stage_passed",
            Method::POST,
            "/_matrix/client/v3/auth/{auth_type}/fallback/web",
        ),
        Route::plain(
            "account_data_deleted",
            Method::DELETE,
            "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/account_data/{event_type}",
        ),
        Route::plain(
            "room_account_data_deleted",
            Method::DELETE,
            "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/rooms/{room_id}/account_data/{event_type}",
        ),
        Route::plain(
            "password_policy",
            Method::GET,
            "/_matrix/client/r0/password_policy",
        ),
        Route::plain(
            "v5",
            Method::POST,
            "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
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
            "exposure",
            Method::GET,
            "/_chappe/admin/v1/users/{user_id}/exposure",
        ),
        Route::plain(
            "demote",
            Method::POST,
            "/_chappe/admin/v1/users/{user_id}/demote",
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
        Route::plain("delayed_events", Method::GET, &delayed("delayed_events")),
        Route::plain(
            "delayed_event",
            Method::GET,
            &delayed("delayed_events/{delay_id}"),
        ),
        Route::plain(
            "manage_delayed_by_body",
            Method::POST,
            &delayed("delayed_events/{delay_id}"),
        ),
        Route::plain(
            "manage_delayed",
            Method::POST,
            &delayed("delayed_events/{delay_id}/{action}"),
        ),
        Route::plain(
            "delay_event",
            Method::PUT,
            &delayed("rooms/{room_id}/delayed_event/{event_type}/{txn_id}"),
        ),
        Route::plain(
            "tokens",
            Method::GET,
            "/_synapse/admin/v1/registration_tokens",
        ),
        Route::plain(
            "add_token",
            Method::POST,
            "/_synapse/admin/v1/registration_tokens/new",
        ),
        Route::plain(
            "token",
            Method::GET,
            "/_synapse/admin/v1/registration_tokens/{token}",
        ),
        Route::plain(
            "change_token",
            Method::PUT,
            "/_synapse/admin/v1/registration_tokens/{token}",
        ),
        Route::plain(
            "remove_token",
            Method::DELETE,
            "/_synapse/admin/v1/registration_tokens/{token}",
        ),
        Route::plain("consent", Method::GET, "/_matrix/consent"),
        Route::plain("consent_given", Method::POST, "/_matrix/consent"),
    ]
}

/// A path of the proposal on delayed events.
fn delayed(path: &str) -> String {
    format!("/_matrix/client/unstable/org.matrix.msc4140/{path}")
}

/// The names of ruma's types that the handlers take.
pub(super) fn in_sources() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/client");
    let request =
        Regex::new(r"Ruma<(?:\w+<)?(?:\w+::)*?(\w+)::(?:v\d+|unstable)::Request>").unwrap();
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
