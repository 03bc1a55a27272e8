//! How long a client had no success.

use std::time::Duration;

use decision::time::Time;

/// Between two successes, the later of them after the fault; and when it was over. A time without that goes on, until
/// `last`, is one, too.
pub(super) fn longest(successes: &[Time], last: Time, fault_at: Time) -> Option<(Duration, Time)> {
    let ends = successes.iter().skip(1).copied().chain([last]);
    let gaps = successes.iter().zip(ends).map(|(begin, end)| (end.since(*begin), end));
    gaps.filter(|(_, end)| *end >= fault_at).max_by_key(|(gap, _)| *gap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_success_that_goes_on_counts() {
        let at = |ms: &[u64]| ms.iter().map(|ms| Time(*ms)).collect::<Vec<_>>();
        assert_eq!(longest(&at(&[5, 15]), Time(45), Time(0)), Some((Duration::from_millis(30), Time(45))));
        let before = at(&[5, 45, 55, 75]);
        assert_eq!(longest(&before, Time(75), Time(60)), Some((Duration::from_millis(20), Time(75))));
        assert_eq!(longest(&[], Time(45), Time(0)), None);
    }
}
