//! The clock of deadlines: `CLOCK_BOOTTIME`, which nobody can set and which counts while the machine
//! is suspended. It starts anew at boot, as the guard does.

use std::os::fd::{AsFd, BorrowedFd};

use decision::time::Uptime;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;

const SECOND: u64 = 1_000_000_000;
pub(super) const MILLISECOND: u64 = 1_000_000;

/// Nanoseconds since boot, suspension included.
pub fn now_ns() -> u64 {
    let now = clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).expect("Linux has it since 2.6.39");
    let part = |part: i64| u64::try_from(part).expect("time since boot is not negative");
    part(now.tv_sec()) * SECOND + part(now.tv_nsec())
}

/// The same as a value that the rules take.
pub fn now() -> Uptime {
    Uptime(now_ns())
}

/// Becomes readable at a moment of that clock. A timeout of `poll` would not do: it stands still
/// while the machine is suspended, and would then fire late by that long.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: TimerFd,
    at: Option<u64>,
}

impl Alarm {
    pub(super) fn new() -> nix::Result<Alarm> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Alarm { timer: TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?, at: None })
    }

    pub(super) fn set(&mut self, at: Option<u64>) -> nix::Result<()> {
        if self.at == at {
            return Ok(());
        }
        match at {
            None => self.timer.unset()?,
            Some(at) => {
                // Zero would mean never.
                let at = at.max(1);
                let part = |part: u64| i64::try_from(part).unwrap_or(i64::MAX);
                let at = TimeSpec::new(part(at / SECOND), part(at % SECOND));
                self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
        }
        self.at = at;
        Ok(())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn rings(alarm: &Alarm, timeout: PollTimeout) -> bool {
        poll(&mut [PollFd::new(alarm.as_fd(), PollFlags::POLLIN)], timeout).unwrap() == 1
    }

    #[test]
    fn an_alarm_rings_when_it_is_time_and_not_before() {
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Some(now_ns() + 3600 * SECOND)).unwrap();
        assert!(!rings(&alarm, PollTimeout::ZERO));
        let at = now_ns() + 5 * MILLISECOND;
        alarm.set(Some(at)).unwrap();
        assert!(rings(&alarm, PollTimeout::from(60_000_u16)));
        assert!(now_ns() >= at);
        alarm.set(None).unwrap();
        assert!(!rings(&alarm, PollTimeout::ZERO));
        alarm.set(Some(0)).unwrap();
        assert!(rings(&alarm, PollTimeout::from(60_000_u16)), "what is past rings at once");
    }
}
