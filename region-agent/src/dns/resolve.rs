//! What a zone says to one question: RFC 1034, 4.3.2, without referrals, as no zone here delegates.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::key::Key;
use super::zone::{NEGATIVE_TTL_S, ServedZone, Set};

/// A chain of aliases longer than this is cut off; resolvers give up at about as many.
const LONGEST_CHAIN: usize = 8;

/// The sections of an authoritative answer.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) rcode: ResponseCode,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

/// `pick` chooses the index of the group to serve. Owner names keep the case of the question
/// (draft-vixie-dnsext-dns0x20), and names found through an alias that of the alias.
pub(crate) fn resolve(
    zone: &ServedZone,
    qname: &Name,
    qtype: RecordType,
    pick: &mut dyn FnMut(&Set) -> usize,
) -> Resolved {
    let mut found = Resolved::default();
    let mut owner = qname.clone();
    for _ in 0..=LONGEST_CHAIN {
        let Some(node) = zone.find(Key::of(&owner).as_wire()) else {
            // RFC 6604, 3: the code speaks of the last name of the chain.
            found.rcode = ResponseCode::NXDomain;
            found.authorities.push(negative(zone));
            return found;
        };
        let wanted = match qtype {
            // RFC 8482, 4.1: one set stands for all of them.
            RecordType::ANY => node.sets.first(),
            qtype => node.set(qtype),
        };
        if let Some(set) = wanted {
            found.answers.extend(records(&owner, set, pick));
            if set.rtype == RecordType::NS {
                found.additionals = glue(zone, set);
            }
            return found;
        }
        let Some(alias) = node.set(RecordType::CNAME) else {
            found.authorities.push(negative(zone));
            return found;
        };
        let before = found.answers.len();
        found.answers.extend(records(&owner, alias, pick));
        match found.answers.get(before).map(|record| &record.data) {
            Some(RData::CNAME(target)) if zone.origin.zone_of(&target.0) => owner = target.0.clone(),
            _ => return found,
        }
        if found.answers.iter().any(|record| record.name == owner) {
            return found;
        }
    }
    found
}

fn records(owner: &Name, set: &Set, pick: &mut dyn FnMut(&Set) -> usize) -> Vec<Record> {
    let group = set.groups.get(pick(set));
    group.iter().map(|value| Record::from_rdata(owner.clone(), set.ttl_s, value.clone())).collect()
}

/// RFC 2308, 3: the SOA tells how long the absence may be remembered.
fn negative(zone: &ServedZone) -> Record {
    let mut soa = zone.soa.clone();
    soa.ttl = soa.ttl.min(NEGATIVE_TTL_S);
    soa
}

/// The addresses of name servers within the zone.
fn glue(zone: &ServedZone, servers: &Set) -> Vec<Record> {
    let mut glue = Vec::new();
    for server in servers.groups.iter().flatten() {
        let RData::NS(name) = server else { continue };
        let Some(node) = zone.node(Key::of(&name.0).as_wire()) else { continue };
        for set in node.sets.iter().filter(|set| matches!(set.rtype, RecordType::A | RecordType::AAAA)) {
            let values = set.undrawn();
            glue.extend(values.into_iter().map(|value| Record::from_rdata(name.0.clone(), set.ttl_s, value)));
        }
    }
    glue
}
