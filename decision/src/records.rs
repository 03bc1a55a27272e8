//! Where a service's names should point, given where it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, DnsProvider, DnsRecord, Routing};
use crate::dns::{Group, NameServer, RecordSet, Zone};
use crate::name::{DnsName, RegionName, ServiceName};
use crate::state::State;

/// How a service's traffic is spread.
pub struct Spread<'a> {
    pub primary: &'a RegionName,
    pub left_out: &'a BTreeSet<RegionName>,
    /// During a gradual shift: the region that is left, and the share in percent it still has.
    pub leaving: Option<(&'a RegionName, u8)>,
}

/// The record sets of a service, by zone.
pub fn of_service(
    config: &Config,
    service: &ServiceName,
    spread: &Spread,
) -> BTreeMap<DnsName, Vec<RecordSet>> {
    let mut zones: BTreeMap<DnsName, Vec<RecordSet>> = BTreeMap::new();
    for record in config.services.get(service).iter().flat_map(|service| &service.dns) {
        zones.entry(record.zone.clone()).or_default().push(RecordSet {
            name: record.name.clone(),
            rtype: record.rtype,
            ttl_s: record.ttl_s,
            groups: groups(record, spread),
        });
    }
    zones
}

fn groups(record: &DnsRecord, spread: &Spread) -> Vec<Group> {
    let group = |region: &RegionName, weight: u8| {
        let values = record.values.get(region)?.clone();
        Some(Group { region: region.clone(), weight, values })
    };
    match (&record.routing, spread.leaving) {
        (Routing::Primary, None) => group(spread.primary, 100).into_iter().collect(),
        (Routing::Primary, Some((leaving, share))) => {
            [group(leaving, share), group(spread.primary, 100 - share.min(100))]
                .into_iter()
                .flatten()
                .collect()
        }
        (Routing::Weighted(weights), _) => {
            let all = || weights.iter().filter_map(|(region, weight)| group(region, *weight));
            let kept: Vec<Group> = all().filter(|group| !spread.left_out.contains(&group.region)).collect();
            // Fail open: an empty answer helps nobody.
            if kept.iter().any(|group| group.weight > 0) { kept } else { all().collect() }
        }
    }
}

/// The zones that Regent's own servers serve. Their generation is left as it is held, or at 0.
pub fn embedded_zones(config: &Config, state: &State) -> BTreeMap<DnsName, Zone> {
    let mut zones = BTreeMap::new();
    for (origin, zone) in &config.zones {
        if zone.provider != DnsProvider::Embedded {
            continue;
        }
        zones.insert(
            origin.clone(),
            Zone {
                origin: origin.clone(),
                generation: state.zones.get(origin).map_or(0, |held| held.generation),
                name_servers: name_servers(origin, state),
                records: Vec::new(),
                secondaries: zone.secondaries.clone(),
            },
        );
    }
    for (service, placement) in &state.services {
        let spread = Spread { primary: &placement.primary, left_out: &placement.left_out, leaving: None };
        for (origin, sets) in of_service(config, service, &spread) {
            if let Some(zone) = zones.get_mut(&origin) {
                zone.records.extend(sets);
            }
        }
    }
    zones
}

/// Every agent that ever told of a DNS server, also while it is away: name servers are not moved
/// about during an outage.
fn name_servers(origin: &DnsName, state: &State) -> Vec<NameServer> {
    state
        .sessions
        .iter()
        .filter_map(|(agent, session)| {
            let address: std::net::SocketAddr = session.info.dns.as_ref()?.parse().ok()?;
            let label = format!("ns{}-{}", agent.ordinal, agent.region.as_str().to_lowercase());
            Some(NameServer {
                name: DnsName(format!(
                    "{}.{origin}",
                    label.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
                )),
                addresses: vec![address.ip()],
            })
        })
        .collect()
}
