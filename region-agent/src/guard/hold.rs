//! The postmaster that is held: started, armed, told to stop, fenced, and proven gone.

use decision::database::deadline::Deadline;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use super::clock::MILLISECOND;
use super::launch::launch;
use super::log::{Log, wall_ms};
use super::process::{Hunt, Reaped, descendants, reap};
use super::protocol::{
    Answer, Ask, By, Code, Ended, Event, ExitStatus, Fenced, Lease, Phase, Refusal, Role, Running, Start,
    Status, StopMode, WatchdogState, Why,
};

/// Between two rounds of a hunt; SIGCHLD comes between.
const ROUND_NS: u64 = MILLISECOND;
/// A hunt that takes this long meets processes that the kernel cannot end yet; it goes on slower.
const LONG_NS: u64 = 500 * MILLISECOND;
const SLOW_ROUND_NS: u64 = 20 * MILLISECOND;
/// From here on a fence is not on time, and the watchdog is no longer petted.
const OVERDUE_NS: u64 = 5_000 * MILLISECOND;

#[derive(Debug)]
pub(super) struct Holder {
    log: Log,
    rules: Deadline,
    run: Option<Run>,
    runs: u64,
    last: Option<Ended>,
    /// What PostgreSQL's score is set back to.
    oom_score_adj: Option<String>,
}

/// One postmaster, until all that it left is gone too.
#[derive(Debug)]
struct Run {
    number: u64,
    pid: Pid,
    started_ms: u64,
    is_asked: bool,
    ended: Option<Ended>,
    chase: Option<Chase>,
    fence: Option<Fence>,
}

/// A hunt with its rhythm.
#[derive(Debug)]
struct Chase {
    hunt: Hunt,
    since: u64,
    next_round: u64,
    was_logged: bool,
}

#[derive(Debug)]
struct Fence {
    why: Why,
    /// The deadline, or when it was asked for.
    since: u64,
    signalled: Option<u64>,
}

/// What a request leads to.
#[derive(Debug)]
pub(super) enum Reply {
    Now(Result<Answer, Refusal>),
    /// With the next [`Event::Gone`].
    WhenGone,
}

impl Holder {
    pub(super) fn new(log: Log, oom_score_adj: Option<String>) -> Holder {
        Holder { log, rules: Deadline::default(), run: None, runs: 0, last: None, oom_score_adj }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.run.is_none()
    }

    pub(super) fn armed(&self) -> Option<Lease> {
        self.rules.armed()
    }

    /// Killing, with somebody left.
    pub(super) fn is_hunting(&self) -> bool {
        self.chase().is_some()
    }

    pub(super) fn next_round(&self) -> Option<u64> {
        self.chase().map(|chase| chase.next_round)
    }

    /// All is as it should be, or a fence takes no longer than it may.
    pub(super) fn is_on_time(&self, now: u64) -> bool {
        self.armed().is_none_or(|lease| now < lease.deadline_ns + OVERDUE_NS)
    }

    fn chase(&self) -> Option<&Chase> {
        self.run.as_ref()?.chase.as_ref()
    }

    /// Fences if it is time, and sees who ended. What is to be told goes to `events`.
    pub(super) fn tick(&mut self, now: u64, events: &mut Vec<Event>) {
        if let Some(lease) = self.rules.armed()
            && self.rules.is_due(now)
        {
            self.fence(Why::Deadline, lease.deadline_ns, now);
        }
        self.hunt(now);
        self.reap(now, events);
    }

    fn fence(&mut self, why: Why, since: u64, now: u64) {
        let Some(run) = &mut self.run else { return };
        if run.fence.is_some() {
            return;
        }
        run.fence = Some(Fence { why, since, signalled: None });
        run.chase.get_or_insert_with(|| Chase::new(now));
    }

    fn hunt(&mut self, now: u64) {
        let Some(run) = &mut self.run else { return };
        let Some(chase) = &mut run.chase else { return };
        if now < chase.next_round {
            return;
        }
        let forker = run.ended.is_none().then_some(run.pid);
        let outcome = chase.hunt.round(forker);
        // The deed comes first; the file below may be on a disk that hangs.
        let after = super::now_ns();
        chase.next_round = after + if after - chase.since < LONG_NS { ROUND_NS } else { SLOW_ROUND_NS };
        if let Some(fence) = &mut run.fence
            && fence.signalled.is_none()
        {
            fence.signalled = Some(after);
            let late = now.saturating_sub(fence.since) / 1_000;
            self.log.line(format_args!(
                "fencing postmaster {} ({:?}): begun after {late} µs, {} processes signalled after {} µs",
                run.pid,
                fence.why,
                chase.hunt.killed(),
                after.saturating_sub(fence.since) / 1_000,
            ));
        }
        let is_long = after - chase.since >= LONG_NS;
        if (is_long || outcome.is_err()) && !chase.was_logged {
            chase.was_logged = true;
            let why = outcome
                .err()
                .map_or_else(|| "the kernel does not end them yet".to_owned(), |e| e.to_string());
            self.log.line(format_args!("not all processes are gone, killing on: {why}"));
        }
    }

    fn reap(&mut self, now: u64, events: &mut Vec<Event>) {
        loop {
            match reap() {
                Reaped::Ended(pid, status) => self.ended(pid, status, now, events),
                Reaped::Nameless => {
                    if let Some(pid) = self.run.as_ref().map(|run| run.pid)
                        && kill(pid, None) == Err(Errno::ESRCH)
                    {
                        self.ended(pid, ExitStatus::Unknown, now, events);
                    }
                }
                Reaped::SomeLeft => return,
                Reaped::NoneLeft => break,
            }
        }
        let Some(mut run) = self.run.take() else { return };
        let killed = run.chase.as_ref().map_or(0, |chase| chase.hunt.killed());
        let mut ended = match run.ended.take() {
            Some(ended) => ended,
            None => run.end(ExitStatus::Unknown),
        };
        if let Some(fence) = run.fence {
            let us = |at: u64| at.saturating_sub(fence.since) / 1_000;
            let gone = super::now_ns();
            let fenced = Fenced {
                why: fence.why,
                signalled_us: us(fence.signalled.unwrap_or(gone)),
                gone_us: us(gone),
                killed,
            };
            ended.fenced = Some(fenced);
            self.log.line(format_args!(
                "fenced: no process is left, {} µs after the deadline or request; {killed} killed",
                fenced.gone_us
            ));
        } else if killed > 0 {
            self.log.line(format_args!("killed {killed} processes that postmaster {} left", ended.pid));
        }
        self.rules.ended();
        self.last = Some(ended.clone());
        events.push(Event::Gone(ended));
    }

    fn ended(&mut self, pid: Pid, status: ExitStatus, now: u64, events: &mut Vec<Event>) {
        let Some(run) = self.run.as_mut().filter(|run| run.pid == pid && run.ended.is_none()) else {
            return;
        };
        let ended = run.end(status);
        run.ended = Some(ended.clone());
        // Backends without a postmaster may still answer a commit. They are hunted next, once the end
        // is told.
        run.chase.get_or_insert_with(|| Chase::new(now));
        self.last = Some(ended.clone());
        events.push(Event::Exited(ended));
    }

    pub(super) fn request(&mut self, ask: Ask, now: u64, backstop: bool, watchdog: WatchdogState) -> Reply {
        Reply::Now(match ask {
            Ask::Start(start) => self.start(&start, now),
            Ask::Lease(lease) => self.lease(lease, now),
            Ask::Stop { mode } => self.stop(mode),
            Ask::Status => Ok(Answer::Status(Box::new(self.status(now, backstop, watchdog)))),
            Ask::Kill if self.is_idle() => Ok(Answer::Killed(None)),
            Ask::Kill => {
                self.fence(Why::Asked, now, now);
                return Reply::WhenGone;
            }
            Ask::Quit if self.is_idle() => Ok(Answer::Quitting),
            Ask::Quit => Err(running("the guard stays; stop or kill what runs first")),
        })
    }

    fn start(&mut self, start: &Start, now: u64) -> Result<Answer, Refusal> {
        let failed = |why: String| Refusal { code: Code::Failed, why };
        if !self.is_idle() || reap() != Reaped::NoneLeft {
            return Err(running("nothing was started; a guard holds one postmaster"));
        }
        if start.argv.is_empty() {
            return Err(failed("nothing was started: argv names no program".to_owned()));
        }
        // Whoever cannot be found cannot be fenced.
        if let Err(error) = descendants(getpid()) {
            return Err(failed(format!("nothing was started: processes cannot be listed: {error}")));
        }
        // Before the start, so that no moment is without a deadline.
        if let Role::Primary(lease) = start.role {
            self.rules.arm(lease, now)?;
        }
        let pid = launch(start, self.oom_score_adj.as_deref())
            .and_then(|child| i32::try_from(child.id()).map(Pid::from_raw).map_err(std::io::Error::other));
        let pid = match pid {
            Ok(pid) => pid,
            Err(error) => {
                self.rules.ended();
                return Err(failed(format!("nothing was started: {error}")));
            }
        };
        self.runs += 1;
        self.run = Some(Run {
            number: self.runs,
            pid,
            started_ms: wall_ms(),
            is_asked: false,
            ended: None,
            chase: None,
            fence: None,
        });
        let program = start.argv.first().map_or("", String::as_str);
        let role = match start.role {
            Role::Primary(lease) => format!("primary, armed with epoch {}", lease.epoch),
            Role::Replica => "replica, without a deadline".to_owned(),
        };
        self.log.line(format_args!("started {program:?} as {pid}: {role}"));
        Ok(Answer::Started { run: self.runs, pid: pid.as_raw() })
    }

    fn lease(&mut self, lease: Lease, now: u64) -> Result<Answer, Refusal> {
        match &self.run {
            Some(run) if run.ended.is_none() && run.fence.is_none() => {}
            Some(run) if run.fence.is_some() => {
                let why = "the postmaster is being fenced; a lease cannot stop that".to_owned();
                return Err(Refusal { code: Code::Expired, why });
            }
            _ => return Err(not_running("there is nothing to arm")),
        }
        let before = self.rules.armed();
        self.rules.arm(lease, now)?;
        if before.is_none_or(|before| before.epoch != lease.epoch) {
            let ahead = (lease.deadline_ns - now) / MILLISECOND;
            self.log.line(format_args!("armed with epoch {}, deadline in {ahead} ms", lease.epoch));
        }
        Ok(Answer::Leased)
    }

    /// Tells the postmaster to shut down. Its deadline holds until it has.
    pub(super) fn stop(&mut self, mode: StopMode) -> Result<Answer, Refusal> {
        let Some(run) = self.run.as_mut().filter(|run| run.ended.is_none()) else {
            return Err(not_running("there is nothing to stop"));
        };
        let signal = match mode {
            StopMode::Smart => Signal::SIGTERM,
            StopMode::Fast => Signal::SIGINT,
            StopMode::Immediate => Signal::SIGQUIT,
        };
        kill(run.pid, signal).map_err(|error| Refusal {
            code: Code::Failed,
            why: format!("cannot signal {}: {error}", run.pid),
        })?;
        run.is_asked = true;
        self.log.line(format_args!("told postmaster {} to stop: {mode:?}", run.pid));
        Ok(Answer::Signalled { pid: run.pid.as_raw() })
    }

    fn status(&self, now: u64, backstop: bool, watchdog: WatchdogState) -> Status {
        let lease = self.rules.armed();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: getpid().as_raw(),
            now_ns: now,
            epoch: self.rules.highest_epoch(),
            running: self.run.as_ref().map(|run| Running {
                run: run.number,
                pid: run.pid.as_raw(),
                started_ms: run.started_ms,
                phase: run.phase(),
                lease,
                remaining_ms: lease.map(|lease| lease.deadline_ns.saturating_sub(now) / MILLISECOND),
            }),
            last: self.last.clone(),
            backstop,
            watchdog,
        }
    }
}

impl Run {
    fn phase(&self) -> Phase {
        if self.fence.is_some() {
            Phase::Fencing
        } else if self.ended.is_some() {
            Phase::Clearing
        } else if self.is_asked {
            Phase::Stopping
        } else {
            Phase::Up
        }
    }

    fn end(&self, status: ExitStatus) -> Ended {
        let by = match (&self.fence, self.is_asked) {
            (Some(_), _) => By::Fenced,
            (None, true) => By::Asked,
            (None, false) => By::Itself,
        };
        Ended { run: self.number, pid: self.pid.as_raw(), status, by, at_ms: wall_ms(), fenced: None }
    }
}

impl Chase {
    fn new(now: u64) -> Chase {
        Chase { hunt: Hunt::default(), since: now, next_round: now, was_logged: false }
    }
}

fn running(what: &str) -> Refusal {
    Refusal { code: Code::Running, why: format!("a postmaster runs or is not all gone yet; {what}") }
}

fn not_running(what: &str) -> Refusal {
    Refusal { code: Code::NotRunning, why: format!("no postmaster runs; {what}") }
}
