//! Messages of RFC 2136, built and not sent.

use hickory_proto::op::{Message, MessageType, OpCode, Query, UpdateMessage};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::error::DnsError;
use super::judge::Replacement;
use super::marker::{Marker, marker_name};
use super::records::{RrSet, name, txt};

/// Only Regent reads it, at the server that has it; this keeps it short-lived in caches.
const MARKER_TTL_S: u32 = 60;

pub(super) fn marker_set(marker: &Marker) -> RrSet {
    RrSet { rtype: RecordType::TXT, ttl_s: MARKER_TTL_S, rdata: vec![RData::TXT(txt(&marker.to_string()))] }
}

/// One update for all names: all of it happens, or none (RFC 2136, 3.4.2.7).
pub(super) fn update(zone: &Name, replacements: &[Replacement]) -> Result<Message, DnsError> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Update);
    message.add_zone(Query::query(zone.clone(), RecordType::SOA));
    for at in replacements {
        let owner = name(&at.name)?;
        let place = name(&marker_name(&at.name))?;
        conditions(&mut message, &owner, &place, at);
        // What is deleted is added again even where it stays the same: Knot acknowledges the
        // mere adding of a record with another TTL, and does nothing.
        if changes_to_or_from_cname(at) {
            // On a zone that Knot signs, deleting one type and adding a CNAME leaves neither.
            message.add_update(delete_all(&owner));
        } else {
            for rr in at.delete.iter().filter(|gone| !at.add.iter().any(|new| new.rtype == gone.rtype)) {
                message.add_update(delete_set(&owner, rr.rtype));
            }
            at.add.iter().for_each(|rr| message.add_update(delete_set(&owner, rr.rtype)));
        }
        at.add.iter().for_each(|rr| message.add_updates(records(&owner, rr, rr.ttl_s)));
        message.add_update(delete_set(&place, RecordType::TXT));
        message.add_updates(records(&place, &marker_set(&at.marker), MARKER_TTL_S));
    }
    Ok(message)
}

fn conditions(message: &mut Message, owner: &Name, place: &Name, at: &Replacement) {
    match &at.seen_marker {
        Some(marker) => message.add_pre_requisites(records(place, marker, 0)),
        None => message.add_pre_requisite(absent(place, RecordType::TXT)),
    }
    at.adopted.iter().for_each(|rr| message.add_pre_requisites(records(owner, rr, 0)));
    at.absent.iter().for_each(|rtype| message.add_pre_requisite(absent(owner, *rtype)));
}

fn changes_to_or_from_cname(at: &Replacement) -> bool {
    let has = |sets: &[RrSet]| sets.iter().any(|rr| rr.rtype == RecordType::CNAME);
    !at.delete.is_empty() && has(&at.delete) != has(&at.add)
}

fn records(owner: &Name, rr: &RrSet, ttl_s: u32) -> Vec<Record> {
    rr.rdata.iter().map(|rdata| Record::from_rdata(owner.clone(), ttl_s, rdata.clone())).collect()
}

/// RFC 2136, 2.4.3.
fn absent(owner: &Name, rtype: RecordType) -> Record {
    empty(owner, rtype, DNSClass::NONE)
}

/// RFC 2136, 2.5.2.
fn delete_set(owner: &Name, rtype: RecordType) -> Record {
    empty(owner, rtype, DNSClass::ANY)
}

/// RFC 2136, 2.5.3.
fn delete_all(owner: &Name) -> Record {
    empty(owner, RecordType::ANY, DNSClass::ANY)
}

fn empty(owner: &Name, rtype: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(owner.clone(), 0, rtype);
    record.dns_class = class;
    record
}
