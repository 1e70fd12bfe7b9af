//! Pages as answers: the language, and the headers that keep a page to itself.

use axum::response::{Html, IntoResponse as _, Response};
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{
        ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};

use crate::{
    language::Language,
    pages::{Page, Pages, Visitor},
};

/// Who opens an address: its query may name a language, else the browser's is taken.
pub(super) fn visitor(headers: &HeaderMap, uri: &Uri) -> Visitor {
    Visitor::opening(uri.query(), language(headers))
}

/// The language that the browser likes best.
pub(super) fn language(headers: &HeaderMap) -> Language {
    let header = headers.get(ACCEPT_LANGUAGE);
    Language::from_accept_language(header.and_then(|value| value.to_str().ok()))
}

/// The language that a client asks for, if it is one of ours.
pub(super) fn asked_language(headers: &HeaderMap) -> Option<Language> {
    let header = headers.get(ACCEPT_LANGUAGE);
    Language::asked_for(header.and_then(|value| value.to_str().ok()))
}

/// A page in a window that a client has opened, and waits to hear from: that the two belong together
/// must not be cut. The page may have the script that tells the client.
pub(super) fn popup(pages: &Pages, shown: Page) -> Response {
    let mut response = page(pages, shown);
    let headers = response.headers_mut();
    let unsafe_none = HeaderValue::from_static("unsafe-none");
    headers.insert("cross-origin-opener-policy", unsafe_none);
    let policy = pages.popup_security_policy().clone();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// A page as an answer.
pub(super) fn page(pages: &Pages, page: Page) -> Response {
    let status = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Html(page.html)).into_response();
    let headers = response.headers_mut();
    let policy = pages.content_security_policy().clone();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    let language = HeaderValue::from_static(page.language.tag());
    headers.insert(CONTENT_LANGUAGE, language);
    // For browsers that do not know the policy's `frame-ancestors`.
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    let own = HeaderValue::from_static("same-origin");
    headers.insert("cross-origin-opener-policy", own.clone());
    headers.insert("cross-origin-resource-policy", own);
    private(response)
}

/// The address of a page may hold secrets: it is not kept, and not told to the next page.
pub(super) fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
