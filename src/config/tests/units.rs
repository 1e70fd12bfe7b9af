//! Durations and sizes as people write them.

use std::time::Duration;

use super::super::{HumanDuration, HumanSize};

#[test]
fn durations_are_read_and_written() {
    let cases = [
        ("250ms", 250, "250ms"),
        ("30s", 30_000, "30s"),
        ("15m", 900_000, "15m"),
        ("90m", 5_400_000, "1h30m"),
        ("3d", 259_200_000, "3d"),
        ("2w", 1_209_600_000, "2w"),
        ("1h30m", 5_400_000, "1h30m"),
        ("1m1ms", 60_001, "1m1ms"),
        ("0s", 0, "0s"),
    ];
    for (text, milliseconds, written) in cases {
        let duration: HumanDuration = text.parse().unwrap();
        assert_eq!(
            duration.get(),
            Duration::from_millis(milliseconds),
            "{text}"
        );
        assert_eq!(duration.to_string(), written);
        assert_eq!(written.parse(), Ok(duration));
    }
}

#[test]
fn what_is_no_duration_is_refused() {
    for text in [
        "",
        "3",
        "d",
        "3 d",
        "1.5h",
        "-1s",
        "3days",
        "99999999999999999999s",
        "9999999999999999w",
    ] {
        assert!(text.parse::<HumanDuration>().is_err(), "{text}");
    }
}

#[test]
fn sizes_are_read_and_written() {
    let cases = [
        ("1MiB", 1 << 20, "1MiB"),
        ("1024 KiB", 1 << 20, "1MiB"),
        ("1500B", 1500, "1500B"),
    ];
    for (text, bytes, written) in cases {
        let size: HumanSize = text.parse().unwrap();
        assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, written));
    }
    assert_eq!(
        toml::Value::Integer(7).try_into(),
        Ok(HumanSize::from_bytes(7))
    );
    for text in ["", "1MB", "1", "MiB", "99999999999GiB"] {
        assert!(text.parse::<HumanSize>().is_err(), "{text}");
    }
}
