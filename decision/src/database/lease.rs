//! How long a primary may take writes. The agent counts from the moment it sent the renewal that
//! was answered, the leader from the moment it received it and longer by what clocks may drift: so
//! the agent's end comes first, whatever the network does (S1, S4). The argument is in
//! `docs/FENCING.md`.

use std::time::Duration;

use crate::time::Time;

/// How much faster one machine's clock may run than another's, in millionths. A crystal is off by
/// some 100, a virtual machine under NTP by 500 at most (RFC 5905: MAXFREQ).
pub const MAX_DRIFT_PPM: u32 = 10_000;

/// How long the leader counts a lease from the receipt of its last renewal.
pub fn span(ttl: Duration) -> Duration {
    const MILLION: u128 = 1_000_000;
    let drifted_ms = (ttl.as_millis() * (MILLION + u128::from(MAX_DRIFT_PPM))).div_ceil(MILLION);
    // Times are whole milliseconds, and both ends were cut.
    Duration::from_millis(u64::try_from(drifted_ms + 2).unwrap_or(u64::MAX))
}

/// When the leader may be sure that it is over.
pub fn expires(heard: Time, ttl: Duration) -> Time {
    heard + span(ttl)
}

/// How long after the sending of a renewal the guard kills, unless a later one was answered.
pub fn guard_after(ttl: Duration, fence_budget: Duration) -> Duration {
    ttl.saturating_sub(fence_budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_over_before_the_leader_counts_it_over() {
        for ttl_ms in [1, 550, 3_500, 20_000] {
            let ttl = Duration::from_millis(ttl_ms);
            // The holder's clock runs as slow against the leader's as is allowed, and the renewal took no time.
            let slow_ms = ttl_ms as f64 * (1.0 + f64::from(MAX_DRIFT_PPM) / 1e6);
            assert!(expires(Time(1_000), ttl).0 as f64 > 1_000.0 + slow_ms);
            assert!(guard_after(ttl, ttl / 10) < ttl);
        }
        assert_eq!(guard_after(Duration::from_millis(5), Duration::from_millis(9)), Duration::ZERO);
    }
}
