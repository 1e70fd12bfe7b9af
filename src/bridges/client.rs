//! Requests to application services.
//!
//! Specification v1.19, application service API, "Authorisation" and "Legacy routes".

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use url::Url;

use super::Bridges;
use crate::{
    appservice::Service,
    outbound::{Answer, Bounds, OutboundError},
};

/// How much of an answer is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// A request to a service: the parts of its path after the API's own.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<Bytes>,
    /// What stands before the path for services that are older than the specification; `None`: they
    /// do not have this.
    pub(super) older: Option<&'a [&'a str]>,
}

/// Where older services have the same paths.
pub(super) const AT_ROOT: &[&str] = &[];
/// Where they have those about networks.
pub(super) const UNSTABLE: &[&str] = &["_matrix", "app", "unstable"];
const CURRENT: &[&str] = &["_matrix", "app", "v1"];

impl Bridges {
    /// Asks a service. One that does not know the path is asked as it would have been before there
    /// was a specification. `None`: the service has no address.
    pub(super) async fn ask(
        &self,
        service: &Service,
        ask: &Ask<'_>,
    ) -> Option<Result<Answer, OutboundError>> {
        let base = service.url()?;
        let answer = self.send(service, base, CURRENT, ask).await;
        let Some(older) = ask.older else {
            return Some(answer);
        };
        match answer {
            Ok(answer) if is_unknown(&answer) => {
                let again = self.send(service, base, older, ask).await;
                // The first answer says more than that there is no such path.
                let says_more = again.as_ref().is_ok_and(|again| !is_unknown(again));
                Some(if says_more { again } else { Ok(answer) })
            }
            answer => Some(answer),
        }
    }

    async fn send(
        &self,
        service: &Service,
        base: &Url,
        prefix: &[&str],
        ask: &Ask<'_>,
    ) -> Result<Answer, OutboundError> {
        let is_older = prefix != CURRENT;
        let url = address(base, prefix, ask, is_older.then(|| service.hs_token()));
        let mut headers = HeaderMap::new();
        // A token that no header can hold is refused with its registration.
        if let Ok(mut token) = HeaderValue::try_from(format!("Bearer {}", service.hs_token())) {
            token.set_sensitive(true);
            headers.insert(AUTHORIZATION, token);
        }
        if ask.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let bounds = Bounds {
            timeout: self.0.settings.timeout,
            max_bytes: MAX_ANSWER,
            max_redirects: 0,
        };
        let outbound = &self.0.parts.outbound;
        outbound
            .send(ask.method.clone(), &url, headers, ask.body.clone(), bounds)
            .await
    }
}

/// Whether a service does not know the path: not what it says of an alias or a user.
fn is_unknown(answer: &Answer) -> bool {
    match answer.status {
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => true,
        StatusCode::NOT_FOUND => {
            #[derive(serde::Deserialize)]
            struct Said {
                errcode: String,
            }
            let said: Result<Said, _> = serde_json::from_slice(&answer.body);
            said.is_ok_and(|said| said.errcode == "M_UNRECOGNIZED") || answer.body.is_empty() || {
                // Frameworks answer a page.
                serde_json::from_slice::<serde_json::Value>(&answer.body).is_err()
            }
        }
        _ => false,
    }
}

/// `token`: in the query as well, as older services expect.
fn address(base: &Url, prefix: &[&str], ask: &Ask<'_>, token: Option<&str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(prefix).extend(ask.path);
    }
    if !ask.query.is_empty() || token.is_some() {
        let mut pairs = url.query_pairs_mut();
        pairs.extend_pairs(ask.query);
        if let Some(token) = token {
            pairs.append_pair("access_token", token);
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_put_together_from_their_parts() {
        let ask = Ask {
            method: Method::GET,
            path: &["rooms", "#a b/c:example.org"],
            query: &[("a", "b&c")],
            body: None,
            older: Some(AT_ROOT),
        };
        for (base, expected) in [
            (
                "http://a:1",
                "http://a:1/_matrix/app/v1/rooms/%23a%20b%2Fc:example.org?a=b%26c",
            ),
            (
                "http://a/sub/",
                "http://a/sub/_matrix/app/v1/rooms/%23a%20b%2Fc:example.org?a=b%26c",
            ),
        ] {
            let base = Url::parse(base).unwrap();
            assert_eq!(address(&base, CURRENT, &ask, None).as_str(), expected);
        }
        let base = Url::parse("http://a").unwrap();
        let older = address(&base, AT_ROOT, &ask, Some("t"));
        let expected = "http://a/rooms/%23a%20b%2Fc:example.org?a=b%26c&access_token=t";
        assert_eq!(older.as_str(), expected);
    }
}
