//! The page on which people agree to new terms (tchap.md 10.4; client-server API r0.6,
//! `M_CONSENT_NOT_GIVEN`).
//!
//! It needs neither a session nor a script: the link is signed, and a form agrees to the versions
//! that were shown.

use std::sync::Arc;

use axum::{
    Form, Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use http::{HeaderMap, Uri};
use serde::Deserialize;

use super::{
    AppState,
    error::ApiError,
    html::{language, page, visitor},
};
use crate::{
    accounts::{Accounts, ConsentLink},
    language::Language,
    pages::{Pages, Visitor},
};

/// The routes of this file.
pub(super) fn routes(pages: &Arc<Pages>) -> Router<AppState> {
    let (asked, answered) = (Arc::clone(pages), Arc::clone(pages));
    let ask = async move |State(accounts): State<Accounts>,
                          headers: HeaderMap,
                          uri: Uri,
                          Query(fields): Query<Fields>| {
        ask(&accounts, &asked, visitor(&headers, &uri), fields).await
    };
    let accept = async move |State(accounts): State<Accounts>,
                             headers: HeaderMap,
                             Form(fields): Form<Fields>| {
        accept(&accounts, &answered, language(&headers), fields).await
    };
    Router::new().route("/_matrix/consent", get(ask).post(accept))
}

/// What the link and the form carry. What is missing is as good as wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    u: String,
    h: String,
    v: String,
    /// The language that the page's form asks for.
    lang: Option<String>,
}

async fn ask(
    accounts: &Accounts,
    pages: &Pages,
    visitor: Visitor,
    fields: Fields,
) -> Result<Response, ApiError> {
    let link = ConsentLink {
        user: fields.u,
        signature: fields.h,
    };
    let Some(consent) = accounts.consent(&link, visitor.language).await? else {
        return Ok(page(pages, pages.link_invalid(visitor)));
    };
    let documents: Vec<(&str, &str, &str)> = consent
        .documents
        .iter()
        .map(|(name, version, url)| (name.as_str(), version.as_str(), url.as_str()))
        .collect();
    let hidden = [
        ("u", link.user.as_str()),
        ("h", link.signature.as_str()),
        ("v", consent.digest.as_str()),
        ("lang", visitor.language.tag()),
    ];
    // Relative, so that it also fits where a proxy puts something before the path.
    let form = pages.consent("consent", &documents, &hidden, visitor);
    Ok(page(pages, form))
}

async fn accept(
    accounts: &Accounts,
    pages: &Pages,
    browser: Language,
    fields: Fields,
) -> Result<Response, ApiError> {
    let again = [
        ("u", fields.u.as_str()),
        ("h", fields.h.as_str()),
        ("v", fields.v.as_str()),
    ];
    let visitor = Visitor::posting(&again, fields.lang.as_deref(), browser);
    let link = ConsentLink {
        user: fields.u,
        signature: fields.h,
    };
    Ok(if accounts.accept_terms(&link, &fields.v).await? {
        page(pages, pages.consent_done(visitor))
    } else {
        page(pages, pages.link_invalid(visitor))
    })
}
