//! Reads request bodies, within bounds of size, time and depth.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::StatusCode;
use ruma::api::error::ErrorCode;

use super::error::ApiError;

/// How deep arrays and objects of a body may stand inside each other.
///
/// Below the depth at which `serde_json` gives up (128), which does not count what stands inside a
/// raw value; events of bodies are wrapped a few levels deeper when they are sent on.
const MAX_DEPTH: usize = 100;

/// What stands for a missing body.
const EMPTY: Bytes = Bytes::from_static(b"{}");

/// How much of a body is read to be thrown away, in bytes.
const MAX_DRAINED: usize = 16 << 20;

/// Reads a whole body of JSON: 413 over `limit` bytes, 408 after `time`, 400 if it nests too deep.
///
/// A body that comes in one piece is not copied. No body is an object without fields.
pub(super) async fn read_json(body: Body, limit: usize, time: Duration) -> Result<Bytes, ApiError> {
    if body.is_end_stream() {
        return Ok(EMPTY);
    }
    let bytes = read(body, limit, time).await?;
    if bytes.is_empty() {
        return Ok(EMPTY);
    }
    if std::str::from_utf8(&bytes).is_err() {
        return Err(ApiError::not_json("The body is not UTF-8"));
    }
    // serde would take an array for an object, field by field.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(ApiError::bad_json("Found an array, expected an object"));
    }
    if nests_deeper(&bytes, MAX_DEPTH) {
        return Err(ApiError::bad_json("The JSON nests too deep"));
    }
    Ok(bytes)
}

/// Reads a whole body of anything: 413 over `limit` bytes, 408 after `time`.
pub(super) async fn read(body: Body, limit: usize, time: Duration) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        drain(body, time).await;
        return Err(too_large(limit));
    }
    let mut stream = body.into_data_stream();
    let read = tokio::time::timeout(time, collect(&mut stream, limit));
    let read = read.await.map_err(|_| {
        let status = StatusCode::REQUEST_TIMEOUT;
        ApiError::new(status, ErrorCode::Unknown, "The body did not come in time")
    })?;
    match read {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            drain(Body::new(stream), time).await;
            Err(error)
        }
    }
}

async fn collect(body: &mut BodyDataStream, limit: usize) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("The body broke off"))?;
        if first.len() + rest.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        if first.is_empty() {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// Reads what is left of a body and throws it away.
///
/// To be called before an answer that does not care for the body: a connection that is closed while
/// its client still sends is reset, and the answer may be lost with it. What is long, or does not
/// come in time, is left alone.
pub(super) async fn drain(body: Body, time: Duration) {
    if body.is_end_stream() {
        return;
    }
    let mut body = body.into_data_stream();
    let mut left = MAX_DRAINED;
    let reading = async {
        while let Some(Ok(chunk)) = body.next().await {
            match left.checked_sub(chunk.len()) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Whether it came to its end or not, the answer is next.
    let _ = tokio::time::timeout(time, reading).await;
}

fn too_large(limit: usize) -> ApiError {
    ApiError::too_large(format!("The body is larger than {limit} bytes"))
}

/// Whether brackets outside of strings stand more than `max` deep inside each other.
///
/// Looks at bytes only, so it also counts in what turns out to be no JSON.
fn nests_deeper(bytes: &[u8], max: usize) -> bool {
    // That many brackets would not fit.
    if bytes.len() <= max {
        return false;
    }
    let mut depth = 0_usize;
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => (),
        }
    }
    false
}

/// Goes behind the end of a string.
fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, nests_deeper};

    #[test]
    fn brackets_are_counted_outside_of_strings_only() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!nests_deeper(nested(MAX_DEPTH).as_bytes(), MAX_DEPTH));
        assert!(nests_deeper(nested(MAX_DEPTH + 1).as_bytes(), MAX_DEPTH));
        let in_string = format!(r#"{{"a":"{}\"{}"}}"#, "[".repeat(200), "{".repeat(200));
        assert!(!nests_deeper(in_string.as_bytes(), MAX_DEPTH));
        let beside = format!("[{}1]", "[],".repeat(500));
        assert!(!nests_deeper(beside.as_bytes(), MAX_DEPTH));
        let open = format!(r#""\\"{}"#, "{".repeat(101));
        assert!(nests_deeper(open.as_bytes(), MAX_DEPTH));
    }
}
