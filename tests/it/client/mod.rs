//! The client-server API, as clients see it.

mod account_data;
mod account_validity;
mod accounts;
mod calls;
mod create_room;
mod cross_signing;
mod dehydrated_devices;
mod delayed_events;
mod device_lists;
mod devices;
mod directory;
mod erasure;
mod exposure;
mod fallback;
mod filters;
mod guests;
mod holds;
mod invite_permission;
mod key_backup;
mod keys;
mod login;
mod login_tokens;
mod membership;
mod messages;
mod older_sync;
mod owned_state;
mod paging;
mod password;
mod polls;
mod presence;
mod profiles;
mod pushers;
mod quiet;
mod receipts;
mod register;
mod registration_tokens;
mod relations;
mod rendezvous;
mod reporting;
mod retention;
mod scraping;
mod search;
pub(crate) mod sliding;
mod spaces;
mod thread_subscriptions;
mod to_device;
mod typing;
mod unread;
mod unread_checker;
mod upgrade;
mod user_directory;
mod visibility;

use std::{net::SocketAddr, sync::Arc};

use ::http::{HeaderMap, Request, StatusCode};
use axum::{Router, body::Body, extract::ConnectInfo};
use chappe::{
    audit::Audit,
    calls::{Calls, Settings as CallSettings},
    config::{
        Profile,
        policy::{AddressPattern, Policy},
    },
    http::{
        ApiSelection, AppState, Capabilities, CapabilitySettings, Home, HttpSettings,
        RateLimitSettings, RateLimits, Readiness, Services, WellKnown, email_links, router,
    },
    pages::Pages,
    random::Random,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::accounts::{AccountsOptions, AccountsSite};

/// A password that fits every rule.
pub(crate) const PASSWORD: &str = "Chappe-1794-Lille";

/// A server without sockets.
pub(crate) struct Site {
    pub(crate) service: AccountsSite,
    router: Router,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The status and the error code.
    pub(crate) fn failure(&self) -> (u16, String) {
        let errcode = self.json()["errcode"].as_str().unwrap_or("").to_owned();
        (self.status, errcode)
    }
}

/// An open server.
pub(crate) async fn open() -> Site {
    Site::new(AccountsOptions::new(Profile::Open)).await
}

/// A server with Tchap's rules: agents of `gouv.fr` register, `example.com` needs an invitation,
/// and `other.fr` belongs to another server.
pub(crate) async fn tchap() -> Site {
    Site::new(tchap_options()).await
}

pub(crate) fn tchap_options() -> AccountsOptions {
    let mut options = AccountsOptions::new(Profile::Tchap);
    let pattern = |pattern: &str| AddressPattern {
        pattern: pattern.to_owned(),
        ..AddressPattern::default()
    };
    options.policy = Policy::default();
    options.policy.addresses.patterns = vec![
        pattern(r".*@(.*\.|)gouv.fr"),
        AddressPattern {
            requires_invite: true,
            ..pattern(".*@example.com")
        },
        AddressPattern {
            server: Some("other.example.org".to_owned()),
            ..pattern(".*@other.fr")
        },
    ];
    options
}

impl Site {
    pub(crate) async fn new(options: AccountsOptions) -> Self {
        let service = AccountsSite::new(options).await;
        let limits = RateLimitSettings {
            enabled: false,
            ..RateLimitSettings::default()
        };
        let state = AppState::new(Services {
            accounts: service.accounts.clone(),
            rooms: service.rooms(),
            keys: service.keys(),
            sync: service.sync(),
            bridges: service.bridges(),
            audit: Audit::off(service.clock.clone()),
            identity: service.identity(),
            media: service.media(),
            previews: service.previews(),
            scanner: service.scanner().await,
            notices: service.notices(),
            calls: Calls::new(CallSettings::default(), service.clock.clone()),
            push: service.push(),
            rendezvous: service.rendezvous(),
            limits: RateLimits::new(&limits, service.clock.clone()),
            settings: HttpSettings::default(),
            random: Random::seeded(3),
            observer: Arc::new(|_, _, _, _| ()),
            readiness: Readiness::default(),
            metrics: Arc::new(String::new),
            well_known: WellKnown::new(),
            capabilities: Capabilities::from(&CapabilitySettings::default()),
            pages: Arc::new(Pages::new("Tchap", None).unwrap()),
            home: Home {
                server_name: "example.org".to_owned(),
                homeserver_url: "https://matrix.example.org".parse().unwrap(),
                profile: "open",
            },
        });
        let serves = ApiSelection {
            client: true,
            ..ApiSelection::default()
        };
        let pages = Arc::new(Pages::new("Tchap", None).unwrap());
        let router = router(&state, &serves, email_links::routes(&pages));
        Self { service, router }
    }

    /// Sends a request; `path` is under `/_matrix/client/` unless it begins with a slash.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/_matrix/client/{path}")
        };
        let peer: SocketAddr = "198.51.100.7:4711".parse().unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("user-agent", "Test/1")
            .extension(ConnectInfo(peer));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send_raw(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn send_raw(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send("GET", path, token, None).await
    }

    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.send("POST", path, token, Some(body)).await
    }

    /// Registers on an open server; the answer has `user_id`, `access_token` and `device_id`.
    pub(crate) async fn register(&self, username: &str) -> Value {
        let body = json!({
            "username": username,
            "password": PASSWORD,
            "auth": { "type": "m.login.dummy" },
        });
        self.post("v3/register", None, body).await.ok()
    }

    /// Asks for the mail of a registration or of a new password.
    pub(crate) async fn request_mail(&self, what: &str, email: &str, attempt: u64) -> Answer {
        let body = json!({
            "client_secret": "secret",
            "email": email,
            "send_attempt": attempt,
        });
        let path = format!("v3/{what}/email/requestToken");
        self.post(&path, None, body).await
    }

    /// Opens the link of the newest mail.
    pub(crate) async fn open_newest_link(&self) -> Answer {
        let link = self.service.newest_link().await.unwrap();
        self.open(&link).await
    }

    pub(crate) async fn open(&self, link: &url::Url) -> Answer {
        let path = format!("{}?{}", link.path(), link.query().unwrap());
        self.get(&path, None).await
    }

    /// Registers with an address on a server with Tchap's rules.
    pub(crate) async fn register_agent(&self, email: &str) -> Value {
        let begun = self
            .post("r0/register", None, json!({ "password": PASSWORD }))
            .await;
        assert_eq!(begun.status, StatusCode::UNAUTHORIZED, "{}", begun.text);
        let session = begun.json()["session"].clone();
        self.service
            .clock
            .advance(std::time::Duration::from_secs(1));
        let sid = self.request_mail("register", email, 1).await.ok()["sid"].clone();
        assert_eq!(self.open_newest_link().await.status, StatusCode::OK);
        let auth = email_auth(&session, &sid);
        self.post("r0/register", None, json!({ "auth": auth }))
            .await
            .ok()
    }
}

/// The e-mail stage.
pub(crate) fn email_auth(session: &Value, sid: &Value) -> Value {
    json!({
        "type": "m.login.email.identity",
        "session": session,
        "threepid_creds": { "sid": sid, "client_secret": "secret" },
    })
}

/// The password stage.
pub(crate) fn password_auth(user: &str, password: &str, session: Option<&Value>) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
        "session": session,
    })
}
