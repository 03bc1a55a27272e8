//! The leader's memory and its time, while this member leads.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use decision::command::Command;
use decision::database::Position;
use decision::decide::LeaseView;
use decision::heard;
use decision::name::{AgentId, ServiceName};
use decision::plan::Epoch;
use decision::time::Time;
use tokio::time::Instant;

/// Empty while this member does not lead.
#[derive(Default)]
pub struct Heard(Mutex<Option<Term>>);

struct Term {
    /// Of Raft: what was heard in another counts for nothing. Another member may have led under the same number, but
    /// this one does so once.
    number: u64,
    /// The wall clock is asked once, when the term begins; from then on time only flows. A clock
    /// that is set while it leads can neither expire a session nor hold one up.
    begun: Instant,
    heard: heard::Heard,
}

impl Term {
    fn now(&self) -> Time {
        self.heard.since() + self.begun.elapsed()
    }
}

impl Heard {
    /// Begins a term at `wall`, or at the newest time in the log where that is ahead: time never
    /// falls in the log.
    pub fn begin(&self, number: u64, wall: Time, newest_in_log: Time) {
        let heard = heard::Heard::new(wall.max(newest_in_log));
        *self.lock() = Some(Term { number, begun: Instant::now(), heard });
    }

    pub fn end(&self) {
        *self.lock() = None;
    }

    /// The leader's time; none when this member does not lead.
    pub fn now(&self) -> Option<Time> {
        self.lock().as_ref().map(Term::now)
    }

    /// False when this member does not lead, and so nobody heard it.
    pub fn note(&self, agent: &AgentId) -> bool {
        let mut term = self.lock();
        let Some(term) = term.as_mut() else { return false };
        let now = term.now();
        term.heard.note(agent, now);
        true
    }

    /// Takes a renewal in, whatever will be answered, and gives the term that it is noted in. None when this
    /// member does not lead, or the lease is being ended.
    pub fn renew(
        &self,
        service: &ServiceName,
        epoch: Epoch,
        told: Option<(Position, Duration)>,
    ) -> Option<u64> {
        let mut term = self.lock();
        let term = term.as_mut()?;
        let now = term.now();
        term.heard.renew(service, epoch, told, now).then_some(term.number)
    }

    /// S4: before the ends of leases are proposed, nobody can renew these any more. False, and none is
    /// sealed, when one was renewed since the rules looked: then they must look again.
    pub fn seal(&self, commands: &[Command]) -> bool {
        self.lock().as_mut().is_some_and(|term| term.heard.seal(commands))
    }

    /// What was proposed is in the state, or never will be.
    pub fn unseal(&self) {
        if let Some(term) = self.lock().as_mut() {
            term.heard.unseal();
        }
    }

    /// What the rules may know, and the time it holds at.
    pub fn view(&self) -> Option<(LeaseView, Time)> {
        let term = self.lock();
        let term = term.as_ref()?;
        Some((term.heard.view(), term.now()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Term>> {
        self.0.lock().expect("no panic under this lock")
    }
}
