//! The leader's memory of one term: when it last heard of each agent, and of each lease. It is not in the log, and is
//! lost with the term; a new leader treats every session as heard of when it began.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::command::Command;
use crate::database::Position;
use crate::decide::{LeaseView, Renewal};
use crate::name::{AgentId, ServiceName};
use crate::plan::Epoch;
use crate::planted::{self, Bug};
use crate::time::Time;

#[derive(Clone, Debug)]
pub struct Heard {
    since: Time,
    agents: BTreeMap<AgentId, Time>,
    leases: BTreeMap<ServiceName, Lease>,
}

/// The newest renewal of one database's lease.
#[derive(Clone, Copy, Debug)]
struct Lease {
    renewal: Renewal,
    /// Its end has been proposed: it can no longer be renewed.
    sealed: bool,
}

impl Heard {
    /// `since`: when the term's first entry was applied, by the leader's time.
    pub fn new(since: Time) -> Self {
        Heard { since, agents: BTreeMap::new(), leases: BTreeMap::new() }
    }

    pub fn since(&self) -> Time {
        self.since
    }

    pub fn note(&mut self, agent: &AgentId, now: Time) {
        self.agents.insert(agent.clone(), now);
    }

    /// Takes a renewal in, whatever will be answered. `told`: what the primary had written, and how long ago. False: the lease is being ended, or is of a newer epoch.
    pub fn renew(
        &mut self,
        service: &ServiceName,
        epoch: Epoch,
        told: Option<(Position, Duration)>,
        now: Time,
    ) -> bool {
        let told_at = told.map_or(now, |(_, age)| now - age);
        let renewal = Renewal { epoch, heard: now, position: told.map(|(position, _)| position), told_at };
        match self.leases.get_mut(service) {
            Some(lease) if lease.renewal.epoch > epoch => false,
            Some(lease) if lease.renewal.epoch == epoch && lease.sealed => false,
            Some(lease) if lease.renewal.epoch == epoch => {
                let Renewal { position, told_at, .. } = lease.renewal;
                // What was told with an earlier one was so then.
                lease.renewal = match told {
                    Some(_) => renewal,
                    None => Renewal { position, told_at, ..renewal },
                };
                true
            }
            _ => {
                self.leases.insert(service.clone(), Lease { renewal, sealed: false });
                true
            }
        }
    }

    /// S4: before the ends of leases are proposed, nobody can renew these any more. False, and none is
    /// sealed, when one was renewed since the rules looked: then they must look again.
    pub fn seal(&mut self, commands: &[Command]) -> bool {
        if planted::has(Bug::SealIgnored) {
            return true;
        }
        let was_renewed = ends(commands).any(|(service, end)| {
            let lease = self.leases.get(service).filter(|lease| lease.renewal.epoch == end.epoch);
            lease.is_some_and(|lease| lease.renewal.heard > end.heard)
        });
        if was_renewed {
            return false;
        }
        for (service, end) in ends(commands) {
            let lease = self.leases.entry(service.clone()).or_insert(Lease { renewal: end, sealed: true });
            if lease.renewal.epoch > end.epoch {
                // What is to end is over already.
                continue;
            }
            if lease.renewal.epoch < end.epoch {
                // This leader has heard of none since.
                lease.renewal = end;
            }
            lease.sealed = true;
        }
        true
    }

    /// What was proposed is in the state, or never will be.
    pub fn unseal(&mut self) {
        for lease in self.leases.values_mut() {
            lease.sealed = false;
        }
    }

    /// What the rules may know.
    pub fn view(&self) -> LeaseView {
        let renewals = self.leases.iter().map(|(service, lease)| (service.clone(), lease.renewal)).collect();
        LeaseView { since: self.since, heard: self.agents.clone(), renewals }
    }
}

/// The leases that are to end, each as if renewed last when its holder was heard of.
fn ends(commands: &[Command]) -> impl Iterator<Item = (&ServiceName, Renewal)> {
    commands.iter().filter_map(|command| match command {
        Command::ExpireLease { service, epoch, heard, .. } => {
            Some((service, Renewal { epoch: *epoch, heard: *heard, position: None, told_at: *heard }))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(epoch: u64, heard: u64) -> [Command; 1] {
        let heard = Time(heard);
        [Command::ExpireLease {
            service: "app".into(),
            epoch: Epoch(epoch),
            heard,
            position: None,
            told_at: None,
        }]
    }

    fn renew(heard: &mut Heard, epoch: u64, now: u64) -> bool {
        heard.renew(&"app".into(), Epoch(epoch), None, Time(now))
    }

    #[test]
    fn what_is_being_ended_is_not_renewed_until_that_is_over() {
        let mut heard = Heard::new(Time(0));
        assert!(renew(&mut heard, 3, 10));
        assert!(heard.seal(&end(3, 10)));
        assert!(!renew(&mut heard, 3, 11));
        assert_eq!(heard.view().renewals[&"app".into()].heard, Time(10));
        assert!(renew(&mut heard, 4, 12), "the next one is not being ended");
        assert!(!renew(&mut heard, 3, 13), "and what was before is over");
        let mut heard = Heard::new(Time(0));
        assert!(heard.seal(&end(3, 0)), "nobody was heard of in this term");
        assert!(!renew(&mut heard, 3, 11));
        heard.unseal();
        assert!(renew(&mut heard, 3, 12));
    }

    #[test]
    fn the_end_of_an_older_lease_forgets_no_newer_one() {
        let mut heard = Heard::new(Time(0));
        assert!(renew(&mut heard, 4, 10));
        assert!(heard.seal(&end(3, 5)));
        let held = heard.view().renewals[&"app".into()];
        assert_eq!((held.epoch, held.heard), (Epoch(4), Time(10)));
        assert!(renew(&mut heard, 4, 11));
    }

    #[test]
    fn what_was_renewed_since_the_rules_looked_is_not_ended() {
        let mut heard = Heard::new(Time(0));
        assert!(renew(&mut heard, 3, 10) && renew(&mut heard, 3, 20));
        assert!(!heard.seal(&end(3, 10)));
        assert!(renew(&mut heard, 3, 30));
    }

    #[test]
    fn a_renewal_that_tells_no_position_keeps_the_last_that_was_told() {
        let mut heard = Heard::new(Time(0));
        let position = Position { timeline: 1, lsn: crate::lsn::Lsn(7) };
        let told = Some((position, Duration::from_millis(4)));
        assert!(heard.renew(&"app".into(), Epoch(3), told, Time(10)));
        assert!(renew(&mut heard, 3, 20));
        let kept = heard.view().renewals[&"app".into()];
        assert_eq!((kept.position, kept.told_at, kept.heard), (Some(position), Time(6), Time(20)));
    }
}
