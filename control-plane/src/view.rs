//! What a controller shows of its state: [`wire::api::Status`] and its parts, as pure functions.

mod database;

pub use database::{leases, show_leases};

use decision::config::Region;
use decision::dns::{RecordSet, RecordType};
use decision::name::{AgentId, DnsName, ServiceName};
use decision::records::{Spread, of_service};
use decision::state::{Placement, Standing, State};
use decision::time::Time;
use wire::api::{AgentStatus, HostStatus, MemberStatus, NameStatus, RegionStatus, ServiceStatus, Status};

/// What a controller knows of the Raft group that is not in the replicated state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    pub cluster: String,
    pub leader: Option<u64>,
    pub term: u64,
    /// By id.
    pub members: Vec<MemberStatus>,
}

pub fn status(state: &State, membership: &Membership) -> Status {
    Status {
        cluster: membership.cluster.clone(),
        leader: membership.leader,
        term: membership.term,
        index: state.index,
        as_of: state.now,
        config_generation: state.config_generation,
        paused: state.paused.clone(),
        members: membership.members.clone(),
        regions: regions(state),
        services: services(state),
        open_plans: state
            .plans
            .values()
            .filter(|record| record.is_open())
            .map(|record| record.plan.id)
            .collect(),
    }
}

/// In the configuration's order, which is that of preference.
pub fn regions(state: &State) -> Vec<RegionStatus> {
    let regions = state.config.iter().flat_map(|config| &config.regions);
    let status = |region: &Region| {
        let standing = state.regions.get(&region.name).cloned().unwrap_or_default();
        RegionStatus {
            name: region.name.clone(),
            verdict: standing.verdict,
            since: standing.since,
            because: standing.because,
            capacity_percent: region.capacity_percent,
            witness: region.witness,
            drained: state.drained.get(&region.name).cloned(),
            agents: (1..=region.agents)
                .map(|ordinal| agent(state, AgentId::new(region.name.clone(), ordinal)))
                .collect(),
        }
    };
    regions.map(status).collect()
}

/// An agent that is configured and was never heard of is shown too: as away, since ever.
fn agent(state: &State, id: AgentId) -> AgentStatus {
    let session = state.sessions.get(&id);
    AgentStatus {
        live: session.is_some_and(|session| session.live),
        since: session.map_or(Time(0), |session| session.since),
        reported: state.evidence.get(&id).map_or(0, |found| found.len()),
        dns: session.and_then(|session| session.info.dns.clone()),
        version: session.map(|session| session.info.version.clone()).unwrap_or_default(),
        agent: id,
    }
}

pub fn services(state: &State) -> Vec<ServiceStatus> {
    let status = |(name, placement): (&ServiceName, &Placement)| {
        let standing = standing(placement);
        ServiceStatus {
            name: name.clone(),
            primary: placement.primary.clone(),
            verdict: standing.verdict,
            because: standing.because,
            epoch: placement.epoch,
            since: placement.since,
            held: state.held.get(name).cloned(),
            hosts: hosts(state, name, placement),
            names: names(state, name, placement),
            database: database::status(state, name, placement),
        }
    };
    state.services.iter().map(status).collect()
}

fn hosts(state: &State, service: &ServiceName, placement: &Placement) -> Vec<HostStatus> {
    let regions = state.config.iter().flat_map(|config| config.hosts(service));
    let status = |region: &Region| {
        let standing = placement.standing.get(&region.name).cloned().unwrap_or_default();
        HostStatus {
            region: region.name.clone(),
            verdict: standing.verdict,
            since: standing.since,
            because: standing.because,
        }
    };
    regions.map(status).collect()
}

/// What is held of a service in its primary region.
pub(crate) fn standing(placement: &Placement) -> Standing {
    placement.standing.get(&placement.primary).cloned().unwrap_or_default()
}

/// Where the names point: in an embedded zone, also amid a shift; elsewhere, where they should.
fn names(state: &State, service: &ServiceName, placement: &Placement) -> Vec<NameStatus> {
    let Some(config) = &state.config else { return Vec::new() };
    let spread = Spread { primary: &placement.primary, left_out: &placement.left_out, leaving: None };
    of_service(config, service, &spread)
        .into_iter()
        .flat_map(|(zone, sets)| sets.into_iter().map(move |set| held(state, &zone, set)))
        .map(|set| NameStatus {
            name: set.name.to_string(),
            rtype: rtype(set.rtype).to_owned(),
            ttl_s: set.ttl_s,
            values: values(&set),
        })
        .collect()
}

fn held(state: &State, zone: &DnsName, wanted: RecordSet) -> RecordSet {
    let records = state.zones.get(zone).map(|zone| &zone.records);
    let same = |held: &&RecordSet| held.name == wanted.name && held.rtype == wanted.rtype;
    records.into_iter().flatten().find(same).cloned().unwrap_or(wanted)
}

fn values(set: &RecordSet) -> Vec<String> {
    let sole = set.groups.len() == 1;
    let served = set.groups.iter().filter(|group| sole || group.weight > 0);
    served.flat_map(|group| group.values.iter().cloned()).collect()
}

fn rtype(rtype: RecordType) -> &'static str {
    match rtype {
        RecordType::A => "A",
        RecordType::Aaaa => "AAAA",
        RecordType::Cname => "CNAME",
        RecordType::Txt => "TXT",
    }
}
