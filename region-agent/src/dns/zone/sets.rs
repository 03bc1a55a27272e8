//! From the desired state to sets of records by name, with the apex that nobody configures.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use decision::dns::{RecordSet, Zone};
use decision::name::DnsName;
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{NEGATIVE_TTL_S, Set, ZoneError, octets, serial};
use crate::dns::key::Key;
use crate::dns::rdata;
use crate::dns::weighted::Weighted;

/// NS and glue change only with the configuration.
const NAME_SERVER_TTL_S: u32 = 300;
/// A secondary that misses every NOTIFY still follows within this.
const REFRESH_S: i32 = 60;
const RETRY_S: i32 = 10;
/// A secondary keeps answering this long without us: static stability, a week.
const EXPIRE_S: i32 = 604_800;
/// A set has to fit one message (65,535 octets) with room for question, CNAMEs and EDNS.
const LARGEST_SET_OCTETS: usize = 60_000;

/// By wire name, so in an order that depends on nothing else.
pub(super) type Sets = BTreeMap<Vec<u8>, (Name, Vec<Set>)>;

pub(super) fn add(
    sets: &mut Sets,
    record_set: &RecordSet,
    origin: &Name,
    zone: &DnsName,
) -> Result<(), ZoneError> {
    let name = named(record_set.name.as_str())?;
    if !origin.zone_of(&name) {
        return Err(ZoneError::OutOfZone { name: record_set.name.clone(), origin: zone.clone() });
    }
    let set = served(record_set)?;
    let records: Vec<Record> = set
        .iter()
        .flat_map(|set| set.groups.iter().flatten())
        .map(|value| Record::from_rdata(name.clone(), 0, value.clone()))
        .collect();
    let octets = octets(&records);
    if octets > LARGEST_SET_OCTETS {
        return Err(ZoneError::TooLarge { name: record_set.name.clone(), octets });
    }
    let held = &mut sets.entry(Key::of(&name).as_wire().to_vec()).or_insert((name.clone(), Vec::new())).1;
    let Some(set) = set else { return Ok(()) };
    if held.iter().any(|other| other.rtype == set.rtype) {
        return Err(ZoneError::TwiceTheSameSet { name: record_set.name.clone() });
    }
    let cname = |set: &Set| set.rtype == RecordType::CNAME;
    if (!held.is_empty() && (cname(&set) || held.iter().any(cname))) || (cname(&set) && name == *origin) {
        return Err(ZoneError::CnameNotAlone { name: record_set.name.clone() });
    }
    held.push(set);
    Ok(())
}

/// `None` where no group has a value: the name exists, the type does not.
fn served(record_set: &RecordSet) -> Result<Option<Set>, ZoneError> {
    let mut groups = Vec::with_capacity(record_set.groups.len());
    for group in &record_set.groups {
        let mut values = Vec::with_capacity(group.values.len());
        for value in &group.values {
            values.push(rdata::parse(record_set.rtype, value).map_err(|why| ZoneError::BadValue {
                name: record_set.name.clone(),
                value: value.clone(),
                why,
            })?);
        }
        groups.push((group.weight, distinct(values)));
    }
    let rtype = rdata::record_type(record_set.rtype);
    if rtype == RecordType::CNAME && groups.iter().any(|(_, values)| values.len() > 1) {
        return Err(ZoneError::CnameNotAlone { name: record_set.name.clone() });
    }
    groups.retain(|(_, values)| !values.is_empty());
    let Some(groups) = fail_open(rtype, groups) else { return Ok(None) };
    // RFC 2181, 8: a TTL with the top bit set would be taken for zero.
    Ok(Some(Set { rtype, ttl_s: record_set.ttl_s.min(i32::MAX as u32), groups }))
}

/// Weight 0 is never drawn, unless nothing else is left: then everything is served, since an answer
/// that may be wrong beats none at all. Of CNAMEs only one may be served, so those are drawn evenly.
fn fail_open(rtype: RecordType, groups: Vec<(u8, Vec<RData>)>) -> Option<Weighted<Vec<RData>>> {
    if groups.is_empty() {
        return None;
    }
    if groups.iter().any(|(weight, _)| *weight > 0) {
        return Weighted::new(groups);
    }
    if rtype == RecordType::CNAME {
        return Weighted::new(groups.into_iter().map(|(_, values)| (1, values)));
    }
    Some(Weighted::sole(distinct(groups.into_iter().flat_map(|(_, values)| values))))
}

/// SOA, NS and glue, from the names of the servers. Without any named, the zone's own name stands
/// in, so that the zone is whole and can be transferred.
pub(super) fn add_apex(sets: &mut Sets, desired: &Zone, origin: &Name) -> Result<Record, ZoneError> {
    let mut servers = Vec::new();
    for server in &desired.name_servers {
        servers.push((named(server.name.as_str())?, &server.addresses[..]));
    }
    if servers.is_empty() {
        servers.push((origin.clone(), &[]));
    }
    let apex = &mut sets.entry(Key::of(origin).as_wire().to_vec()).or_insert((origin.clone(), Vec::new())).1;
    let rname = Name::from_ascii("hostmaster").and_then(|name| name.append_domain(origin)).map_err(|e| {
        ZoneError::BadName { name: desired.origin.to_string(), why: format!("no room for hostmaster: {e}") }
    })?;
    let soa = RData::SOA(SOA::new(
        servers[0].0.clone(),
        rname,
        serial(desired.generation),
        REFRESH_S,
        RETRY_S,
        EXPIRE_S,
        NEGATIVE_TTL_S,
    ));
    apex.push(sole(RecordType::SOA, NEGATIVE_TTL_S, vec![soa.clone()]));
    let ns = distinct(servers.iter().map(|(name, _)| RData::NS(NS(name.clone()))));
    apex.push(sole(RecordType::NS, NAME_SERVER_TTL_S, ns));
    for (name, addresses) in &servers {
        if !origin.zone_of(name) || addresses.is_empty() {
            continue;
        }
        let held = &mut sets.entry(Key::of(name).as_wire().to_vec()).or_insert((name.clone(), Vec::new())).1;
        let v4 = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(RData::A(A(*ip))),
            IpAddr::V6(_) => None,
        });
        let v6 = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(RData::AAAA(AAAA(*ip))),
        });
        for (rtype, values) in [(RecordType::A, distinct(v4)), (RecordType::AAAA, distinct(v6))] {
            // What the records say themselves stands before glue; an alias takes none (RFC 2181, 10.3).
            let taken = held.iter().any(|set| set.rtype == rtype || set.rtype == RecordType::CNAME);
            if !taken && !values.is_empty() {
                held.push(sole(rtype, NAME_SERVER_TTL_S, values));
            }
        }
    }
    Ok(Record::from_rdata(origin.clone(), NEGATIVE_TTL_S, soa))
}

pub(super) fn named(text: &str) -> Result<Name, ZoneError> {
    rdata::name(text).map_err(|why| ZoneError::BadName { name: text.to_owned(), why })
}

fn sole(rtype: RecordType, ttl_s: u32, values: Vec<RData>) -> Set {
    Set { rtype, ttl_s, groups: Weighted::sole(values) }
}

/// RFC 2181, 5: a set holds no value twice.
pub(super) fn distinct(values: impl IntoIterator<Item = RData>) -> Vec<RData> {
    let mut seen = HashSet::new();
    values.into_iter().filter(|value| seen.insert(value.clone())).collect()
}
