//! Documents that are the same for many and change seldom: clients that have one are told so.
//!
//! RFC 9110, "Conditional Requests". All other answers are kept by nobody: see `layers`.

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use sha2::{Digest as _, Sha256};

use super::error::JSON;

/// How long a client goes on with a document before it asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// For some minutes, and a proxy may keep it for others.
    Minutes,
    /// For an hour, and a proxy may keep it for others.
    Hour,
    /// Each time; it is for one user, and no proxy keeps it.
    Always,
}

impl Freshness {
    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Minutes => "public, max-age=600",
            Self::Hour => "public, max-age=3600",
            Self::Always => "private, no-cache",
        })
    }
}

/// JSON, written once.
#[derive(Clone, Debug)]
pub(super) struct Document {
    text: Bytes,
    tag: HeaderValue,
}

impl Document {
    pub(super) fn new(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        let digest = Sha256::digest(&text);
        let digest = URL_SAFE_NO_PAD.encode(digest.get(..12).unwrap_or_default());
        // Compression is another form of the same, so the tag is a weak one.
        let tag = HeaderValue::try_from(format!("W/\"{digest}\""));
        Self {
            text,
            // Such a text is always a header's value.
            tag: tag.unwrap_or(HeaderValue::from_static("W/\"\"")),
        }
    }

    /// The answer to a request with these headers: the document, or that the client has it.
    pub(super) fn answer(&self, headers: &HeaderMap, freshness: Freshness) -> Response {
        let about = [
            (ETAG, self.tag.clone()),
            (CACHE_CONTROL, freshness.header()),
        ];
        if self.is_known(headers) {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        (about, [(CONTENT_TYPE, JSON)], self.text.clone()).into_response()
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let own = self.tag.as_bytes();
        let own = own.strip_prefix(b"W/").unwrap_or(own);
        headers.get_all(IF_NONE_MATCH).iter().any(|value| {
            let mut tags = value.as_bytes().split(|byte| *byte == b',');
            tags.any(|tag| {
                let tag = tag.trim_ascii();
                tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == own
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(if_none_match: &'static str) -> HeaderMap {
        let value = HeaderValue::from_static(if_none_match);
        HeaderMap::from_iter([(IF_NONE_MATCH, value)])
    }

    #[test]
    fn a_client_that_has_the_document_gets_none() {
        let document = Document::new("{}");
        let tag = document.tag.to_str().unwrap().to_owned();
        let other = Document::new("{ }");
        let first = document.answer(&HeaderMap::new(), Freshness::Hour);
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[ETAG], tag);
        let strong = tag.trim_start_matches("W/").to_owned();
        for (asked, status) in [
            (tag.clone(), StatusCode::NOT_MODIFIED),
            (strong, StatusCode::NOT_MODIFIED),
            (format!("\"a\" , {tag}"), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            (other.tag.to_str().unwrap().to_owned(), StatusCode::OK),
            ("nonsense".to_owned(), StatusCode::OK),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, asked.parse().unwrap())]);
            let answer = document.answer(&headers, Freshness::Always);
            assert_eq!(answer.status(), status, "{asked}");
        }
        let answer = document.answer(&asked("*"), Freshness::Always);
        assert_eq!(answer.headers()[CACHE_CONTROL], "private, no-cache");
    }
}
