//! What clients of older versions leave out, put in before a request is parsed.

use bytes::Bytes;
use serde_json::{Map, Value};

/// The endpoints that take it: `room` is the module of our own type for `createRoom`.
const ENDPOINTS: [&str; 2] = ["invite_user", "room"];

/// The field with a token of the identity server, which is this one and needs none.
const TOKEN: &str = "id_access_token";

/// The body of a request as today's clients send it. `endpoint` is the name of its type's module.
///
/// Clients from before version r0.6 of the specification invite addresses without
/// `id_access_token`, and Tchap's still do (tchap.md 4.3 and 5.1).
pub(super) fn complete(endpoint: &str, body: Bytes) -> Bytes {
    if !ENDPOINTS.contains(&endpoint) || !contains(&body, "id_server") {
        return body;
    }
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(&body) else {
        return body;
    };
    let mut changed = add_token(&mut fields);
    if let Some(Value::Array(invites)) = fields.get_mut("invite_3pid") {
        for invite in invites.iter_mut().filter_map(Value::as_object_mut) {
            changed |= add_token(invite);
        }
    }
    if !changed {
        return body;
    }
    serde_json::to_vec(&fields).map_or(body, Bytes::from)
}

/// Adds an empty token to an address's invitation that has none.
fn add_token(invite: &mut Map<String, Value>) -> bool {
    let lacks = invite.contains_key("id_server") && !invite.contains_key(TOKEN);
    if lacks {
        invite.insert(TOKEN.to_owned(), Value::String(String::new()));
    }
    lacks
}

fn contains(body: &[u8], word: &str) -> bool {
    body.windows(word.len())
        .any(|bytes| bytes == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn completed(endpoint: &str, body: &Value) -> Value {
        let body = complete(endpoint, Bytes::from(body.to_string()));
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn invitations_without_a_token_get_an_empty_one() {
        let old = json!({ "id_server": "a", "medium": "email", "address": "b" });
        let mut new = old.clone();
        new[TOKEN] = json!("");
        assert_eq!(completed("invite_user", &old), new);
        let room = |invite: &Value| json!({ "name": "id_server", "invite_3pid": [invite, 1] });
        assert_eq!(completed("room", &room(&old)), room(&new));
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let token = json!({ "id_server": "a", "id_access_token": "t", "address": "b" });
        assert_eq!(completed("invite_user", &token), token);
        let user = json!({ "user_id": "@id_server:example.org" });
        assert_eq!(completed("invite_user", &user), user);
        let other = json!({ "id_server": "a" });
        assert_eq!(completed("bind_3pid", &other), other);
        let broken = Bytes::from_static(b"{\"id_server\":");
        assert_eq!(complete("invite_user", broken.clone()), broken);
    }
}
