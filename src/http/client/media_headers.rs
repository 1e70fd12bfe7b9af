//! What is said of bytes that strangers made, so that no browser takes them for more than they are.
//!
//! Specification v1.19, client-server API, "Content repository" and "Serving inline content";
//! RFC 6266 (file names), RFC 9110 (ranges).

use std::ops::Range;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use crate::media::hex;

/// The types that browsers may show where they stand.
const INLINE: &[&str] = &[
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const POLICY: &str = "sandbox; default-src 'none'; script-src 'none'; \
    plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';";
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Whether a browser shows it or saves it.
#[derive(Clone, Copy)]
pub(super) enum Disposition<'a> {
    /// As its type allows, under this name.
    ByType(Option<&'a str>),
    /// It is shown.
    Inline(&'a str),
}

/// Says what something is and what browsers may do with it.
pub(super) fn describe(headers: &mut HeaderMap, content_type: Option<&str>, how: Disposition<'_>) {
    let given = content_type.and_then(|text| HeaderValue::from_str(text).ok());
    headers.insert(CONTENT_TYPE, given.unwrap_or(OCTETS));
    let (is_inline, name) = match how {
        Disposition::ByType(name) => (content_type.is_some_and(is_inline), name),
        Disposition::Inline(name) => (true, Some(name)),
    };
    let text = disposition(is_inline, name);
    let value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("attachment"));
    headers.insert(CONTENT_DISPOSITION, value);
    protect(headers);
}

/// Says what browsers must not do with it.
pub(super) fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CORP, "cross-origin"),
        (REFERRER_POLICY, "no-referrer"),
        // The same id always has the same bytes, unless an administrator takes them away.
        (CACHE_CONTROL, "private, max-age=86400, immutable"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn is_inline(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    INLINE.iter().any(|one| one.eq_ignore_ascii_case(essence))
}

/// The header, with a name in any script.
fn disposition(is_inline: bool, name: Option<&str>) -> String {
    let kind = if is_inline { "inline" } else { "attachment" };
    let name: String = name
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    if name.is_empty() {
        return kind.to_owned();
    }
    if name.is_ascii() {
        let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("{kind}; filename=\"{escaped}\"");
    }
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex(&[byte]).to_uppercase());
        }
    }
    format!("{kind}; filename*=utf-8''{encoded}")
}

/// Which part of something is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// All of it, also where several parts are asked for, or nobody knows what.
    Whole,
    /// One part.
    Part(Range<u64>),
    /// A part that there is not.
    Nothing,
}

/// The part of `size` bytes that a `Range` header asks for.
pub(super) fn span(range: &HeaderValue, size: u64) -> Span {
    let Some(part) = range
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("bytes="))
    else {
        return Span::Whole;
    };
    let Some((first, last)) = part.trim().split_once('-') else {
        return Span::Whole;
    };
    if first.is_empty() {
        return match last.parse::<u64>() {
            Ok(0) => Span::Nothing,
            Ok(_) if size == 0 => Span::Nothing,
            Ok(length) => Span::Part(size.saturating_sub(length)..size),
            Err(_) => Span::Whole,
        };
    }
    let Ok(first) = first.parse::<u64>() else {
        return Span::Whole;
    };
    let end = if last.is_empty() {
        size
    } else {
        let Ok(last) = last.parse::<u64>() else {
            return Span::Whole;
        };
        if last < first {
            return Span::Whole;
        }
        last.saturating_add(1).min(size)
    };
    if first >= size {
        return Span::Nothing;
    }
    Span::Part(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_can_be_asked_for() {
        let cases = [
            ("bytes=0-4", Span::Part(0..5)),
            ("bytes=5-", Span::Part(5..10)),
            ("bytes=-3", Span::Part(7..10)),
            ("bytes=-30", Span::Part(0..10)),
            ("bytes=8-99", Span::Part(8..10)),
            ("bytes=10-", Span::Nothing),
            ("bytes=-0", Span::Nothing),
            ("bytes=5-4", Span::Whole),
            ("bytes=0-1,3-4", Span::Whole),
            ("bytes=a-b", Span::Whole),
            ("lines=1-2", Span::Whole),
            ("bytes=99999999999999999999-", Span::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(
                span(&HeaderValue::from_static(header), 10),
                expected,
                "{header}"
            );
        }
        assert_eq!(
            span(&HeaderValue::from_static("bytes=-1"), 0),
            Span::Nothing
        );
    }

    #[test]
    fn names_are_kept_in_any_script() {
        let cases = [
            (true, None, "inline"),
            (false, Some(""), "attachment"),
            (true, Some("a b;c.txt"), "inline; filename=\"a b;c.txt\""),
            (true, Some("a\"b\\c"), "inline; filename=\"a\\\"b\\\\c\""),
            (
                false,
                Some("été.pdf"),
                "attachment; filename*=utf-8''%C3%A9t%C3%A9.pdf",
            ),
            (false, Some("a\r\nb: c"), "attachment; filename=\"ab: c\""),
            (
                false,
                Some("🐈 %"),
                "attachment; filename*=utf-8''%F0%9F%90%88%20%25",
            ),
        ];
        for (is_inline, name, expected) in cases {
            assert_eq!(disposition(is_inline, name), expected);
        }
    }

    #[test]
    fn only_what_is_harmless_is_shown_in_place() {
        for (content_type, expected) in [
            ("text/plain; charset=utf-8", true),
            ("IMAGE/PNG", true),
            ("text/html", false),
            ("image/svg+xml", false),
            ("application/pdf", false),
            ("", false),
        ] {
            assert_eq!(is_inline(content_type), expected, "{content_type}");
        }
    }
}
