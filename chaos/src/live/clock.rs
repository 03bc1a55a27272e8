//! One clock for all records: nanoseconds since this process first asked.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub fn now_ns() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// A moment that a server of this machine told by its wall clock.
pub(super) fn from_wall_us(us: i64) -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Compared now, so that what the wall clock was corrected by since does not count.
    let age = wall.saturating_sub(Duration::from_micros(us.unsigned_abs()));
    now_ns().saturating_sub(age.as_nanos() as u64)
}

pub fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
