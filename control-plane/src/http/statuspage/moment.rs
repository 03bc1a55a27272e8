//! Moments for people; for programs it is `decision::time::rfc3339`.

use decision::time::{Time, rfc3339};

/// To the second.
pub(in crate::http) fn readable(at: Time) -> String {
    let text = rfc3339(at);
    format!("{} {} UTC", &text[..10], &text[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_readable() {
        assert_eq!(readable(Time(951_827_696_007)), "2000-02-29 12:34:56 UTC");
    }
}
