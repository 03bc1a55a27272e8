//! One zone made ready to be answered from: a pure conversion of the desired state.

mod sets;

use std::collections::HashMap;

use decision::dns::Zone;
use decision::name::DnsName;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;

use super::key::{self, Key};
use super::prebuilt::{self, Prebuilt};
use super::weighted::Weighted;

/// How long a resolver may remember that a name or type is absent (RFC 2308, 5), and so how long
/// a name that has just appeared may stay unseen. Small, because a failover may add a type.
pub const NEGATIVE_TTL_S: u32 = 5;
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
    /// What a server gets that cannot draw: the values of all groups, but a single CNAME.
    pub(crate) fn undrawn(&self) -> Vec<RData> {
        match self.rtype {
            RecordType::CNAME => self.groups.heaviest().clone(),
            _ => sets::distinct(self.groups.iter().flatten().cloned()),
        }
    }
}

impl ServedZone {
    /// # Errors
    /// The first thing found that cannot be served; nothing is served of such a zone.
    pub fn build(desired: Zone) -> Result<Self, ZoneError> {
        let origin = sets::named(desired.origin.as_str())?;
        let mut sets = sets::Sets::new();
        for record_set in &desired.records {
            sets::add(&mut sets, record_set, &origin, &desired.origin)?;
        }
        let soa = sets::add_apex(&mut sets, &desired, &origin)?;

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

/// Their size without any compression.
fn octets(records: &[Record]) -> usize {
    // A record that does not encode would be larger than any message.
    records.iter().map(|record| record.to_bytes().map_or(usize::from(u16::MAX), |bytes| bytes.len())).sum()
}

#[cfg(test)]
mod tests {
    use decision::dns::{RecordSet, RecordType as Desired};

    use super::*;
    use crate::dns::rdata;
    use crate::dns::sample::{self, set};

    fn with(records: Vec<RecordSet>) -> Result<ServedZone, ZoneError> {
        ServedZone::build(Zone { records, ..sample::zone(7) })
    }

    #[test]
    fn what_cannot_be_served_says_why() {
        let cases = [
            (
                vec![set("app.example.com", Desired::A, 5, &[])],
                "app.example.com lies outside of the zone example.test",
            ),
            (
                vec![set("app.example.test", Desired::A, 5, &[("eu", 1, &["192.0.2.256"])])],
                "\"192.0.2.256\" is no value for app.example.test: expected an IPv4 address",
            ),
            (
                vec![set("app.example.test", Desired::A, 5, &[("eu", 1, &["192.0.2.1"])]); 2],
                "app.example.test has two sets of the same type",
            ),
            (
                vec![
                    set("app.example.test", Desired::A, 5, &[("eu", 1, &["192.0.2.1"])]),
                    set("app.example.test", Desired::Cname, 5, &[("eu", 1, &["a.test"])]),
                ],
                "app.example.test has a CNAME beside other records or at the top of the zone, or several in a group",
            ),
            (
                vec![set("example.test", Desired::Cname, 5, &[("eu", 1, &["a.test"])])],
                "example.test has a CNAME beside other records or at the top of the zone, or several in a group",
            ),
            (
                vec![set("app.example.test", Desired::Cname, 5, &[("eu", 1, &["a.test", "b.test"])])],
                "app.example.test has a CNAME beside other records or at the top of the zone, or several in a group",
            ),
        ];
        for (records, expected) in cases {
            assert_eq!(with(records).err().expect(expected).to_string(), expected);
        }
        let text = "x".repeat(61_000);
        let error = with(vec![set("app.example.test", Desired::Txt, 5, &[("eu", 1, &[&text])])]).err();
        assert!(matches!(error, Some(ZoneError::TooLarge { octets: 61_001.., .. })), "{error:?}");
    }

    fn node_types(zone: &ServedZone, wire: &[u8]) -> Option<Vec<String>> {
        zone.node(wire).map(|node| node.sets.iter().map(|set| set.rtype.to_string()).collect())
    }

    #[test]
    fn names_in_between_exist_without_records() {
        let zone = with(vec![set("a.b.example.test", Desired::Txt, 5, &[("eu", 1, &["x"])])]).unwrap();
        assert_eq!(node_types(&zone, b"\x01a\x01b\x07example\x04test\0").unwrap(), ["TXT"]);
        assert!(node_types(&zone, b"\x01b\x07example\x04test\0").unwrap().is_empty());
        assert_eq!(node_types(&zone, b"\x07example\x04test\0").unwrap(), ["SOA", "NS"]);
        assert_eq!(node_types(&zone, b"\x04test\0"), None);
    }

    #[test]
    fn a_set_without_values_leaves_a_name_without_records() {
        let zone = with(vec![set("app.example.test", Desired::A, 5, &[("eu", 1, &[])])]).unwrap();
        assert!(node_types(&zone, b"\x03app\x07example\x04test\0").unwrap().is_empty());
    }

    #[test]
    fn a_server_that_cannot_draw_gets_all_values_but_one_alias() {
        let groups = [("eu", 1, &["192.0.2.1"][..]), ("us", 9, &["192.0.2.2"]), ("ap", 0, &["192.0.2.3"])];
        let aliases = [("eu", 1, &["eu.test"][..]), ("us", 9, &["us.test"]), ("ap", 0, &["ap.test"])];
        let zone = with(vec![
            set("app.example.test", Desired::A, 5, &groups),
            set("www.example.test", Desired::Cname, 5, &aliases),
        ])
        .unwrap();
        let values = |name: &str| -> Vec<String> {
            let name = rdata::name(name).unwrap();
            let records = zone.transfer.iter().map(|(record, _)| record);
            records.filter(|record| record.name == name).map(|record| record.data.to_string()).collect()
        };
        assert_eq!(values("app.example.test"), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(values("www.example.test"), ["us.test."]);
    }

    #[test]
    fn aliases_that_all_weigh_0_are_drawn_evenly_one_at_a_time() {
        let aliases = [("eu", 0, &["eu.test"][..]), ("us", 0, &["us.test"])];
        let zone = with(vec![set("www.example.test", Desired::Cname, 5, &aliases)]).unwrap();
        let set = &zone.node(b"\x03www\x07example\x04test\0").unwrap().sets[0];
        assert_eq!(set.groups.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn without_name_servers_the_zone_is_whole_all_the_same() {
        let zone = ServedZone::build(Zone { name_servers: Vec::new(), ..sample::zone(1 << 32 | 9) }).unwrap();
        assert_eq!(zone.serial(), 9);
        assert_eq!(zone.soa.data.to_string(), "example.test. hostmaster.example.test. 9 60 10 604800 5");
    }
}
