//! The rules of rooms that need no database.

mod create;
mod directory;
mod read;
mod state_rules;
mod typing;

/// A content, from JSON.
fn content(json: &str) -> ruma::CanonicalJsonObject {
    serde_json::from_str(json).unwrap()
}
