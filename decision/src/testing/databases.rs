//! Instances of databases in a world: they do what their agents' goals say, as long as these live.

use std::collections::BTreeMap;
use std::time::Duration;

use super::World;
use crate::command::Command;
use crate::config::{Config, Database, Engine, Instance, Login, MaxDataLoss, Mode, Profile};
use crate::database::alone::{Alone, Commits, Seen};
use crate::database::branch::Branch;
use crate::database::{InstanceReport, InstanceRole, Position, Sequence};
use crate::decide::Renewal;
use crate::goal::{self, DatabaseGoal, DatabaseRole};
use crate::lsn::Lsn;
use crate::name::{AgentId, RegionName, ServiceName};
use crate::plan::Epoch;
use crate::time::Time;

/// Gives `service` a database with an instance wherever it is hosted.
pub fn with_database(config: &mut Config, service: &str, mode: Mode) {
    let name = ServiceName::from(service);
    let instances = config.hosts(&name).map(|region| (region.name.clone(), instance(&region.name))).collect();
    let database = Database {
        engine: Engine::Postgresql,
        mode,
        max_data_loss: MaxDataLoss { bytes: 16 << 20, time: Duration::from_secs(30) },
        lease: Profile::Balanced.lease(),
        failsafe: false,
        instances,
        superuser: "postgres".into(),
        replication: Login { user: "regent_replication".into(), password: None },
        settings: BTreeMap::new(),
        hba: Vec::new(),
        users: Vec::new(),
    };
    config.services.get_mut(&name).expect("a known service").database = Some(database);
}

fn instance(region: &RegionName) -> Instance {
    Instance {
        data_dir: "/data".into(),
        host: format!("db.{region}.test"),
        port: 5432,
        listen: vec!["*".into()],
        bin_dir: None,
        os_user: "postgres".into(),
        priority: 100,
        nofailover: false,
        write_endpoint: None,
        read_endpoint: None,
    }
}

/// One copy of a database, as it truly is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimInstance {
    pub role: InstanceRole,
    pub position: Position,
    /// Until when it may take writes by its own count.
    lease_until: Time,
    settled: Option<Epoch>,
    /// When it came to rest.
    rested: Time,
    /// When it last heard of its primary.
    heard: Time,
    branch: Option<Branch>,
    alone: Alone,
}

impl World {
    pub fn instance(&self, service: &str, region: &str) -> Option<&SimInstance> {
        self.instances.get(&(service.into(), region.into()))
    }

    /// Rows that the primary acknowledges, and nobody else has yet.
    pub fn write(&mut self, service: &str, region: &str, bytes: u64) {
        let instance = self.instances.get_mut(&(service.into(), region.into())).expect("an instance");
        assert!(matches!(instance.role, InstanceRole::Primary { .. }), "{instance:?}");
        instance.position.lsn.0 += bytes;
    }

    /// The postmaster is killed; its agent lives, and gives the lease back.
    pub fn crash_database(&mut self, service: &str, region: &str) {
        let key = (ServiceName::from(service), RegionName::from(region));
        let instance = self.instances.get_mut(&key).expect("an instance");
        let InstanceRole::Primary { epoch } = instance.role else { panic!("{instance:?}") };
        instance.role = InstanceRole::Stopped { clean: false };
        let agent = AgentId::new(region, 1);
        if self.speaking().contains(&agent) {
            self.release(&key, epoch, (None, false), "postgres was killed by signal 9");
        }
    }

    /// Who takes writes now. S1: never two.
    pub fn writers(&self, service: &str) -> Vec<&str> {
        let of_service = self.instances.iter().filter(|((of, _), _)| of.as_str() == service);
        let writing =
            of_service.filter(|(_, instance)| matches!(instance.role, InstanceRole::Primary { .. }));
        writing.map(|((_, region), _)| region.as_str()).collect()
    }

    /// Every instance does what its goal says; those without an agent only what their guard does.
    pub(super) fn run_databases(&mut self) {
        self.fence_what_is_over();
        for agent in self.working() {
            for wanted in goal::of_agent(&self.state, &agent).databases {
                self.reconcile(&agent, &wanted);
            }
        }
        for service in self.state.databases.keys() {
            assert!(self.writers(service.as_str()).len() < 2, "S1: {:#?}", self.instances);
        }
    }

    fn working(&self) -> Vec<AgentId> {
        let works = |agent: &AgentId| !self.hung.contains(&agent.region);
        self.speaking().into_iter().filter(works).collect()
    }

    /// Whether some agent has yet to tell of what its goal made it do.
    pub(super) fn has_database_work(&self) -> bool {
        self.working().iter().any(|agent| {
            goal::of_agent(&self.state, agent).databases.iter().any(|wanted| {
                let held = &self.state.databases[&wanted.service];
                let told = held.instances.get(&agent.region);
                match &wanted.role {
                    DatabaseRole::Primary { .. } => !held.is_primary(&agent.region),
                    DatabaseRole::Replica { heir, .. } => told.is_none_or(|told| {
                        told.role != InstanceRole::Replica { streaming: true }
                            || *heir && told.heir != Some(held.epoch)
                    }),
                    DatabaseRole::Yield { .. } => true,
                    DatabaseRole::Rest { .. } => held.settled(&agent.region).is_none(),
                }
            })
        })
    }

    fn fence_what_is_over(&mut self) {
        let now = self.now;
        for ((_, region), instance) in &mut self.instances {
            let is_over = instance.lease_until <= now || self.down.contains(region);
            if matches!(instance.role, InstanceRole::Primary { .. }) && is_over {
                instance.role = InstanceRole::Stopped { clean: false };
            }
        }
    }

    fn reconcile(&mut self, agent: &AgentId, wanted: &DatabaseGoal) {
        let key = (wanted.service.clone(), agent.region.clone());
        let now = self.now;
        let absent = SimInstance {
            role: InstanceRole::Absent,
            position: Position { timeline: 0, lsn: Lsn(0) },
            lease_until: Time(0),
            settled: None,
            rested: now,
            heard: now,
            branch: None,
            alone: Alone::default(),
        };
        let mut instance = *self.instances.get(&key).unwrap_or(&absent);
        if matches!(instance.role, InstanceRole::Primary { .. }) {
            instance.heard = now;
        }
        let mut word = None;
        let mut heir = None;
        let mut release = None;
        match &wanted.role {
            DatabaseRole::Primary { at_least, .. } => {
                let is_new = instance.role != InstanceRole::Primary { epoch: wanted.epoch };
                if self.stubborn.contains(&agent.region) {
                    release = Some((None, true, "it could not be promoted"));
                } else {
                    assert!(
                        at_least.is_none_or(|least| least.lsn <= instance.position.lsn),
                        "S3: {instance:?}"
                    );
                    let alone = self.acknowledged_alone.get(&wanted.service);
                    assert!(alone.is_none_or(|end| *end <= instance.position.lsn), "S3: {instance:?}");
                    instance.position.timeline += u32::from(is_new);
                    if is_new {
                        let (timeline, epoch) = (instance.position.timeline, wanted.epoch);
                        instance.branch = Some(Branch { timeline, epoch });
                        instance.alone = Alone::default();
                    }
                    instance.role = InstanceRole::Primary { epoch: wanted.epoch };
                    if wanted.wished.mode.acks() > 0 {
                        let seen = self.followed(&key, wanted, instance.position.lsn);
                        if instance.alone.look(&seen, now.0, now) == Commits::Wait {
                            instance.alone.waits(seen.end);
                        }
                        word = instance.alone.word(&seen);
                    }
                    if instance.alone.goes() {
                        instance.position.lsn.0 += 8;
                        self.acknowledged_alone.insert(wanted.service.clone(), instance.position.lsn);
                    }
                    self.renew(wanted, &mut instance);
                }
            }
            DatabaseRole::Replica { of, heir: is_heir } => {
                let primary = self.instances.get(&(wanted.service.clone(), of.clone()));
                let reached = primary.filter(|primary| {
                    matches!(primary.role, InstanceRole::Primary { .. })
                        && !self.down.contains(of)
                        && !self.cut.contains(&(agent.region.clone(), of.clone()))
                });
                if let Some(primary) = reached {
                    (instance.position, instance.branch) = (primary.position, primary.branch);
                    instance.heard = now;
                }
                instance.role = match instance.role {
                    InstanceRole::Absent if reached.is_none() => InstanceRole::Absent,
                    _ => InstanceRole::Replica { streaming: reached.is_some() },
                };
                heir = (*is_heir && reached.is_some()).then_some(wanted.epoch);
            }
            // It goes on until its heir follows.
            DatabaseRole::Yield { to: Some(to) }
                if self.cut.contains(&(to.clone(), agent.region.clone())) =>
            {
                self.renew(wanted, &mut instance);
            }
            DatabaseRole::Yield { to } if matches!(instance.role, InstanceRole::Primary { .. }) => {
                let heir = to.as_ref().map(|to| (wanted.service.clone(), to.clone()));
                match heir.and_then(|heir| self.instances.get_mut(&heir)) {
                    Some(heir) => {
                        instance.role = InstanceRole::Stopped { clean: true };
                        (heir.position, heir.branch) = (instance.position, instance.branch);
                        release = Some((Some(instance.position), false, "it was shut down in order"));
                    }
                    None => {
                        instance.role = InstanceRole::Stopped { clean: false };
                        release = Some((None, false, "it was told to end"));
                    }
                }
            }
            DatabaseRole::Yield { .. } => {}
            DatabaseRole::Rest { .. } => {
                if matches!(instance.role, InstanceRole::Primary { .. }) {
                    instance.role = InstanceRole::Stopped { clean: false };
                }
                if instance.settled.replace(wanted.epoch) != Some(wanted.epoch) {
                    instance.rested = now;
                }
            }
        }
        self.instances.insert(key.clone(), instance);
        let has_data = instance.role != InstanceRole::Absent;
        let until = if matches!(wanted.role, DatabaseRole::Rest { .. }) { instance.rested } else { now };
        let report = InstanceReport {
            role: instance.role,
            position: has_data.then_some(instance.position),
            upstream: None,
            silent: until.since(instance.heard),
            promised: Duration::ZERO,
            marked: None,
            settled: instance.settled,
            heir,
            ready: None,
            system: has_data.then(|| "7".into()),
            branch: instance.branch.filter(|_| has_data),
            guard: None,
            alone: word,
            problem: None,
            sequence: Sequence::default(),
        };
        let (agent, service) = (agent.clone(), wanted.service.clone());
        self.must(Command::ReportInstance { agent, service, report });
        if let Some((clean, unwritten, why)) = release {
            self.release(&key, wanted.epoch, (clean, unwritten), why);
        }
    }

    fn renew(&mut self, wanted: &DatabaseGoal, instance: &mut SimInstance) {
        instance.lease_until = self.now + wanted.wished.lease.ttl;
        let (heard, position) = (self.now, Some(instance.position));
        let renewal = Renewal { epoch: wanted.epoch, heard, position, told_at: heard };
        self.view.renewals.insert(wanted.service.clone(), renewal);
    }

    /// What the primary sees of those that follow it.
    fn followed(
        &self,
        (service, region): &(ServiceName, RegionName),
        wanted: &DatabaseGoal,
        end: Lsn,
    ) -> Seen {
        let follows = |other: &&RegionName| {
            *other != region
                && !self.down.contains(*other)
                && !self.cut.contains(&((*other).clone(), region.clone()))
        };
        let others = wanted.wished.instances.keys().filter(follows);
        let streams = |instance: &&SimInstance| instance.role == InstanceRole::Replica { streaming: true };
        let found = others.filter_map(|other| self.instances.get(&(service.clone(), other.clone())));
        let mut have: Vec<Lsn> = found.filter(streams).map(|instance| instance.position.lsn).collect();
        have.sort_by(|a, b| b.cmp(a));
        Seen {
            may_ask: matches!(wanted.wished.mode, Mode::Sync { .. }),
            have: have.get(usize::from(wanted.wished.mode.acks()) - 1).copied(),
            end,
            leave: wanted.alone,
            change: wanted.unsettled,
        }
    }

    fn release(
        &mut self,
        (service, region): &(ServiceName, RegionName),
        epoch: Epoch,
        (clean, unwritten): (Option<Position>, bool),
        why: &str,
    ) {
        self.must(Command::ReleaseLease {
            agent: AgentId::new(region.clone(), 1),
            service: service.clone(),
            epoch,
            clean,
            last_known: None,
            unwritten,
            why: why.into(),
        });
    }
}
