//! From the octets of a request to the octets of its answer, purely.

use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};

use super::key::Key;
use super::prebuilt;
use super::resolve::resolve;
use super::table::Table;
use super::transfer::Transfer;
use super::weighted::next_random;
use super::zone::ServedZone;

/// The largest UDP payload sent or asked for: passes every path unfragmented (DNS flag day 2020).
pub const PAYLOAD_OCTETS: u16 = 1232;
/// RFC 1035, 4.2.1: what anyone can take over UDP without EDNS.
const PLAIN_UDP_OCTETS: u16 = 512;
const HEADER_OCTETS: usize = 12;
/// OPT, TSIG, and room for what some resolvers add; more is no question.
const MOST_ADDITIONALS: u16 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// What to do with a request.
pub enum Outcome {
    /// Send what was written.
    Reply,
    /// Send nothing: it was no request, or too short to be told so.
    Drop,
    /// Over TCP only: stream this, if the asker is one of the zone's secondaries.
    Transfer(Transfer),
}

/// The most octets of one answer. `edns_payload` is what the asker says it can take.
pub(crate) fn limit(transport: Transport, edns_payload: Option<u16>) -> usize {
    usize::from(match (transport, edns_payload) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => PLAIN_UDP_OCTETS,
        (Transport::Udp, Some(payload)) => payload.clamp(PLAIN_UDP_OCTETS, PAYLOAD_OCTETS),
    })
}

/// Answers one message, writing to `out`, which is emptied first.
///
/// `random` decides which group of a weighted set is served, uniformly over all its values.
pub fn answer(
    table: &Table,
    request: &[u8],
    transport: Transport,
    random: u64,
    out: &mut Vec<u8>,
) -> Outcome {
    out.clear();
    if prebuilt::answer(table, request, transport, random, out) {
        return Outcome::Reply;
    }
    answer_slowly(table, request, transport, random, out)
}

/// All of the semantics; what `prebuilt` answers gives the same octets' meaning here.
pub(crate) fn answer_slowly(
    table: &Table,
    request: &[u8],
    transport: Transport,
    random: u64,
    out: &mut Vec<u8>,
) -> Outcome {
    out.clear();
    let Some(header) = request.get(..HEADER_OCTETS) else { return Outcome::Drop };
    // Answering responses would let two servers be set talking to each other for ever.
    if header[2] & 0x80 != 0 {
        return Outcome::Drop;
    }
    let asked = match decode(request) {
        Ok(asked) => asked,
        Err(rcode) => {
            let implemented =
                matches!(OpCode::from_u8((header[2] >> 3) & 0x0f), OpCode::Query | OpCode::Notify);
            header_only(header, if implemented { rcode } else { ResponseCode::NotImp }, out);
            return Outcome::Reply;
        }
    };
    let reply = match respond(table, &asked, transport, random) {
        Response::Message(reply) => reply,
        Response::Transfer(transfer) => return Outcome::Transfer(transfer),
    };
    let payload = asked.edns.as_ref().map(Edns::max_payload);
    encode(reply, limit(transport, payload), header, out);
    Outcome::Reply
}

/// One question, decoded; the error is the code to answer with.
fn decode(request: &[u8]) -> Result<Message, ResponseCode> {
    let count = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
    // RFC 9619: exactly one question. Counts are checked first, so that a lie about them costs no
    // memory. A NOTIFY may carry its SOA as an answer, an IXFR its own as an authority.
    if count(4) != 1 || count(6) > 1 || count(8) > 1 || count(10) > MOST_ADDITIONALS {
        return Err(ResponseCode::FormErr);
    }
    let mut decoder = BinDecoder::new(request);
    let message = Message::read(&mut decoder).map_err(|_| ResponseCode::FormErr)?;
    let query = message.queries.first().ok_or(ResponseCode::FormErr)?;
    let ixfr = query.query_type == RecordType::IXFR;
    let notify = message.metadata.op_code == OpCode::Notify;
    let odd = !decoder.is_empty()
        || (!notify && !message.answers.is_empty())
        || (!ixfr && !message.authorities.is_empty())
        || query.query_type == RecordType::OPT;
    if odd { Err(ResponseCode::FormErr) } else { Ok(message) }
}

#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Response {
    Message(Message),
    Transfer(Transfer),
}

fn respond(table: &Table, asked: &Message, transport: Transport, random: u64) -> Response {
    let query = &asked.queries[0];
    let mut reply = Message::new(asked.metadata.id, MessageType::Response, asked.metadata.op_code);
    reply.metadata.recursion_desired = asked.metadata.recursion_desired;
    reply.queries.push(query.clone());
    reply.edns = asked.edns.as_ref().map(own_edns);

    let refusal = refusal(asked, query);
    if let Some(rcode) = refusal {
        reply.metadata.response_code = rcode;
        return Response::Message(reply);
    }
    if asked.metadata.op_code == OpCode::Notify {
        notified(table, query, &mut reply);
        return Response::Message(reply);
    }
    match query.query_type {
        RecordType::AXFR | RecordType::IXFR => transfer(table, asked, query, transport, reply),
        _ => {
            let Some(zone) = table.zone_of(Key::of(&query.name).as_wire()) else {
                reply.metadata.response_code = ResponseCode::Refused;
                return Response::Message(reply);
            };
            fill(zone, query, random, &mut reply);
            Response::Message(reply)
        }
    }
}

/// What is refused before any zone is looked at.
fn refusal(asked: &Message, query: &Query) -> Option<ResponseCode> {
    if !matches!(asked.metadata.op_code, OpCode::Query | OpCode::Notify) {
        return Some(ResponseCode::NotImp);
    }
    if asked.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Some(ResponseCode::BADVERS);
    }
    // RFC 8945, 5.2: no key is known here, so no signature can be good.
    if asked.signature.is_some() {
        return Some(ResponseCode::NotAuth);
    }
    if query.query_class != DNSClass::IN {
        return Some(ResponseCode::Refused);
    }
    match u16::from(query.query_type) {
        // TKEY, TSIG, MAILB, MAILA: questions for something that is not kept in zones.
        249 | 250 | 253 | 254 => Some(ResponseCode::NotImp),
        _ => None,
    }
}

fn fill(zone: &ServedZone, query: &Query, mut random: u64, reply: &mut Message) {
    let resolved =
        resolve(zone, &query.name, query.query_type, &mut |set| set.groups.draw(next_random(&mut random)));
    reply.metadata.authoritative = true;
    reply.metadata.response_code = resolved.rcode;
    reply.answers = resolved.answers;
    reply.authorities = resolved.authorities;
    reply.additionals = resolved.additionals;
}

/// RFC 1996, 3.7: to a NOTIFY for an own zone nothing needs doing, since nothing is above it.
fn notified(table: &Table, query: &Query, reply: &mut Message) {
    if table.zone_at(&query.name).is_some() {
        reply.metadata.authoritative = true;
    } else {
        reply.metadata.response_code = ResponseCode::NotAuth;
    }
}

fn transfer(
    table: &Table,
    asked: &Message,
    query: &Query,
    transport: Transport,
    mut reply: Message,
) -> Response {
    let Some(zone) = table.zone_at(&query.name) else {
        // RFC 5936, 2.2.1.
        reply.metadata.response_code = ResponseCode::NotAuth;
        return Response::Message(reply);
    };
    let theirs = asked.authorities.first().map(|record| &record.data);
    let newest = match (query.query_type, theirs) {
        (RecordType::IXFR, Some(RData::SOA(soa))) => !rises(soa.serial, zone.serial()),
        (RecordType::IXFR, _) => {
            reply.metadata.response_code = ResponseCode::FormErr;
            return Response::Message(reply);
        }
        _ if transport == Transport::Udp => {
            // RFC 5936, 4.2: there is no AXFR over UDP.
            reply.metadata.response_code = ResponseCode::Refused;
            return Response::Message(reply);
        }
        _ => false,
    };
    // RFC 1995, 2: the SOA alone says "you have the newest" or, over UDP, "come back by TCP".
    if newest || transport == Transport::Udp {
        reply.metadata.authoritative = true;
        reply.answers.push(zone.soa.clone());
        return Response::Message(reply);
    }
    Response::Transfer(Transfer { zone: Arc::clone(zone), head: reply })
}

/// Whether `to` is a newer serial than `from` (RFC 1982, 3.2).
fn rises(from: u32, to: u32) -> bool {
    from != to && to.wrapping_sub(from) < 1 << 31
}

/// RFC 6891, 6.1.1: an OPT answers an OPT; RFC 3225, 3: with its DO, and nothing else of it.
fn own_edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD_OCTETS).set_version(0).set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

/// Encodes within `limit`: what does not fit leaves no half set, but TC and empty sections, so
/// that the asker comes back by TCP (RFC 2181, 9).
fn encode(mut reply: Message, limit: usize, request_header: &[u8], out: &mut Vec<u8>) {
    for _ in 0..2 {
        out.clear();
        if reply.emit(&mut BinEncoder::new(out)).is_err() {
            break;
        }
        if out.len() <= limit {
            return;
        }
        reply.answers.clear();
        reply.authorities.clear();
        reply.additionals.clear();
        reply.metadata.truncation = true;
    }
    header_only(request_header, ResponseCode::ServFail, out);
}

/// Where the question itself could not be read, or cannot be repeated.
fn header_only(request_header: &[u8], rcode: ResponseCode, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&request_header[..2]);
    // OPCODE and RD are the asker's.
    out.extend_from_slice(&[0x80 | (request_header[2] & 0x79), rcode.low()]);
    out.extend_from_slice(&[0; 8]);
}

#[cfg(test)]
mod malformed;
#[cfg(test)]
mod tests;
