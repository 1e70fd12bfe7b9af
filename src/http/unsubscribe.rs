//! The page that ends mails about unread messages.

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
    pages::{Pages, Visitor},
    push::Push,
};

/// The routes of the link in these mails.
pub(super) fn routes(pages: &Arc<Pages>) -> Router<AppState> {
    let (asked, done) = (Arc::clone(pages), Arc::clone(pages));
    let ask = async move |State(push): State<Push>,
                          headers: HeaderMap,
                          uri: Uri,
                          Query(link): Query<Link>| {
        ask(&push, &asked, visitor(&headers, &uri), &link).await
    };
    let confirm =
        async move |State(push): State<Push>, headers: HeaderMap, Form(link): Form<Link>| {
            confirm(&push, &done, &headers, &link).await
        };
    Router::new().route(Push::UNSUBSCRIBE, get(ask).post(confirm))
}

/// What a link carries. What is missing is as good as wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Link {
    user: String,
    address: String,
    code: String,
    /// The language that a page's form asks for.
    lang: Option<String>,
}

impl Link {
    fn fields(&self) -> [(&str, &str); 3] {
        [
            ("user", self.user.as_str()),
            ("address", self.address.as_str()),
            ("code", self.code.as_str()),
        ]
    }
}

async fn ask(
    push: &Push,
    pages: &Pages,
    visitor: Visitor,
    link: &Link,
) -> Result<Response, ApiError> {
    let is_good = push.is_unsubscribe_link(&link.user, &link.address, &link.code);
    if !is_good.await? {
        return Ok(page(pages, pages.link_invalid(visitor)));
    }
    let [user, address, code] = link.fields();
    let fields = [user, address, code, ("lang", visitor.language.tag())];
    let form = pages.unsubscribe_confirm("unsubscribe", &fields, visitor);
    Ok(page(pages, form))
}

async fn confirm(
    push: &Push,
    pages: &Pages,
    headers: &HeaderMap,
    link: &Link,
) -> Result<Response, ApiError> {
    let visitor = Visitor::posting(&link.fields(), link.lang.as_deref(), language(headers));
    let is_done = push.unsubscribe(&link.user, &link.address, &link.code);
    Ok(if is_done.await? {
        page(pages, pages.unsubscribe_done(visitor))
    } else {
        page(pages, pages.link_invalid(visitor))
    })
}
