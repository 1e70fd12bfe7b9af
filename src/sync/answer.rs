//! The text of a sync answer, written as it is worked out: events are copied in as they are.

use std::fmt::Write as _;

/// JSON under construction.
#[derive(Debug)]
pub(super) struct Json(String);

impl Json {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Begins an object or an array: writes its bracket.
    pub(super) fn open(&mut self, bracket: char) {
        self.0.push(bracket);
    }

    /// Ends an object or an array.
    pub(super) fn close(&mut self, bracket: char) {
        self.0.push(bracket);
    }

    /// A key of an object, after a comma if it is not the first.
    pub(super) fn key(&mut self, key: &str) {
        self.separate();
        self.string(key);
        self.0.push(':');
    }

    /// An element of an array that is JSON already.
    pub(super) fn element(&mut self, json: &str) {
        self.separate();
        self.0.push_str(json);
    }

    /// JSON as it is.
    pub(super) fn raw(&mut self, json: &str) {
        self.0.push_str(json);
    }

    /// A string.
    pub(super) fn string(&mut self, text: &str) {
        let plain = text
            .bytes()
            .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
        if plain {
            self.0.push('"');
            self.0.push_str(text);
            self.0.push('"');
        } else {
            // A string always has a JSON form.
            self.0
                .push_str(&serde_json::to_string(text).unwrap_or_default());
        }
    }

    /// A number.
    pub(super) fn number(&mut self, number: i64) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{number}");
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, value: bool) {
        self.0.push_str(if value { "true" } else { "false" });
    }

    /// An array of what is JSON already.
    pub(super) fn array(&mut self, items: &[String]) {
        self.0.push('[');
        for item in items {
            self.element(item);
        }
        self.0.push(']');
    }

    /// An object with the one key `events`, an array of what is JSON already.
    pub(super) fn events(&mut self, key: &str, events: &[String]) {
        self.key(key);
        self.0.push_str("{\"events\":");
        self.array(events);
        self.0.push('}');
    }

    /// The same, unless there are none: then it says `false`.
    pub(super) fn events_if_any(&mut self, key: &str, events: &[String]) -> bool {
        if !events.is_empty() {
            self.events(key, events);
        }
        !events.is_empty()
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }

    fn separate(&mut self) {
        if !self.0.ends_with(['{', '[', ':']) {
            self.0.push(',');
        }
    }
}

/// An event without sender: account data, receipts, typing.
pub(super) fn plain_event(event_type: &str, content: &str) -> String {
    let mut json = Json::with_capacity(event_type.len() + content.len() + 32);
    json.open('{');
    json.key("content");
    json.raw(content);
    json.key("type");
    json.string(event_type);
    json.close('}');
    json.into_string()
}
