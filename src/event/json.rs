//! Small pieces of JSON text.

/// Appends `text` as a JSON string, escaped as canonical JSON asks.
pub(super) fn push_string(out: &mut String, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Appends `"key":"text",`: a field that another one follows.
pub(super) fn push_field(out: &mut String, key: &str, text: &str) {
    push_string(out, key);
    out.push(':');
    push_string(out, text);
    out.push(',');
}
