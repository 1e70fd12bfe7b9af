//! Durations and sizes as people write them: `"3d"`, `"1h30m"`, `"250ms"`, `"1MiB"`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};

/// Milliseconds per unit, longest first. `ms` stands before `m` and `s`, of which it is made.
const DURATION_UNITS: &[(&str, u64)] = &[
    ("w", 7 * 24 * 60 * 60 * 1000),
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("ms", 1),
    ("m", 60 * 1000),
    ("s", 1000),
];

/// Bytes per unit, longest first. `KB` and its like are refused: nobody agrees on them.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("GiB", 1024 * 1024 * 1024),
    ("MiB", 1024 * 1024),
    ("KiB", 1024),
    ("B", 1),
];

/// A text that is neither a duration nor a size.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a whole number followed by a unit")]
pub struct NotAQuantity;

/// A duration of whole milliseconds, written with units: `w`, `d`, `h`, `m`, `s`, `ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(Duration);

impl HumanDuration {
    /// `milliseconds` as a duration.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// `seconds` as a duration.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration itself.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// The duration in milliseconds.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the duration is nothing at all.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for unit in ["w", "d", "h", "m", "s", "ms"] {
            let length = DURATION_UNITS.iter().find(|(name, _)| *name == unit);
            let Some((_, length)) = length else { continue };
            if rest >= *length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

impl FromStr for HumanDuration {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let mut rest = text.trim();
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(NotAQuantity);
        }
        while !rest.is_empty() {
            let (number, after) = number_and_rest(rest)?;
            let unit = DURATION_UNITS
                .iter()
                .find(|(name, _)| after.starts_with(name));
            let (name, length) = unit.ok_or(NotAQuantity)?;
            let part = number.checked_mul(*length).ok_or(NotAQuantity)?;
            total = total.checked_add(part).ok_or(NotAQuantity)?;
            rest = after.strip_prefix(name).unwrap_or_default();
        }
        Ok(Self::from_millis(total))
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;

        impl Visitor<'_> for Expected {
            type Value = HumanDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a duration such as "30s", "15m" or "3d""#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HumanDuration, E> {
                let wrong = |_| E::invalid_value(Unexpected::Str(text), &self);
                text.parse().map_err(wrong)
            }
        }

        deserializer.deserialize_str(Expected)
    }
}

/// A size in bytes, written as a number or with a unit: `B`, `KiB`, `MiB`, `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanSize(u64);

impl HumanSize {
    /// `bytes` as a size.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size in bytes, as lengths in memory are counted.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for HumanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, size): &&(&str, u64)| self.0 >= *size && self.0.is_multiple_of(*size);
        match SIZE_UNITS.iter().find(fits) {
            Some((name, size)) => write!(f, "{}{name}", self.0 / size),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl FromStr for HumanSize {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let (number, unit) = number_and_rest(text.trim())?;
        let size = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim());
        let (_, size) = size.ok_or(NotAQuantity)?;
        number.checked_mul(*size).map(Self).ok_or(NotAQuantity)
    }
}

impl Serialize for HumanSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;

        impl Visitor<'_> for Expected {
            type Value = HumanSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a size such as "64KiB" or "10MiB", or a number of bytes"#)
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<HumanSize, E> {
                let wrong = |_| E::invalid_value(Unexpected::Signed(bytes), &self);
                u64::try_from(bytes).map(HumanSize).map_err(wrong)
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<HumanSize, E> {
                Ok(HumanSize(bytes))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HumanSize, E> {
                let wrong = |_| E::invalid_value(Unexpected::Str(text), &self);
                text.parse().map_err(wrong)
            }
        }

        deserializer.deserialize_any(Expected)
    }
}

/// Splits the leading number off `text`.
fn number_and_rest(text: &str) -> Result<(u64, &str), NotAQuantity> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Ok((number.parse().map_err(|_| NotAQuantity)?, rest))
}
