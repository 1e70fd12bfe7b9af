//! The pages that links in mails lead to.
//!
//! Opening the link of a registration, or of another address of an account, proves the address. The
//! link of a new password only asks, and a form proves: programs that read mails open links. All
//! work as often as they are used.

use std::sync::Arc;

use axum::{
    Form, Router,
    extract::{Query, State},
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;

use super::{
    AppState,
    error::ApiError,
    html::{language, page, private, visitor},
};
use crate::{
    accounts::{Accounts, LinkSecrets},
    language::Language,
    pages::{Pages, Visitor},
    store::threepids::Purpose,
};

/// Where the link of a registration leads.
const REGISTRATION: &str = "/_matrix/client/unstable/registration/email/submit_token";
/// Where the link of the identity service leads (identity service API v1.19).
const IDENTITY: &str = "/_matrix/identity/v2/validate/email/submitToken";
/// Where the link of another address of an account leads.
const ADDRESS: &str = "/_matrix/client/unstable/add_threepid/email/submit_token";
/// Where the link of a new password leads.
const PASSWORD: &str = "/_synapse/client/password_reset/email/submit_token";

/// The routes of links in mails, to be given to [`router`](super::router).
pub fn routes(pages: &Arc<Pages>) -> Router<AppState> {
    let (asked, confirmed) = (Arc::clone(pages), Arc::clone(pages));
    let open = |purpose: Purpose| {
        let pages = Arc::clone(pages);
        async move |State(accounts): State<Accounts>,
                    headers: HeaderMap,
                    uri: Uri,
                    Query(link): Query<Link>| {
            let visitor = visitor(&headers, &uri);
            open_address(&accounts, &pages, visitor, purpose, link).await
        }
    };
    let ask = async move |State(accounts): State<Accounts>,
                          headers: HeaderMap,
                          uri: Uri,
                          Query(link): Query<Link>| {
        ask_password(&accounts, &asked, visitor(&headers, &uri), link).await
    };
    let confirm = async move |State(accounts): State<Accounts>,
                              headers: HeaderMap,
                              Form(link): Form<Link>| {
        confirm_password(&accounts, &confirmed, language(&headers), link).await
    };
    Router::new()
        .route(IDENTITY, get(open(Purpose::Identity)))
        .route(REGISTRATION, get(open(Purpose::Registration)))
        .route(ADDRESS, get(open(Purpose::Address)))
        .route(PASSWORD, get(ask).post(confirm))
}

/// What a link carries. What is missing is as good as wrong.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Link {
    sid: String,
    client_secret: String,
    token: String,
    /// The language that a page's form asks for.
    lang: Option<String>,
}

impl From<Link> for LinkSecrets {
    fn from(link: Link) -> Self {
        Self {
            sid: link.sid,
            client_secret: link.client_secret,
            token: link.token,
        }
    }
}

async fn open_address(
    accounts: &Accounts,
    pages: &Pages,
    visitor: Visitor,
    purpose: Purpose,
    link: Link,
) -> Result<Response, ApiError> {
    let opened = accounts.open_link(purpose, &link.into()).await?;
    Ok(match opened {
        None => page(pages, pages.link_invalid(visitor)),
        Some(opened) => match opened.next_link {
            Some(next) => private(found(&next)),
            None => page(pages, pages.address_confirmed(visitor)),
        },
    })
}

async fn ask_password(
    accounts: &Accounts,
    pages: &Pages,
    visitor: Visitor,
    link: Link,
) -> Result<Response, ApiError> {
    let secrets = LinkSecrets::from(link);
    if !accounts.is_link_good(Purpose::Password, &secrets).await? {
        return Ok(page(pages, pages.link_invalid(visitor)));
    }
    let fields = [
        ("sid", secrets.sid.as_str()),
        ("client_secret", secrets.client_secret.as_str()),
        ("token", secrets.token.as_str()),
        ("lang", visitor.language.tag()),
    ];
    // Relative, so that it also fits where a proxy puts something before the path.
    let form = pages.password_reset_confirm("submit_token", &fields, visitor);
    Ok(page(pages, form))
}

/// The browser stays here: pages let their forms lead to this server only, and a client that
/// waits asks by itself.
async fn confirm_password(
    accounts: &Accounts,
    pages: &Pages,
    browser: Language,
    link: Link,
) -> Result<Response, ApiError> {
    let fields = [
        ("sid", link.sid.as_str()),
        ("client_secret", link.client_secret.as_str()),
        ("token", link.token.as_str()),
    ];
    let visitor = Visitor::posting(&fields, link.lang.as_deref(), browser);
    let opened = accounts.open_link(Purpose::Password, &link.into()).await?;
    Ok(match opened {
        None => page(pages, pages.link_invalid(visitor)),
        Some(_) => page(pages, pages.password_reset_done(visitor)),
    })
}

/// 302, as clients expect.
fn found(target: &str) -> Response {
    let mut response = Redirect::to(target).into_response();
    *response.status_mut() = StatusCode::FOUND;
    response
}
