//! The second process: parent of the guard proper, which it watches. If that one is killed, or is
//! stopped or hangs past its deadline, this one kills all that is below.
//!
//! The kernel brings what is below a killed guard to this process, because it is a subreaper too.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, pipe2};

use super::clock::{Alarm, MILLISECOND, now_ns};
use super::log::Log;
use super::process::{Hunt, Reaped, reap};
use super::protocol::ExitStatus;
use super::watchdog;

/// How long the guard is given to fence by itself, from when it is noticed that it is due: both wake
/// at the same moment, also after the machine was suspended. The fence is due by then, so that haste costs
/// nothing; what is left of the shortest fence budget is for the killing.
const GRACE_NS: u64 = 20 * MILLISECOND;
/// A guard that fences says so this often,
pub(super) const BUSY_EVERY_NS: u64 = 200 * MILLISECOND;
/// and is believed for this long.
const BUSY_NS: u64 = 1_000 * MILLISECOND;

/// What the guard tells the backstop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Disarmed,
    /// Until then.
    Armed(u64),
    /// Fencing.
    Busy,
}

impl Told {
    fn encode(self) -> [u8; 8] {
        match self {
            Told::Disarmed => 0,
            Told::Busy => u64::MAX,
            Told::Armed(at) => at.clamp(1, u64::MAX - 1),
        }
        .to_be_bytes()
    }

    fn decode(octets: [u8; 8]) -> Told {
        match u64::from_be_bytes(octets) {
            0 => Told::Disarmed,
            u64::MAX => Told::Busy,
            at => Told::Armed(at),
        }
    }
}

/// When the guard counts as hung.
#[derive(Debug, Default)]
struct Patience {
    /// When it should have told something new.
    due: Option<u64>,
    /// When it was first noticed that it did not.
    noticed: Option<u64>,
}

impl Patience {
    fn told(&mut self, told: Told, now: u64) {
        self.noticed = None;
        self.due = match told {
            Told::Disarmed => None,
            Told::Armed(at) => Some(at),
            Told::Busy => Some(now + BUSY_NS),
        };
    }

    /// Called with all read that the guard told.
    fn is_over(&mut self, now: u64) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        now >= *self.noticed.get_or_insert(now) + GRACE_NS
    }

    fn wake_at(&self) -> Option<u64> {
        self.noticed.map(|noticed| noticed + GRACE_NS).or(self.due)
    }
}

/// The guard's end of the pipe. Never blocks.
#[derive(Debug)]
pub(super) struct Backstop {
    pipe: Option<File>,
    last: Told,
    /// What did not fit in the pipe, because nobody reads it.
    is_owed: bool,
}

impl Backstop {
    pub(super) fn new(pipe: OwnedFd) -> nix::Result<Backstop> {
        set_nonblocking(&pipe)?;
        Ok(Backstop { pipe: Some(pipe.into()), last: Told::Disarmed, is_owed: false })
    }

    pub(super) fn tell(&mut self, told: Told) {
        if self.last != told || told == Told::Busy {
            self.last = told;
            self.is_owed = true;
        }
        if let (Some(pipe), true) = (&mut self.pipe, self.is_owed) {
            match pipe.write(&self.last.encode()) {
                Ok(_) => self.is_owed = false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.pipe = None,
            }
        }
    }

    pub(super) fn lives(&self) -> bool {
        self.pipe.is_some()
    }

    /// To poll: readable by none, it only tells when the other end is gone, or room is wanted.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        let wanted = if self.is_owed { PollFlags::POLLOUT } else { PollFlags::empty() };
        self.pipe.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), wanted))
    }

    pub(super) fn lost(&mut self) {
        self.pipe = None;
    }
}

pub(super) fn set_nonblocking(fd: impl AsFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// Both ends, not inherited by anybody.
pub(super) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(&reader)?;
    Ok((reader, writer))
}

/// How the guard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was told to, and nothing ran.
    Quit,
    /// It died or hung; all that it left was killed.
    Fenced,
}

/// Watches `guard`, its child, until it and all below have ended.
pub(super) fn watch(
    guard: Pid,
    reader: OwnedFd,
    log: &Log,
    watchdog: Option<&PathBuf>,
) -> anyhow::Result<Outcome> {
    let mut pipe = File::from(reader);
    let mut signals = SigSet::empty();
    [Signal::SIGCHLD, Signal::SIGTERM].into_iter().for_each(|signal| signals.add(signal));
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("cannot listen for signals")?;
    let mut alarm = Alarm::new().context("cannot make a timer")?;
    let mut patience = Patience::default();
    let mut pipe_ended = false;
    let status = loop {
        while let Some(told) = hear(&mut pipe, &mut pipe_ended) {
            patience.told(told, now_ns());
        }
        if patience.is_over(now_ns()) {
            // What is below comes here once it is gone.
            let _ = kill(guard, Signal::SIGKILL);
            log.line(format_args!("the guard {guard} did not run past its deadline; it is killed"));
            break None;
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            if signal.ssi_signo == Signal::SIGTERM as u32 {
                let _ = kill(guard, Signal::SIGTERM);
            }
        }
        match reap() {
            Reaped::Ended(pid, status) if pid == guard => break Some(status),
            Reaped::Ended(..) => continue,
            Reaped::NoneLeft => break Some(ExitStatus::Unknown),
            Reaped::Nameless if kill(guard, None) == Err(Errno::ESRCH) => break Some(ExitStatus::Unknown),
            Reaped::Nameless => continue,
            Reaped::SomeLeft => {}
        }
        alarm.set(patience.wake_at()).context("cannot set the timer")?;
        let mut fds = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(alarm.as_fd(), PollFlags::POLLIN),
        ];
        if !pipe_ended {
            fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
    };
    let killed = clear(log);
    if status == Some(ExitStatus::Code(0)) && killed == 0 {
        return Ok(Outcome::Quit);
    }
    log.line(format_args!("the guard ended ({status:?}); {killed} processes that it left were killed"));
    if let Some(path) = watchdog {
        let _ = watchdog::quiet(path);
    }
    Ok(Outcome::Fenced)
}

/// What the guard told, oldest first; none for now.
fn hear(pipe: &mut File, ended: &mut bool) -> Option<Told> {
    let mut octets = [0; 8];
    match pipe.read(&mut octets) {
        // Writes of eight octets into a pipe are whole.
        Ok(8) => Some(Told::decode(octets)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Ok(_) | Err(_) => {
            *ended = true;
            None
        }
    }
}

/// Kills all that is below this process, until nothing is.
fn clear(log: &Log) -> usize {
    let mut hunt = Hunt::default();
    let mut rounds = 0_u32;
    loop {
        match reap() {
            Reaped::NoneLeft => return hunt.killed(),
            Reaped::SomeLeft => {}
            Reaped::Ended(..) | Reaped::Nameless => continue,
        }
        if let Err(error) = hunt.round(None)
            && rounds == 0
        {
            log.line(format_args!("cannot kill all, trying on: {error}"));
        }
        rounds = rounds.saturating_add(1);
        std::thread::sleep(std::time::Duration::from_millis(if rounds < 100 { 1 } else { 20 }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 5_000 * MILLISECOND;

    #[test]
    fn patience_ends_a_grace_after_it_was_noticed() {
        let mut patience = Patience::default();
        assert!(!patience.is_over(u64::MAX));
        patience.told(Told::Armed(AT), 0);
        assert!(!patience.is_over(AT - 1));
        assert_eq!(patience.wake_at(), Some(AT));
        // Noticed late, as after a suspend: the guard has its grace all the same.
        let noticed = AT + 60_000 * MILLISECOND;
        assert!(!patience.is_over(noticed));
        assert_eq!(patience.wake_at(), Some(noticed + GRACE_NS));
        assert!(!patience.is_over(noticed + GRACE_NS - 1));
        assert!(patience.is_over(noticed + GRACE_NS));
    }

    #[test]
    fn whoever_says_that_it_fences_or_was_renewed_is_believed() {
        let mut patience = Patience::default();
        patience.told(Told::Armed(AT), 0);
        assert!(!patience.is_over(AT));
        patience.told(Told::Busy, AT);
        assert!(!patience.is_over(AT + GRACE_NS));
        assert!(!patience.is_over(AT + BUSY_NS));
        assert!(patience.is_over(AT + BUSY_NS + GRACE_NS));
        patience.told(Told::Disarmed, 0);
        assert!(!patience.is_over(u64::MAX));
    }

    #[test]
    fn what_is_told_is_heard() {
        let (reader, writer) = pipe().unwrap();
        let (mut reader, mut ended) = (File::from(reader), false);
        let mut backstop = Backstop::new(writer).unwrap();
        backstop.tell(Told::Disarmed);
        assert_eq!(hear(&mut reader, &mut ended), None, "what is known is not repeated");
        for told in [Told::Armed(7), Told::Busy, Told::Disarmed] {
            backstop.tell(told);
            assert_eq!(hear(&mut reader, &mut ended), Some(told));
        }
        // Nobody reads: the newest is told once there is room.
        (1..20_000).for_each(|at| backstop.tell(Told::Armed(at)));
        while hear(&mut reader, &mut ended).is_some() {}
        backstop.tell(Told::Armed(19_999));
        assert_eq!(hear(&mut reader, &mut ended), Some(Told::Armed(19_999)));
        assert!(!ended && backstop.lives());
        drop(reader);
        backstop.tell(Told::Armed(20_000));
        assert!(!backstop.lives());
    }
}
