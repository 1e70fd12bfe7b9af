//! HTTP: parses requests, asks one service, and formats what it answers.
//!
//! A request passes `layers`, which concern every route, then the bridge in [`endpoint`], which
//! authenticates it and makes it one of ruma's types, then a handler, which asks one service. A
//! handler's error becomes an answer in [`error`].

mod account_validity;
mod audit;
mod auth;
mod auth_fallback;
mod body;
pub mod chappe_admin;
mod client;
mod consent;
pub mod development;
mod document;
pub mod email_links;
pub mod endpoint;
pub mod error;
mod guests;
pub mod health;
mod html;
mod identity;
mod layers;
pub mod metrics;
mod old_clients;
mod peer;
mod plain;
pub mod rate_limit;
mod reach;
mod reports;
pub mod server;
mod server_notices;
mod settings;
mod synapse_admin;
mod synapse_media;
mod synapse_tokens;
mod synapse_users;
mod unsubscribe;
pub mod well_known;

use std::{ops::Deref, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, State},
    response::Response,
    routing::get,
};
use http::{HeaderMap, Uri};
use ipnet::IpNet;
use url::Url;

pub use self::{
    auth::Authenticate,
    client::capabilities::{Capabilities, CapabilitySettings},
    endpoint::{ClientInfo, RouterExt, Ruma},
    error::ApiError,
    health::Readiness,
    metrics::{MetricsText, RequestObserver},
    rate_limit::{Kind, Rate, RateLimitSettings, RateLimits, RefusalObserver},
    server::{Server, ServerSettings},
    settings::HttpSettings,
    well_known::WellKnown,
};
use crate::{
    accounts::Accounts,
    audit::Audit,
    bridges::Bridges,
    calls::Calls,
    identity::Identity,
    keys::Keys,
    media::Media,
    notices::Notices,
    pages::{self, Pages},
    previews::Previews,
    push::Push,
    random::Random,
    rendezvous::Rendezvous,
    rooms::Rooms,
    scanner::Scanner,
    sync::Sync,
};

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    inner: Arc<Inner>,
    /// How often somebody may do something: `Services::limits`, or none.
    limits: RateLimits,
}

struct Inner {
    services: Services,
    gates: layers::Gates,
    no_limits: RateLimits,
}

/// The services that handlers ask, one field each, and what the layers need.
pub struct Services {
    /// Accounts, sessions and devices.
    pub accounts: Accounts,
    /// Rooms and their events.
    pub rooms: Rooms,
    /// End-to-end encryption: keys, messages to devices and backups.
    pub keys: Keys,
    /// What clients missed.
    pub sync: Sync,
    /// What application services are told and asked.
    pub bridges: Bridges,
    /// Where it is written who changed what, and who was refused what.
    pub audit: Audit,
    /// Whose address is whose, and invitations by e-mail.
    pub identity: Identity,
    /// What people upload.
    pub media: Media,
    /// What looks for viruses in it.
    pub scanner: Scanner,
    /// Previews of web pages.
    pub previews: Previews,
    /// What the operator tells people.
    pub notices: Notices,
    /// What clients need to call each other.
    pub calls: Calls,
    /// Telling devices what notifies their users.
    pub push: Push,
    /// Where devices meet that sign in by a QR code.
    pub rendezvous: Rendezvous,
    /// How often somebody may do something.
    pub limits: RateLimits,
    /// Bounds of requests and answers.
    pub settings: HttpSettings,
    /// Where request ids come from.
    pub random: Random,
    /// Told of each answer.
    pub observer: RequestObserver,
    /// What must be well for the process to serve.
    pub readiness: Readiness,
    /// Writes the measures.
    pub metrics: MetricsText,
    /// The documents under `/.well-known/matrix`.
    pub well_known: WellKnown,
    /// What users may change.
    pub capabilities: Capabilities,
    /// Renders the pages that people see.
    pub pages: Arc<Pages>,
    /// What the page at `/` says.
    pub home: Home,
}

/// What the page at `/` says of the server.
#[derive(Clone, Debug)]
pub struct Home {
    /// The server's name in user ids.
    pub server_name: String,
    /// Where clients reach the server.
    pub homeserver_url: Url,
    /// The name of the policy's profile.
    pub profile: &'static str,
}

/// What one listener serves.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a part that is served or not"
)]
pub struct ApiSelection {
    /// The client-server API, the well-known documents and the home page.
    pub client: bool,
    /// Whether the process lives and is ready.
    pub health: bool,
    /// Measures for Prometheus.
    pub metrics: bool,
    /// What other servers of the same deployment may ask without a password.
    pub internal: bool,
    /// The networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl AppState {
    /// Wraps the services.
    pub fn new(services: Services) -> Self {
        let settings = &services.settings;
        let gates = layers::Gates::new(settings.max_in_flight, settings.max_long_polls);
        let limits = services.limits.clone();
        let no_limits = limits.off();
        Self {
            inner: Arc::new(Inner {
                services,
                gates,
                no_limits,
            }),
            limits,
        }
    }

    /// The same for a sender whose requests are not limited.
    fn without_limits(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            limits: self.inner.no_limits.clone(),
        }
    }

    /// How many more requests, and how many more long polls, would be let in.
    pub fn free_places(&self) -> (usize, usize) {
        self.inner.gates.free()
    }

    fn gates(&self) -> &layers::Gates {
        &self.inner.gates
    }
}

impl Deref for AppState {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.inner.services
    }
}

/// Lets a handler take one service as `State<Service>`.
macro_rules! service {
    ($($field:ident: $service:ty),* $(,)?) => {$(
        impl FromRef<AppState> for $service {
            fn from_ref(state: &AppState) -> Self {
                state.$field.clone()
            }
        }
    )*};
}

service! {
    accounts: Accounts,
    bridges: Bridges,
    capabilities: Capabilities,
    identity: Identity,
    keys: Keys,
    limits: RateLimits,
    rooms: Rooms,
    sync: Sync,
    push: Push,
}

/// All that one listener serves: what is selected, and the routes of `more`, such as pages.
pub fn router(state: &AppState, serves: &ApiSelection, more: Router<AppState>) -> Router {
    let mut router = more;
    if serves.client {
        router = router
            .merge(client::routes(state))
            .merge(identity::routes())
            .merge(synapse_admin::routes())
            .merge(server_notices::routes())
            .merge(chappe_admin::routes())
            .merge(reports::routes())
            .merge(synapse_users::routes())
            .merge(synapse_media::routes())
            .merge(synapse_tokens::routes())
            .merge(account_validity::routes())
            .merge(account_validity::links(&state.pages))
            .merge(unsubscribe::routes(&state.pages))
            .merge(consent::routes(&state.pages))
            .merge(auth_fallback::routes())
            .merge(well_known::routes())
            .route("/", get(home));
    }
    if serves.internal {
        router = router.merge(identity::internal_routes());
    }
    router = router
        .fallback(no_such_endpoint)
        .method_not_allowed_fallback(method_not_allowed);
    let mut router = layers::wrap(router, state, &serves.trusted_proxies);
    // Asked by machines on the inside, also when the server is too busy for anybody else.
    if serves.health {
        router = router.merge(health::routes());
    }
    if serves.metrics {
        router = router.merge(metrics::routes());
    }
    router.with_state(state.clone())
}

async fn no_such_endpoint(State(state): State<AppState>, body: Body) -> ApiError {
    body::drain(body, state.settings.body_timeout).await;
    ApiError::no_such_endpoint()
}

async fn method_not_allowed(State(state): State<AppState>, body: Body) -> ApiError {
    body::drain(body, state.settings.body_timeout).await;
    ApiError::method_not_allowed()
}

async fn home(State(state): State<AppState>, headers: HeaderMap, uri: Uri) -> Response {
    let home = &state.home;
    let said = pages::Home {
        server_name: &home.server_name,
        homeserver_url: home.homeserver_url.as_str().trim_end_matches('/'),
        version: env!("CARGO_PKG_VERSION"),
        profile: home.profile,
    };
    let page = state.pages.home(&said, html::visitor(&headers, &uri));
    html::page(&state.pages, page)
}
