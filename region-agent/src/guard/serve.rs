//! The guard proper: one thread that waits for the deadline, for children that end, and for the
//! agent, in this order.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use wire::failpoint;

use super::backstop::{BUSY_EVERY_NS, Backstop, Told};
use super::clock::{Alarm, MILLISECOND, now_ns};
use super::hold::{Holder, Reply};
use super::link::{Broken, Link};
use super::log::Log;
use super::protocol::{
    Answer, Ask, Body, Ended, Event, Lease, Message, Refusal, Role, Start, StopMode, VERSION, line, parse,
};
use super::watchdog::{PET_EVERY_NS, Watchdog};

/// After an accept that failed, as for want of file descriptors.
const ACCEPT_PAUSE_NS: u64 = 100 * MILLISECOND;

pub(super) struct Serve {
    socket: PathBuf,
    log: Log,
    holder: Holder,
    listener: UnixListener,
    signals: SignalFd,
    alarm: Alarm,
    backstop: Backstop,
    busy_told: u64,
    watchdog: Watchdog,
    client: Option<Link>,
    /// Requests of this client that are answered when all is gone.
    waiting: Vec<u64>,
    accept_after: u64,
    /// Ends once nothing runs.
    is_ending: bool,
}

/// What poll saw.
#[derive(Default)]
struct Seen {
    signals: bool,
    newcomer: bool,
    client: Option<PollFlags>,
    backstop_lost: bool,
}

impl Serve {
    /// Signals must be blocked by [`block_signals`] already.
    pub(super) fn new(
        socket: PathBuf,
        log: Log,
        holder: Holder,
        backstop: Backstop,
        watchdog: Watchdog,
    ) -> anyhow::Result<Serve> {
        let listener = bind(&socket)?;
        let signals = SignalFd::with_flags(&signals(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context("cannot listen for signals")?;
        let alarm = Alarm::new().context("cannot make a timer")?;
        Ok(Serve {
            socket,
            log,
            holder,
            listener,
            signals,
            alarm,
            backstop,
            busy_told: 0,
            watchdog,
            client: None,
            waiting: Vec::new(),
            accept_after: 0,
            is_ending: false,
        })
    }

    /// Until it is told to end and nothing runs.
    ///
    /// # Errors
    /// What makes it unable to wait. What runs then dies with this process.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        loop {
            self.tick();
            if self.is_ending && self.holder.is_idle() {
                break;
            }
            let seen = self.wait()?;
            if seen.backstop_lost && self.backstop.lives() {
                self.backstop.lost();
                self.log.line("the backstop is gone; only this process fences now");
            }
            if seen.signals {
                self.take_signals();
            }
            // An end of a child is told before anything else is looked at.
            self.tick();
            if seen.newcomer {
                self.accept();
            }
            if let Some(flags) = seen.client {
                self.talk(flags);
            }
        }
        self.log.line("ends; nothing runs");
        let _ = fs::remove_file(&self.socket);
        Ok(())
    }

    /// What time and children demand. Cheap, so it is done between any two other things.
    fn tick(&mut self) {
        let now = now_ns();
        let mut events = Vec::new();
        self.holder.tick(now, &mut events);
        self.tell_backstop(now);
        for event in events {
            self.publish(event);
        }
        let is_armed = self.holder.armed().is_some();
        if let Err(why) = self.watchdog.turn(is_armed, self.holder.is_on_time(now), now) {
            self.log.line(why);
        }
    }

    fn tell_backstop(&mut self, now: u64) {
        match self.holder.armed() {
            None => self.backstop.tell(Told::Disarmed),
            Some(_) if self.holder.is_hunting() => {
                if now >= self.busy_told + BUSY_EVERY_NS {
                    self.busy_told = now;
                    self.backstop.tell(Told::Busy);
                }
            }
            Some(lease) => self.backstop.tell(Told::Armed(lease.deadline_ns)),
        }
    }

    fn wait(&mut self) -> anyhow::Result<Seen> {
        let now = now_ns();
        let accepts = now >= self.accept_after;
        let fence_at =
            self.holder.armed().filter(|_| !self.holder.is_hunting()).map(|lease| lease.deadline_ns);
        let pet_at = self.watchdog.is_open().then_some(now + PET_EVERY_NS);
        let accept_at = (!accepts).then_some(self.accept_after);
        let wake_at = [fence_at, self.holder.next_round(), pet_at, accept_at].into_iter().flatten().min();
        self.alarm.set(wake_at).context("cannot set the timer")?;

        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.alarm.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), if accepts { PollFlags::POLLIN } else { PollFlags::empty() }),
        ];
        let client = self.client.as_ref().map(|link| {
            fds.push(PollFd::new(link.as_fd(), link.wanted()));
            fds.len() - 1
        });
        let backstop = self.backstop.poll_fd().map(|fd| {
            fds.push(fd);
            fds.len() - 1
        });
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Seen::default()),
            Err(error) => return Err(error).context("cannot wait"),
        }
        let flags = |at: usize| fds[at].revents().unwrap_or(PollFlags::empty());
        Ok(Seen {
            signals: !flags(0).is_empty(),
            newcomer: flags(2).contains(PollFlags::POLLIN),
            client: client.map(flags).filter(|flags| !flags.is_empty()),
            backstop_lost: backstop.is_some_and(|at| flags(at).contains(PollFlags::POLLERR)),
        })
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            // SIGCHLD says nothing that reaping does not find.
            if signal.ssi_signo == Signal::SIGTERM as u32 {
                self.log.line("told to end by SIGTERM; what runs is stopped first");
                self.is_ending = true;
                let _ = self.holder.stop(StopMode::Fast);
            }
        }
    }

    /// The newest client takes over: it is the agent that was started last.
    fn accept(&mut self) {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                self.accept_after = now_ns() + ACCEPT_PAUSE_NS;
                return self.log.line(format_args!("cannot accept: {error}"));
            }
        };
        if !is_allowed(&stream) {
            return self.log.line("refused a client of another user");
        }
        match Link::new(stream) {
            Ok(link) => {
                self.waiting.clear();
                let said =
                    if self.client.replace(link).is_some() { ", in place of the one before" } else { "" };
                self.log.line(format_args!("a client connected{said}"));
            }
            Err(error) => self.log.line(format_args!("cannot serve a client: {error}")),
        }
    }

    fn talk(&mut self, flags: PollFlags) {
        if let Err(why) = self.try_talk(flags) {
            self.let_go(why);
        }
    }

    fn try_talk(&mut self, flags: PollFlags) -> Result<(), Broken> {
        let Some(link) = &mut self.client else { return Ok(()) };
        if flags.contains(PollFlags::POLLOUT) {
            link.flush()?;
        }
        if flags.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            link.read()?;
            while let Some(line) = self.client.as_mut().map_or(Ok(None), Link::next_line)? {
                self.answer(&line)?;
                // However many requests there are, the deadline is not later for them.
                self.tick();
            }
        }
        Ok(())
    }

    fn answer(&mut self, request: &[u8]) -> Result<(), Broken> {
        let request = match parse(request) {
            Ok(request) => request,
            Err((id, refusal)) => return self.send(Body::Refusal { id, refusal }),
        };
        let now = now_ns();
        let id = request.id;
        if let Ask::Start(Start { role: Role::Primary(lease), .. }) = &request.ask
            && self.holder.is_idle()
        {
            // Also while this process starts it. A refusal takes it back below.
            self.backstop.tell(Told::Armed(lease.deadline_ns));
        }
        let watchdog = self.watchdog.state();
        let deed = deed(&request.ask, self.holder.armed());
        deed.inspect(|deed| failpoint::before(deed));
        let reply = self.holder.request(request.ask, now, self.backstop.lives(), watchdog);
        if let (Reply::Now(_), Some(deed)) = (&reply, deed) {
            failpoint::after(deed);
        }
        match reply {
            Reply::WhenGone => {
                self.waiting.push(id);
                Ok(())
            }
            Reply::Now(outcome) => {
                self.is_ending |= outcome == Ok(Answer::Quitting);
                // The backstop knows a deadline before the agent counts on it.
                self.tell_backstop(now);
                self.send(body(id, outcome))
            }
        }
    }

    fn publish(&mut self, event: Event) {
        let said = match &event {
            Event::Exited(Ended { pid, status, by, .. }) => {
                Some(format!("postmaster {pid} ended: {status:?}, by {by:?}"))
            }
            Event::Gone(_) => None,
        };
        let answers = match &event {
            Event::Gone(ended) => {
                if !self.waiting.is_empty() {
                    failpoint::after(KILL);
                }
                let fenced = ended.fenced;
                self.waiting.drain(..).map(|id| body(id, Ok(Answer::Killed(fenced)))).collect()
            }
            Event::Exited(_) => Vec::new(),
        };
        let sent = self
            .send(Body::Event(event))
            .and_then(|()| answers.into_iter().try_for_each(|answer| self.send(answer)));
        if let Err(why) = sent {
            self.let_go(why);
        }
        if let Some(said) = said {
            self.log.line(said);
        }
    }

    fn send(&mut self, body: Body) -> Result<(), Broken> {
        match &mut self.client {
            Some(link) => link.send(&line(&Message { v: VERSION, body })),
            None => Ok(()),
        }
    }

    fn let_go(&mut self, why: Broken) {
        self.client = None;
        self.waiting.clear();
        self.log.line(format_args!("let the client go: {why}"));
    }
}

const KILL: &str = "guard-kill";

/// What tests end this process before and after. A lease that is renewed is no deed.
fn deed(ask: &Ask, armed: Option<Lease>) -> Option<&'static str> {
    match ask {
        Ask::Start(_) => Some("guard-start"),
        Ask::Lease(lease) if armed.is_none_or(|armed| armed.epoch != lease.epoch) => Some("guard-lease"),
        Ask::Stop { .. } => Some("guard-stop"),
        Ask::Kill => Some(KILL),
        _ => None,
    }
}

fn body(id: u64, outcome: Result<Answer, Refusal>) -> Body {
    match outcome {
        Ok(answer) => Body::Answer { id, answer },
        Err(refusal) => Body::Refusal { id: Some(id), refusal },
    }
}

fn signals() -> SigSet {
    let mut signals = SigSet::empty();
    // The latter two end nobody here; they are meant for who sits at a terminal.
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
        .into_iter()
        .for_each(|signal| signals.add(signal));
    signals
}

pub(super) fn block_signals() -> nix::Result<()> {
    signals().thread_set_mask()
}

/// Replaces a socket that nobody answers on. The caller holds the lock, so no other guard does.
fn bind(path: &PathBuf) -> anyhow::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        bail!(
            "somebody answers on {}; nothing was changed, give each guard a socket of its own",
            path.display()
        );
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    // Nobody else may even enter the folder.
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .and_then(|()| listener.set_nonblocking(true))
        .with_context(|| format!("cannot prepare {}", path.display()))?;
    Ok(listener)
}

/// The same user, or root.
fn is_allowed(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}
