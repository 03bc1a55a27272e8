//! Moments as text.

use decision::time::Time;
use time::OffsetDateTime;

/// RFC 3339 in UTC with milliseconds.
pub(in crate::http) fn rfc3339(at: Time) -> String {
    let moment = date(at);
    let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
    let (hour, minute, second, ms) = moment.to_hms_milli();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// For people, to the second.
pub(in crate::http) fn readable(at: Time) -> String {
    let text = rfc3339(at);
    format!("{} {} UTC", &text[..10], &text[11..19])
}

/// The last moment of the year 9999 stands for all after it, which RFC 3339 cannot write.
fn date(at: Time) -> OffsetDateTime {
    const LAST_MS: u64 = 253_402_300_799_999;
    let nanos = i128::from(at.0.min(LAST_MS)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(Time(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Time(951_827_696_007)), "2000-02-29T12:34:56.007Z");
        assert_eq!(rfc3339(Time(1_735_689_599_999)), "2024-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(Time(u64::MAX)), "9999-12-31T23:59:59.999Z");
        assert_eq!(readable(Time(951_827_696_007)), "2000-02-29 12:34:56 UTC");
    }
}
