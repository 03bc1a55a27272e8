//! What clients were promised, and who took writes when: what S1 and S3 are judged by.

use std::collections::BTreeSet;
use std::time::Duration;

use decision::database::{InstanceReport, Ownership};
use decision::name::{RegionName, ServiceName};
use decision::plan::{Epoch, Kind, Plan};
use decision::state::State;

use super::ground::Machine;
use super::ledger::Ledger;
use super::queue::Moment;
use super::wal::{BranchId, Log, Record};

/// What is measured with clocks that drift apart, in the longest that may be lost.
pub const LATE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    at: Moment,
    record: Record,
}

/// Whoever takes writes now lacks this, and some replica lost it when its data were put back.
#[derive(Clone, Copy, Debug)]
pub struct Missed {
    pub machine: Machine,
    pub epoch: Epoch,
    pub record: Record,
}

pub struct History {
    service: ServiceName,
    branches: u32,
    /// Who takes writes now.
    writers: BTreeSet<Machine>,
    acknowledged: Vec<Acknowledged>,
    /// The highest epoch at which anything was acknowledged.
    newest: Epoch,
    /// What may be lost when somebody takes writes: what was acknowledged so long before the last that was. None: nothing.
    pub may_lose: Option<Duration>,
    /// The same when this epoch was granted.
    granted: (Epoch, Option<Duration>),
    /// And who might have been chosen then: had come to rest for that, and a session, and had not just fallen.
    pub were_there: BTreeSet<RegionName>,
    /// What a person gave up by granting this one the lease, until somebody takes writes, or the grant is undone.
    given_up: Option<(RegionName, Vec<Acknowledged>)>,
    /// Who took writes last.
    wrote_last: Option<RegionName>,
    /// What replicas had, and what they were left with when their data were put back.
    put_back: Vec<(Log, Log)>,
    /// Who writes is over before another begins, and not only what he acknowledges.
    pub is_asynchronous: bool,
    /// S1 is demanded: clocks are as it assumes.
    has_one_writer: bool,
    /// Whoever writes does so by the controllers' word alone, and never by promises of the others.
    by_lease: bool,
    /// S3, where nothing may be lost: it is, if anybody else had it who might have been chosen.
    pub missed: Vec<Missed>,
    pub lost: usize,
    pub writes: usize,
    /// When anything was acknowledged last.
    pub last: Option<Moment>,
}

impl History {
    pub fn new(service: ServiceName, is_asynchronous: bool, has_one_writer: bool, by_lease: bool) -> History {
        History {
            service,
            branches: 0,
            writers: BTreeSet::new(),
            acknowledged: Vec::new(),
            newest: Epoch::default(),
            may_lose: None,
            granted: (Epoch::default(), None),
            given_up: None,
            wrote_last: None,
            were_there: BTreeSet::new(),
            put_back: Vec::new(),
            is_asynchronous,
            has_one_writer,
            by_lease,
            missed: Vec::new(),
            lost: 0,
            writes: 0,
            last: None,
        }
    }

    pub fn branch(&mut self) -> BranchId {
        self.branches += 1;
        BranchId(self.branches)
    }

    /// S1: nothing is acknowledged after the first of a later epoch; nor by anybody whom the log does not name, for
    /// that a lease is over comes there after it is over.
    pub fn acknowledges(
        &mut self,
        at: Moment,
        region: &RegionName,
        record: Record,
        epoch: Epoch,
        ledger: &mut Ledger,
    ) {
        if epoch < self.newest && self.has_one_writer {
            let detail =
                format!("{region} acknowledged a write at epoch {epoch} after one at {}", self.newest);
            ledger.finds(at, "S1", detail);
        }
        let held = ledger.newest().1.databases.get(&self.service);
        let holder = held.and_then(Ownership::holder);
        if self.by_lease && self.has_one_writer && holder != Some(region) {
            let holder = holder.map_or("nobody", RegionName::as_str);
            let detail =
                format!("{region} acknowledged a write at epoch {epoch}, and {holder} holds the lease");
            ledger.finds(at, "S1", detail);
        }
        self.newest = self.newest.max(epoch);
        self.writes += 1;
        self.last = Some(at);
        self.acknowledged.push(Acknowledged { at, record });
    }

    /// What is declared from now on, as far as whoever writes is known to go by it: of what was in force before and
    /// after a grant, what is looser.
    pub fn is_declared<'a>(&mut self, state: &State, log_of: impl Fn(&RegionName) -> Option<&'a Log>) {
        let Some((wished, held)) = state.database(&self.service) else { return };
        let last = held.vacancy().and_then(|vacancy| vacancy.last.as_ref());
        let is_undone = |(to, _): &mut (RegionName, _)| last.is_some_and(|last| last != to);
        if let Some((_, counts_again)) = self.given_up.take_if(is_undone) {
            self.lost -= counts_again.len();
            self.acknowledged.extend(counts_again);
            self.acknowledged.sort_by_key(|write| write.at);
        }
        let waits = held.witnesses(wished).iter().all(|witnesses| witnesses.acks > 0);
        let may_lose = (!waits).then(|| wished.max_data_loss.time + LATE);
        if held.epoch != self.granted.0 {
            let plan = plan_of(state, &self.service, held.epoch);
            if let Some(plan) = plan.filter(|plan| plan.accepts_loss) {
                let log = log_of(&plan.to);
                let is_given_up = |write: &mut Acknowledged| !log.is_some_and(|log| log.has(write.record));
                let given_up: Vec<_> = self.acknowledged.extract_if(.., is_given_up).collect();
                self.lost += given_up.len();
                let (_, before) = self.given_up.take().unzip();
                self.given_up =
                    Some((plan.to.clone(), before.into_iter().flatten().chain(given_up).collect()));
            }
            let rested = |(_, told): &(&RegionName, &InstanceReport)| told.settled == Some(self.granted.0);
            // Nobody waits for whoever has fallen, though it may have the most.
            let fell = self.wrote_last.as_ref().filter(|_| !is_planned(state, &self.service, held.epoch));
            let may = |region: &&RegionName| state.has_live_agent(region) && Some(*region) != fell;
            let there = held.instances.iter().filter(rested).map(|(region, _)| region);
            self.were_there = there.filter(may).cloned().collect();
            self.granted = (held.epoch, may_lose.max(self.may_lose));
        }
        self.may_lose = may_lose;
    }

    /// A replica lost what it had between these.
    pub fn is_put_back(&mut self, from: &Log, to: &Log) {
        self.put_back.push((from.clone(), to.clone()));
    }

    pub fn ends(&mut self, machine: Machine) {
        self.writers.remove(&machine);
    }

    /// Besides this one.
    pub fn writers_beside(&self, machine: Machine) -> impl Iterator<Item = Machine> {
        self.writers.iter().copied().filter(move |writer| *writer != machine)
    }

    /// Over what span writes were acknowledged that this log lacks; nothing where it lacks none.
    pub fn lacks(&self, log: Option<&Log>) -> Duration {
        let last = self.acknowledged.last().map_or(Moment(0), |write| write.at);
        let lacking = self.acknowledged.iter().find(|write| !log.is_some_and(|log| log.has(write.record)));
        lacking.map_or(Duration::ZERO, |write| last.since(write.at))
    }

    /// S3: whoever takes writes has what was acknowledged, but for what may be lost, and what a person gave up; and in a
    /// planned move, all.
    pub fn takes_writes(
        &mut self,
        at: Moment,
        machine: Machine,
        epoch: Epoch,
        log: Option<&Log>,
        ledger: &mut Ledger,
    ) {
        self.writers.insert(machine);
        let held = ledger.newest().1.databases.get(&self.service).filter(|held| held.epoch == epoch);
        self.wrote_last = held.and_then(|held| held.holder()).cloned().or(self.wrote_last.take());
        let Some(log) = log else { return };
        let before = self.acknowledged.len();
        let mut too_old = None;
        let last = self.acknowledged.last().map_or(at, |write| write.at);
        let declared = if self.granted.0 == epoch { self.granted.1 } else { self.may_lose };
        let may_lose = declared.filter(|_| !is_planned(ledger.newest().1, &self.service, epoch));
        // What was acknowledged in synchronous modes is where it was asked for, unless that has lost it since.
        let is_synchronous = declared.is_none();
        self.given_up = None;
        self.acknowledged.retain(|write| {
            let has = log.has(write.record);
            // Some replica lost it; its word that it has it may have been under way then.
            let is_put_back =
                || self.put_back.iter().any(|(from, to)| from.has(write.record) && !to.has(write.record));
            if !has && is_synchronous && is_put_back() {
                self.missed.push(Missed { machine, epoch, record: write.record });
            } else if !has && may_lose.is_none_or(|within| last.since(write.at) > within) {
                too_old = Some(*write);
            }
            has
        });
        self.lost += before - self.acknowledged.len();
        if let Some(write) = too_old {
            let ago = last.since(write.at).as_millis();
            let detail = format!(
                "machine {machine} takes writes at epoch {epoch} and lacks what was acknowledged {ago} ms before the last"
            );
            ledger.finds(at, "S3", detail);
        }
    }
}

/// Whether who writes at this epoch was to take over without any loss.
fn is_planned(state: &State, service: &ServiceName, epoch: Epoch) -> bool {
    plan_of(state, service, epoch)
        .is_some_and(|plan| matches!(plan.kind, Kind::Switchover | Kind::Failback) && !plan.accepts_loss)
}

/// By which this epoch is granted now.
fn plan_of<'a>(state: &'a State, service: &ServiceName, epoch: Epoch) -> Option<&'a Plan> {
    state.open_plan(service).map(|open| &open.plan).filter(|plan| plan.epoch == epoch)
}

#[cfg(test)]
mod tests {
    use decision::command::Command;
    use decision::config::Mode;
    use decision::database::{Owner, Proof, Vacancy};
    use decision::testing::{World, three_regions, with_database};

    use super::*;

    /// What is acknowledged up to 80 is where nobody is any more; ap, which has up to 50, is granted the lease all the
    /// same, as a person wished.
    fn given_up() -> (History, Ledger, Log, State) {
        let (app, ap) = (ServiceName::from("app"), RegionName::from("ap"));
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Sync { acks: 1 });
        let mut world = World::new(config);
        world.run_for(Duration::from_secs(5));
        let plan =
            decision::decide::force(&world.state, world.now, &app, Some(&ap), true, "".into()).unwrap();
        world.must(Command::OpenPlan { plan: plan.clone(), explanation: None });
        let mut state = world.state.clone();
        let held = state.databases.get_mut(&app).unwrap();
        (held.epoch, held.owner) = (plan.epoch, Owner::Held(ap));
        let (mut history, mut ledger) = (History::new(app, false, true, false), Ledger::default());
        let mut log = Log::new(history.branch(), 1, 100);
        for end in [40, 80] {
            let record = Record { end, ..log.newest() };
            history.acknowledges(Moment(1), &"us".into(), record, Epoch(1), &mut ledger);
        }
        log.cut(50);
        history.is_declared(&state, |_| Some(&log));
        (history, ledger, log, state)
    }

    #[test]
    fn what_went_with_old_data_is_looked_for_elsewhere_and_all_else_must_be_there() {
        let mut history = History::new("app".into(), false, true, false);
        let mut ledger = Ledger::default();
        let primary = Log::new(history.branch(), 1, 100);
        let record = |end| Record { branch: primary.newest().branch, end };
        for end in [40, 80] {
            history.acknowledges(Moment(1), &"us".into(), record(end), Epoch(1), &mut ledger);
        }
        let cut = |end| {
            let mut log = primary.clone();
            log.cut(end);
            log
        };
        history.is_put_back(&cut(90), &cut(50));
        history.takes_writes(Moment(2), 4, Epoch(2), Some(&cut(50)), &mut ledger);
        assert_eq!(ledger.violations(), []);
        assert_eq!(history.missed.iter().map(|missed| missed.record.end).collect::<Vec<_>>(), [80]);
        history.takes_writes(Moment(3), 4, Epoch(3), Some(&cut(30)), &mut ledger);
        assert_eq!(ledger.violations()[0].invariant, "S3", "nobody lost that one");
    }

    #[test]
    fn what_a_person_gave_up_is_what_that_one_lacked_and_no_more() {
        let (mut history, mut ledger, mut log, state) = given_up();
        history.takes_writes(Moment(2), 4, Epoch(2), Some(&log), &mut ledger);
        assert_eq!(history.lost, 1);
        assert_eq!(ledger.violations(), []);
        // The plan is open for a while.
        history.is_declared(&state, |_| Some(&log));
        log.cut(30);
        history.takes_writes(Moment(4), 5, Epoch(3), Some(&log), &mut ledger);
        assert_eq!(ledger.violations()[0].invariant, "S3");
    }

    #[test]
    fn what_was_given_up_counts_again_when_the_grant_is_undone() {
        let (mut history, mut ledger, log, mut state) = given_up();
        let held = state.databases.get_mut(&"app".into()).unwrap();
        held.owner = Owner::Vacant(Vacancy {
            last: Some("us".into()),
            proof: Proof::default(),
            why: String::new(),
            since: decision::time::Time(0),
            late: Duration::ZERO,
        });
        history.is_declared(&state, |_| Some(&log));
        assert_eq!(history.lost, 0);
        history.takes_writes(Moment(2), 4, Epoch(2), Some(&log), &mut ledger);
        assert_eq!(ledger.violations()[0].invariant, "S3");
    }
}
