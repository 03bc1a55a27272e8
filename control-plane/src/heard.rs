//! The leader's memory: its time, and when it last heard of each agent. Kept by the leader alone
//! and lost with its term; a new leader treats every session as heard of when it began.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use decision::command::Command;
use decision::database::Position;
use decision::decide::{LeaseView, Renewal};
use decision::name::{AgentId, ServiceName};
use decision::plan::Epoch;
use decision::time::Time;
use tokio::time::Instant;

/// Empty while this member does not lead.
#[derive(Default)]
pub struct Heard(Mutex<Option<Term>>);

struct Term {
    /// Of Raft: what was heard in another counts for nothing.
    number: u64,
    /// The wall clock is asked once, when the term begins; from then on time only flows. A clock
    /// that is set while it leads can neither expire a session nor hold one up.
    base: Time,
    begun: Instant,
    heard: BTreeMap<AgentId, Time>,
    leases: BTreeMap<ServiceName, Lease>,
}

/// The newest renewal of one database's lease.
struct Lease {
    renewal: Renewal,
    /// Its end has been proposed: it can no longer be renewed.
    sealed: bool,
}

impl Term {
    fn now(&self) -> Time {
        self.base + self.begun.elapsed()
    }

    fn seal(&mut self, command: &Command) {
        let Command::ExpireLease { service, epoch, heard, .. } = command else { return };
        let unheard = Renewal { epoch: *epoch, heard: *heard, position: None };
        let lease = self.leases.entry(service.clone()).or_insert(Lease { renewal: unheard, sealed: false });
        if lease.renewal.epoch != *epoch {
            // Of an epoch that is over: this leader has heard of none since.
            *lease = Lease { renewal: unheard, sealed: false };
        }
        lease.sealed = true;
    }
}

impl Heard {
    /// Begins a term at `wall`, or at the newest time in the log where that is ahead: time never
    /// falls in the log.
    pub fn begin(&self, number: u64, wall: Time, newest_in_log: Time) {
        let base = wall.max(newest_in_log);
        let (heard, leases) = (BTreeMap::new(), BTreeMap::new());
        *self.lock() = Some(Term { number, base, begun: Instant::now(), heard, leases });
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

    /// Takes a renewal in, whatever will be answered, and gives the term that it is noted in. None when this
    /// member does not lead, or the lease is being ended.
    pub fn renew(&self, service: &ServiceName, epoch: Epoch, position: Option<Position>) -> Option<u64> {
        let mut term = self.lock();
        let term = term.as_mut()?;
        let renewal = Renewal { epoch, heard: term.now(), position };
        match term.leases.get_mut(service) {
            Some(lease) if lease.renewal.epoch > epoch => None,
            Some(lease) if lease.renewal.epoch == epoch && lease.sealed => None,
            Some(lease) if lease.renewal.epoch == epoch => {
                let position = position.or(lease.renewal.position);
                lease.renewal = Renewal { position, ..renewal };
                Some(term.number)
            }
            _ => {
                term.leases.insert(service.clone(), Lease { renewal, sealed: false });
                Some(term.number)
            }
        }
    }

    /// S4: before the ends of leases are proposed, nobody can renew these any more. False, and none is
    /// sealed, when one was renewed since the rules looked: then they must look again.
    pub fn seal(&self, commands: &[Command]) -> bool {
        let mut term = self.lock();
        let Some(term) = term.as_mut() else { return false };
        let was_renewed = commands.iter().any(|command| {
            let Command::ExpireLease { service, epoch, heard, .. } = command else { return false };
            let lease = term.leases.get(service).filter(|lease| lease.renewal.epoch == *epoch);
            lease.is_some_and(|lease| lease.renewal.heard > *heard)
        });
        if was_renewed {
            return false;
        }
        commands.iter().for_each(|command| term.seal(command));
        true
    }

    /// What was proposed is in the state, or never will be.
    pub fn unseal(&self) {
        if let Some(term) = self.lock().as_mut() {
            for lease in term.leases.values_mut() {
                lease.sealed = false;
            }
        }
    }

    /// What the rules may know, and the time it holds at.
    pub fn view(&self) -> Option<(LeaseView, Time)> {
        let term = self.lock();
        let term = term.as_ref()?;
        let renewals = term.leases.iter().map(|(service, lease)| (service.clone(), lease.renewal)).collect();
        Some((LeaseView { since: term.base, heard: term.heard.clone(), renewals }, term.now()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Term>> {
        self.0.lock().expect("no panic under this lock")
    }
}
