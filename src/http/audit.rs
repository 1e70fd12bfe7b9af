//! What the audit log learns of requests: what the policy denied, which limits somebody ran into,
//! and what administrators did. One place for all endpoints, around them.
//!
//! Authentication notes who sends a request ([`Sender`]), and an error that it came from the
//! policy or from a limit ([`Note`]); here the two meet.

use std::sync::{Arc, OnceLock};

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use http::{HeaderValue, StatusCode, Uri};
use serde_json::{Map, Value};

use crate::{
    accounts::Requester,
    audit::{Actor, Audit, Entry, Outcome, action},
};

/// Who sent a request, once that is known. It travels with the request.
#[derive(Clone, Default)]
pub(super) struct Sender(Arc<OnceLock<Arc<Requester>>>);

impl Sender {
    /// Notes who it was.
    pub(super) fn set(&self, requester: &Arc<Requester>) {
        // A request has one sender.
        let _ = self.0.set(Arc::clone(requester));
    }
}

/// Why a request was refused, where the log wants to know. It travels with the answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Note {
    /// By the policy.
    Denied {
        rule: &'static str,
        reason: &'static str,
    },
    /// By a limit, with its name.
    Limited(&'static str),
}

/// A request under way.
pub(super) struct Watch {
    sender: Sender,
    uri: Uri,
    route: Option<MatchedPath>,
    method: &'static str,
}

impl Watch {
    /// To be called before the handler.
    pub(super) fn begin(request: &mut Request, method: &'static str) -> Self {
        let sender = Sender::default();
        request.extensions_mut().insert(sender.clone());
        Self {
            sender,
            uri: request.uri().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            method,
        }
    }

    /// To be called with the answer.
    pub(super) fn end(&self, audit: &Audit, request_id: &HeaderValue, response: &mut Response) {
        let note = response.extensions_mut().remove::<Note>();
        let status = response.status();
        match note {
            Some(Note::Denied { rule, reason }) => {
                let mut entry = self.entry(action::POLICY_DENIED, request_id);
                entry.outcome = Outcome::Denied;
                entry.rule = Some(rule);
                entry.details = details(&[("reason", reason.into())]);
                audit.record(entry);
            }
            Some(Note::Limited(limit)) => self.limited(audit, limit, request_id),
            None if status == StatusCode::TOO_MANY_REQUESTS => {
                self.limited(audit, "other", request_id);
            }
            None => (),
        }
        if self.is_admin_api() {
            self.administrated(audit, status, request_id);
        }
    }

    /// Whether the route is one for administrators, of Matrix, of Synapse or of this server: all of
    /// them have a part that says so.
    fn is_admin_api(&self) -> bool {
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        route.split('/').any(|part| part == "admin")
    }

    fn limited(&self, audit: &Audit, limit: &'static str, request_id: &HeaderValue) {
        let mut entry = self.entry(action::LIMIT_HIT, request_id);
        entry.outcome = Outcome::Denied;
        entry.details = details(&[("limit", limit.into())]);
        audit.record_limit(limit, entry);
    }

    /// Requests of the admin API, but for those of people who are not even logged in and get
    /// nothing.
    fn administrated(&self, audit: &Audit, status: StatusCode, request_id: &HeaderValue) {
        let is_stranger = self.sender.0.get().is_none();
        if is_stranger && !status.is_success() {
            return;
        }
        let mut entry = self.entry(action::ADMIN_REQUEST, request_id);
        entry.outcome = match status {
            StatusCode::FORBIDDEN => Outcome::Denied,
            status if status.is_success() => Outcome::Done,
            _ => Outcome::Failed,
        };
        entry.details = details(&[("status", status.as_u16().into())]);
        audit.record(entry);
    }

    fn entry(&self, action: &'static str, request_id: &HeaderValue) -> Entry {
        let sender = self.sender.0.get();
        Entry {
            action,
            actor: sender.map_or(Actor::Anonymous, |requester| requester.actor()),
            object: Some(format!("{} {}", self.method, self.path())),
            request_id: request_id.to_str().ok().map(str::to_owned),
            ..Entry::default()
        }
    }

    /// The path: as the route has it, with the Matrix ids that stand in it. Other arguments may be
    /// tokens and addresses, and are left out.
    fn path(&self) -> String {
        let Some(route) = &self.route else {
            return "unmatched".to_owned();
        };
        shown_path(route.as_str(), self.uri.path())
    }
}

fn shown_path(route: &str, path: &str) -> String {
    let mut given = path.split('/');
    let parts = route.split('/').map(|part| {
        let given = given.next().unwrap_or_default();
        if !part.starts_with('{') {
            return part.to_owned();
        }
        let plain = unescape(given);
        if plain.starts_with(['@', '!', '#', '$']) {
            plain
        } else {
            part.to_owned()
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The escapes of the letters that Matrix ids have.
fn unescape(text: &str) -> String {
    const ESCAPES: [(&str, &str); 6] = [
        ("%40", "@"),
        ("%3A", ":"),
        ("%3a", ":"),
        ("%21", "!"),
        ("%23", "#"),
        ("%24", "$"),
    ];
    let unescape = |text: String, (escape, letter): &(&str, &str)| text.replace(escape, letter);
    ESCAPES.iter().fold(text.to_owned(), unescape)
}

fn details(fields: &[(&str, Value)]) -> Map<String, Value> {
    let fields = fields.iter().cloned();
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::shown_path;

    #[test]
    fn ids_are_shown_and_other_arguments_are_not() {
        let cases = [
            (
                "/_synapse/admin/v1/deactivate/{user_id}",
                "/_synapse/admin/v1/deactivate/%40jean%3Aexample.org",
                "/_synapse/admin/v1/deactivate/@jean:example.org",
            ),
            (
                "/_synapse/admin/v1/registration_tokens/{token}",
                "/_synapse/admin/v1/registration_tokens/secret",
                "/_synapse/admin/v1/registration_tokens/{token}",
            ),
            (
                "/_synapse/admin/v1/threepid/{medium}/users/{address}",
                "/_synapse/admin/v1/threepid/email/users/jean@gouv.fr",
                "/_synapse/admin/v1/threepid/{medium}/users/{address}",
            ),
        ];
        for (route, path, shown) in cases {
            assert_eq!(shown_path(route, path), shown);
        }
    }
}
