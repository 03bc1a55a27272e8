//! One zone made ready to be answered from: a pure conversion of the desired state.

use std::collections::{BTreeMap, HashMap};

use decision::dns::{RecordSet, Zone};
use decision::name::DnsName;
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;

use super::key::{self, Key};
use super::prebuilt::{self, Prebuilt};
use super::rdata;
use super::weighted::Weighted;

/// How long a resolver may remember that a name or type is absent (RFC 2308, 5), and so how long
/// a name that has just appeared may stay unseen. Small, because a failover may add a type.
pub const NEGATIVE_TTL_S: u32 = 5;
/// NS and glue change only with the configuration.
const NAME_SERVER_TTL_S: u32 = 300;
/// A secondary that misses every NOTIFY still follows within this.
const REFRESH_S: i32 = 60;
const RETRY_S: i32 = 10;
/// A secondary keeps answering this long without us: static stability, a week.
const EXPIRE_S: i32 = 604_800;
/// A set has to fit one message (65,535 octets) with room for question, CNAMEs and EDNS.
const LARGEST_SET_OCTETS: usize = 60_000;

/// Why a zone cannot be served. The zone held before, if any, stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    #[error("{name:?} is not a usable DNS name: {why}")]
    BadName { name: String, why: String },
    #[error("{name} lies outside of the zone {origin}")]
    OutOfZone { name: DnsName, origin: DnsName },
    #[error("{value:?} is no value for {name}: {why}")]
    BadValue { name: DnsName, value: String, why: String },
    #[error("{name} has a CNAME beside other records or at the top of the zone, or several in a group")]
    CnameNotAlone { name: DnsName },
    #[error("{name} has two sets of the same type")]
    TwiceTheSameSet { name: DnsName },
    #[error("the records of {name} take {octets} octets, more than fit one answer")]
    TooLarge { name: DnsName, octets: usize },
}

/// A zone as it is served.
pub struct ServedZone {
    /// As it was published.
    pub desired: Zone,
    pub(crate) origin: Name,
    pub(crate) soa: Record,
    /// All records but the SOA, as a transfer carries them, each with its uncompressed size.
    pub(crate) transfer: Vec<(Record, usize)>,
    /// By wire name; looked up only, never walked, so its order has no effect.
    nodes: HashMap<Box<[u8]>, Node>,
}

/// A name that exists; without sets it is an empty non-terminal (RFC 4592, 2.2.2).
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) sets: Vec<Set>,
    pub(crate) prebuilt: Vec<Prebuilt>,
}

/// The records of one name and type.
pub(crate) struct Set {
    pub(crate) rtype: RecordType,
    pub(crate) ttl_s: u32,
    /// One of these makes up an answer.
    pub(crate) groups: Weighted<Vec<RData>>,
}

impl Node {
    pub(crate) fn set(&self, rtype: RecordType) -> Option<&Set> {
        self.sets.iter().find(|set| set.rtype == rtype)
    }
}

impl Set {
    fn sole(rtype: RecordType, ttl_s: u32, values: Vec<RData>) -> Self {
        Self { rtype, ttl_s, groups: Weighted::sole(values) }
    }

    /// What a server gets that cannot draw: the values of all groups, but a single CNAME.
    pub(crate) fn undrawn(&self) -> Vec<RData> {
        match self.rtype {
            RecordType::CNAME => self.groups.heaviest().clone(),
            _ => distinct(self.groups.iter().flatten().cloned()),
        }
    }
}

impl ServedZone {
    /// # Errors
    /// The first thing found that cannot be served; nothing is served of such a zone.
    pub fn build(desired: Zone) -> Result<Self, ZoneError> {
        let origin = named(desired.origin.as_str())?;
        let mut sets: BTreeMap<Vec<u8>, (Name, Vec<Set>)> = BTreeMap::new();
        for record_set in &desired.records {
            add(&mut sets, record_set, &origin, &desired.origin)?;
        }
        let soa = add_apex(&mut sets, &desired, &origin)?;

        let mut transfer = Vec::new();
        for (name, set) in sets.values().flat_map(|(name, sets)| sets.iter().map(move |set| (name, set))) {
            if set.rtype == RecordType::SOA {
                continue;
            }
            for value in set.undrawn() {
                let record = Record::from_rdata(name.clone(), set.ttl_s, value);
                let octets = octets(std::slice::from_ref(&record));
                transfer.push((record, octets));
            }
        }

        let mut zone = Self { origin, soa, transfer, nodes: HashMap::new(), desired };
        let apex = Key::of(&zone.origin);
        for name in sets.keys() {
            for existing in key::ancestry(name).take_while(|name| name.len() >= apex.as_wire().len()) {
                zone.nodes.entry(existing.into()).or_default();
            }
        }
        let names: Vec<Name> = sets.values().map(|(name, _)| name.clone()).collect();
        for (name, (_, sets)) in sets {
            zone.nodes.entry(name.into()).or_default().sets = sets;
        }
        for name in names {
            let prebuilt = prebuilt::build(&zone, &name);
            zone.nodes.entry(Key::of(&name).as_wire().into()).or_default().prebuilt = prebuilt;
        }
        Ok(zone)
    }

    pub(crate) fn serial(&self) -> u32 {
        serial(self.desired.generation)
    }

    /// The node that exactly bears this name.
    pub(crate) fn node(&self, wire: &[u8]) -> Option<&Node> {
        self.nodes.get(wire)
    }

    /// The node that answers for a name in the zone: its own or, where it does not exist, the
    /// wildcard below its closest encloser (RFC 4592, 3.3.1), just as a secondary would.
    pub(crate) fn find(&self, wire: &[u8]) -> Option<&Node> {
        if let Some(node) = self.node(wire) {
            return Some(node);
        }
        let encloser = key::ancestry(wire).find(|name| self.node(name).is_some())?;
        self.node(&[b"\x01*", encloser].concat())
    }
}

/// The SOA serial of a generation (RFC 1982 arithmetic lets it wrap).
pub(crate) fn serial(generation: u64) -> u32 {
    generation as u32
}

fn named(text: &str) -> Result<Name, ZoneError> {
    rdata::name(text).map_err(|why| ZoneError::BadName { name: text.to_owned(), why })
}

type Sets = BTreeMap<Vec<u8>, (Name, Vec<Set>)>;

fn add(sets: &mut Sets, record_set: &RecordSet, origin: &Name, zone: &DnsName) -> Result<(), ZoneError> {
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
fn add_apex(sets: &mut Sets, desired: &Zone, origin: &Name) -> Result<Record, ZoneError> {
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
    apex.push(Set::sole(RecordType::SOA, NEGATIVE_TTL_S, vec![soa.clone()]));
    let ns = distinct(servers.iter().map(|(name, _)| RData::NS(NS(name.clone()))));
    apex.push(Set::sole(RecordType::NS, NAME_SERVER_TTL_S, ns));
    for (name, addresses) in &servers {
        if !origin.zone_of(name) || addresses.is_empty() {
            continue;
        }
        let held = &mut sets.entry(Key::of(name).as_wire().to_vec()).or_insert((name.clone(), Vec::new())).1;
        let v4 = addresses.iter().filter_map(|ip| match ip {
            std::net::IpAddr::V4(ip) => Some(RData::A(A(*ip))),
            std::net::IpAddr::V6(_) => None,
        });
        let v6 = addresses.iter().filter_map(|ip| match ip {
            std::net::IpAddr::V4(_) => None,
            std::net::IpAddr::V6(ip) => Some(RData::AAAA(AAAA(*ip))),
        });
        for (rtype, values) in [(RecordType::A, distinct(v4)), (RecordType::AAAA, distinct(v6))] {
            // What the records say themselves stands before glue; an alias takes none (RFC 2181, 10.3).
            let taken = held.iter().any(|set| set.rtype == rtype || set.rtype == RecordType::CNAME);
            if !taken && !values.is_empty() {
                held.push(Set::sole(rtype, NAME_SERVER_TTL_S, values));
            }
        }
    }
    Ok(Record::from_rdata(origin.clone(), NEGATIVE_TTL_S, soa))
}

/// RFC 2181, 5: a set holds no value twice.
fn distinct(values: impl IntoIterator<Item = RData>) -> Vec<RData> {
    let mut seen = std::collections::HashSet::new();
    values.into_iter().filter(|value| seen.insert(value.clone())).collect()
}

/// Their size without any compression.
fn octets(records: &[Record]) -> usize {
    // A record that does not encode would be larger than any message.
    records.iter().map(|record| record.to_bytes().map_or(usize::from(u16::MAX), |bytes| bytes.len())).sum()
}
