//! The clock that `std` asks, for code of others that cannot be handed one: h2 forgets streams that it reset after a
//! second by `std::time::Instant`, hyper writes the date. In a run both are to follow simulated time, or two runs part.
//!
//! The symbol takes the place of libc's in this program alone, which is built for simulation and nothing else.

use std::cell::Cell;
use std::time::Duration;

use nix::libc;

thread_local! {
    /// None: this thread simulates nothing.
    static NOW: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// By the wall clock, the moment at which a run begins.
const BEGINS: Duration = Duration::from_secs(1_767_225_600);

/// On this thread, from now on.
pub fn set(now: Option<Duration>) {
    NOW.set(now);
}

#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: libc::clockid_t, into: *mut libc::timespec) -> libc::c_int {
    let Some(now) = NOW.get() else {
        // SAFETY: the arguments are the caller's, for the same call.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, into) as libc::c_int };
    };
    let now = if clock == libc::CLOCK_REALTIME { BEGINS + now } else { now };
    let told = libc::timespec { tv_sec: now.as_secs() as i64, tv_nsec: i64::from(now.subsec_nanos()) };
    // SAFETY: clock_gettime(2) is called with a place for its answer.
    unsafe { into.write(told) };
    0
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn std_is_told_simulated_time_where_it_is_set() {
        let real = Instant::now();
        set(Some(Duration::from_secs(7)));
        let (begun, date) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        set(Some(Duration::from_secs(9)));
        let passed = begun.elapsed();
        set(None);
        assert_eq!((passed, date), (Duration::from_secs(2), BEGINS + Duration::from_secs(7)));
        assert!(real.elapsed() < Duration::from_secs(60));
    }
}
