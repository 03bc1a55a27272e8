//! The fast path: answers encoded once, when the zone is published.
//!
//! It knows nothing about DNS semantics: what it sends was made by `resolve`, and everything that
//! is not the plainest of questions falls through to `answer`. Everything after the question is
//! the same octets for every spelling of the name, as compression points into the question itself.

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::BinEncodable;

use super::answer::{Transport, limit};
use super::key::Key;
use super::resolve::resolve;
use super::table::Table;
use super::weighted::{Weighted, next_random};
use super::zone::{Node, ServedZone};

const HEADER_OCTETS: usize = 12;
/// Type and class after the name of a question.
const QUESTION_TAIL_OCTETS: usize = 4;
const OPT_OCTETS: usize = 11;
pub(crate) const CLASS_IN: u16 = 1;
pub(crate) const TYPE_OPT: u16 = 41;

/// All answers to one question.
pub(crate) struct Prebuilt {
    qtype: u16,
    answers: Weighted<Encoded>,
}

struct Encoded {
    rcode: u8,
    answers: u16,
    authorities: u16,
    /// Without OPT.
    additionals: u16,
    /// Everything after the question.
    body: Box<[u8]>,
}

/// What resolvers ask in earnest: the types a name has, and the addresses it has not.
pub(crate) fn build(zone: &ServedZone, name: &Name) -> Vec<Prebuilt> {
    let Some(node) = zone.node(Key::of(name).as_wire()) else { return Vec::new() };
    // An alias leads to other draws; wildcards are not asked for by their own name.
    if name.is_wildcard() || node.set(RecordType::CNAME).is_some() {
        return Vec::new();
    }
    let mut qtypes: Vec<RecordType> = node.sets.iter().map(|set| set.rtype).collect();
    for address in [RecordType::A, RecordType::AAAA] {
        if !qtypes.contains(&address) {
            qtypes.push(address);
        }
    }
    qtypes.into_iter().filter_map(|qtype| prebuild(zone, node, name, qtype)).collect()
}

/// `None` where the answer does not encode; the slow path then says what is wrong.
fn prebuild(zone: &ServedZone, node: &Node, name: &Name, qtype: RecordType) -> Option<Prebuilt> {
    let groups = match node.set(qtype) {
        Some(set) => set.groups.map_indexed(|index| encode(zone, name, qtype, index).ok_or(())).ok()?,
        None => Weighted::sole(encode(zone, name, qtype, 0)?),
    };
    Some(Prebuilt { qtype: qtype.into(), answers: groups })
}

fn encode(zone: &ServedZone, name: &Name, qtype: RecordType, group: usize) -> Option<Encoded> {
    let resolved = resolve(zone, name, qtype, &mut |_| group);
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.queries.push(Query::query(name.clone(), qtype));
    message.answers = resolved.answers;
    message.authorities = resolved.authorities;
    message.additionals = resolved.additionals;
    let octets = message.to_bytes().ok()?;
    let question = HEADER_OCTETS + Key::of(name).as_wire().len() + QUESTION_TAIL_OCTETS;
    Some(Encoded {
        rcode: resolved.rcode.low(),
        answers: message.answers.len().try_into().ok()?,
        authorities: message.authorities.len().try_into().ok()?,
        additionals: message.additionals.len().try_into().ok()?,
        body: octets.get(question..)?.into(),
    })
}

/// Writes the whole answer to `out` and says true, or leaves `out` as it was.
pub(crate) fn answer(
    table: &Table,
    request: &[u8],
    transport: Transport,
    mut random: u64,
    out: &mut Vec<u8>,
) -> bool {
    let Some(question) = plain_question(request) else { return false };
    let Some(zone) = table.zone_of(question.name.as_wire()) else { return false };
    let Some(node) = zone.node(question.name.as_wire()) else { return false };
    let Some(prebuilt) = node.prebuilt.iter().find(|prebuilt| prebuilt.qtype == question.qtype) else {
        return false;
    };
    let encoded = prebuilt.answers.get(prebuilt.answers.draw(next_random(&mut random)));
    let opt_octets = if question.edns.is_some() { OPT_OCTETS } else { 0 };
    if question.end + encoded.body.len() + opt_octets
        > limit(transport, question.edns.map(|edns| edns.payload))
    {
        return false;
    }

    out.extend_from_slice(&request[..2]);
    // QR, AA, and RD as it was asked.
    out.extend_from_slice(&[0x84 | (request[2] & 0x01), encoded.rcode, 0, 1]);
    out.extend_from_slice(&encoded.answers.to_be_bytes());
    out.extend_from_slice(&encoded.authorities.to_be_bytes());
    out.extend_from_slice(&(encoded.additionals + u16::from(question.edns.is_some())).to_be_bytes());
    out.extend_from_slice(&request[HEADER_OCTETS..question.end]);
    out.extend_from_slice(&encoded.body);
    if let Some(edns) = question.edns {
        let [high, low] = super::answer::PAYLOAD_OCTETS.to_be_bytes();
        // RFC 3225, 3: DO is copied; nothing else of the asker's OPT is.
        let dnssec_ok = edns.flags & 0x80;
        out.extend_from_slice(&[0, 0, TYPE_OPT as u8, high, low, 0, 0, dnssec_ok, 0, 0, 0]);
    }
    true
}

struct PlainQuestion {
    name: Key,
    qtype: u16,
    /// Where the question ends.
    end: usize,
    edns: Option<PlainEdns>,
}

#[derive(Clone, Copy)]
struct PlainEdns {
    payload: u16,
    flags: u8,
}

/// One question of class IN with an uncompressed name, at most an EDNS 0 record, nothing more.
fn plain_question(request: &[u8]) -> Option<PlainQuestion> {
    let header = request.get(..HEADER_OCTETS)?;
    // QR, OPCODE and TC are clear; one question, no records but perhaps one additional.
    if header[2] & 0xfa != 0 || header[4..10] != [0, 1, 0, 0, 0, 0] || header[10] != 0 || header[11] > 1 {
        return None;
    }
    let name = Key::read(&request[HEADER_OCTETS..])?;
    let tail = HEADER_OCTETS + name.as_wire().len();
    let end = tail + QUESTION_TAIL_OCTETS;
    let [qtype, qclass] = [two(request, tail)?, two(request, tail + 2)?];
    if qclass != CLASS_IN {
        return None;
    }
    let rest = request.get(end..)?;
    let edns = if header[11] == 1 { Some(plain_edns(rest)?) } else { None };
    (edns.is_some() || rest.is_empty()).then_some(PlainQuestion { name, qtype, end, edns })
}

fn plain_edns(rest: &[u8]) -> Option<PlainEdns> {
    let fixed = rest.get(..OPT_OCTETS)?;
    let version = fixed[6];
    if fixed[0] != 0 || two(fixed, 1)? != TYPE_OPT || version != 0 {
        return None;
    }
    let mut options = &rest[OPT_OCTETS..];
    if options.len() != usize::from(two(fixed, 9)?) {
        return None;
    }
    // RFC 6891, 6.1.2: unknown options are ignored, but they must be well-formed.
    while !options.is_empty() {
        options = options.get(4 + usize::from(two(options, 2)?)..)?;
    }
    Some(PlainEdns { payload: two(fixed, 3)?, flags: fixed[7] })
}

fn two(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(octets.get(at..at + 2)?.try_into().ok()?))
}
