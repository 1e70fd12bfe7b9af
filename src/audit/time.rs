//! Times as people read them.

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Milliseconds since the epoch as RFC 3339 writes them, in UTC.
pub(super) fn rfc3339(time_ms: u64) -> String {
    let (year, month, day) = date(time_ms / DAY);
    let (hour, minute) = (time_ms % DAY / HOUR, time_ms % HOUR / MINUTE);
    let (second, ms) = (time_ms % MINUTE / SECOND, time_ms % SECOND);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day of the Gregorian calendar. Years are counted from the first of March, so
/// that the day that some years have more is the last, and from the year 0, in whose calendar 400
/// years have 146097 days.
fn date(days_since_epoch: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    const FROM_YEAR_0_TO_EPOCH: u64 = 719_468;
    let days = days_since_epoch + FROM_YEAR_0_TO_EPOCH;
    let (era, day_of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let leap_days = day_of_era / 1460 + day_of_era / 146_096;
    let year_of_era = (day_of_era + day_of_era / 36_524 - leap_days) / 365;
    let before = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
    let day_of_year = day_of_era - before;
    // Months from March on, whose lengths repeat every five months, of 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    /// As `date -u` writes them.
    #[test]
    fn times_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (time_ms, expected) in cases {
            assert_eq!(rfc3339(time_ms), expected);
        }
    }
}
