//! `/auth/{auth type}/fallback/web`: stages of user-interactive authentication in a browser.
//!
//! Specification v1.19, client-server API, "Fallback". The pages work without a script; the last one
//! has the few lines that the specification asks for, by which the client hears that it may go on.

use axum::{
    Form, Router,
    extract::{Path, Query, State, rejection::FormRejection},
    response::Response,
    routing::get,
};
use http::request::Parts;
use ruma::api::client::uiaa::AuthType;
use serde::Deserialize;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{
    AppState, Kind,
    error::ApiError,
    html::{language, popup, visitor},
    peer::ClientAddress,
};
use crate::{
    accounts::{Fallback, Proof, StagePage},
    pages::{AuthForm, Pages, Visitor},
};

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    ["r0", "v3"]
        .into_iter()
        .fold(Router::new(), |router, version| {
            let path = format!("/_matrix/client/{version}/auth/{{auth_type}}/fallback/web");
            router.route(&path, get(open).post(post))
        })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Opened {
    session: String,
}

/// What the forms carry. What is missing is as good as wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    session: String,
    password: Zeroizing<String>,
    token: String,
    email: String,
    sid: String,
    client_secret: String,
    /// The language of the page.
    lang: Option<String>,
}

/// The page of a stage.
async fn open(
    State(state): State<AppState>,
    Path(auth_type): Path<String>,
    Query(Opened { session }): Query<Opened>,
    parts: Parts,
) -> Result<Response, ApiError> {
    let client = ClientAddress::of(&parts.extensions);
    state.limits.check_address(Kind::Read, client)?;
    let visitor = visitor(&parts.headers, &parts.uri);
    let auth_type = AuthType::from(auth_type);
    let accounts = &state.accounts;
    let fallback = accounts
        .fallback(&session, &auth_type, visitor.language)
        .await?;
    Ok(show(&state.pages, &fallback, &session, visitor))
}

/// What a form brings.
async fn post(
    State(state): State<AppState>,
    Path(auth_type): Path<String>,
    parts: Parts,
    form: Result<Form<Fields>, FormRejection>,
) -> Result<Response, ApiError> {
    let client = ClientAddress::of(&parts.extensions);
    state.limits.check_address(Kind::Read, client)?;
    let Form(fields) = form.map_err(|_| ApiError::bad_request("This is none of our forms"))?;
    // In the other language the page begins again.
    let again = query(&fields.session, fields.lang.as_deref());
    let visitor = Visitor::opening(Some(&again), language(&parts.headers));
    let proof = Proof {
        password: fields.password,
        token: fields.token,
        email: fields.email,
        sid: fields.sid,
        client_secret: fields.client_secret,
        language: visitor.language,
        client: Some(client),
    };
    let auth_type = AuthType::from(auth_type);
    let accounts = &state.accounts;
    let fallback = accounts
        .pass_fallback(&fields.session, &auth_type, proof)
        .await?;
    Ok(show(&state.pages, &fallback, &fields.session, visitor))
}

/// The query of a page's address.
fn query(session: &str, language: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("session", session);
    query.extend_pairs(language.map(|language| ("lang", language)));
    query.finish()
}

fn show(pages: &Pages, fallback: &Fallback, session: &str, visitor: Visitor) -> Response {
    let (stage, is_wrong) = match fallback {
        Fallback::Unknown => return popup(pages, pages.link_invalid(visitor)),
        Fallback::Done => return popup(pages, pages.auth_done(visitor)),
        Fallback::Ask(stage) => (stage, false),
        Fallback::Wrong(stage) => (stage, true),
    };
    let mut fields = vec![("session", session), ("lang", visitor.language.tag())];
    let mut documents = Vec::new();
    let form = match stage {
        StagePage::Dummy => AuthForm::Dummy,
        StagePage::Terms(terms) => {
            let terms = terms.iter();
            documents.extend(
                terms.map(|(name, version, url)| (name.as_str(), version.as_str(), url.as_str())),
            );
            AuthForm::Terms(&documents)
        }
        StagePage::Password => AuthForm::Password,
        StagePage::RegistrationToken => AuthForm::RegistrationToken,
        StagePage::Email => AuthForm::Email,
        StagePage::EmailSent { sid, client_secret } => {
            fields.extend([("sid", sid.as_str()), ("client_secret", client_secret)]);
            AuthForm::EmailSent
        }
    };
    popup(pages, pages.auth(&form, &fields, is_wrong, visitor))
}
