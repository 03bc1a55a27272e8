//! The leader's memory: its time, and when it last heard of each agent. Kept by the leader alone
//! and lost with its term; a new leader treats every session as heard of when it began.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use decision::decide::LeaseView;
use decision::name::AgentId;
use decision::time::Time;
use tokio::time::Instant;

/// Empty while this member does not lead.
#[derive(Default)]
pub struct Heard(Mutex<Option<Term>>);

struct Term {
    /// The wall clock is asked once, when the term begins; from then on time only flows. A clock
    /// that is set while it leads can neither expire a session nor hold one up.
    base: Time,
    begun: Instant,
    heard: BTreeMap<AgentId, Time>,
}

impl Term {
    fn now(&self) -> Time {
        self.base + self.begun.elapsed()
    }
}

impl Heard {
    /// Begins a term at `wall`, or at the newest time in the log where that is ahead: time never
    /// falls in the log.
    pub fn begin(&self, wall: Time, newest_in_log: Time) {
        let base = wall.max(newest_in_log);
        *self.lock() = Some(Term { base, begun: Instant::now(), heard: BTreeMap::new() });
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
        term.heard.insert(agent.clone(), now);
        true
    }

    /// What the rules may know, and the time it holds at.
    pub fn view(&self) -> Option<(LeaseView, Time)> {
        let term = self.lock();
        let term = term.as_ref()?;
        Some((LeaseView { since: term.base, heard: term.heard.clone() }, term.now()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Term>> {
        self.0.lock().expect("no panic under this lock")
    }
}
