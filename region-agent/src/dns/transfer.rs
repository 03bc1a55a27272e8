//! A whole zone over TCP, as several messages (RFC 5936).

use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::BinEncodable;

use super::zone::ServedZone;

/// Below 16 KiB every name can be pointed at by compression; far below what a message may hold.
const MESSAGE_OCTETS: usize = 15_000;

/// A permitted question for a whole zone. It holds the zone as it was when asked, so that a
/// publish in between does not mix two generations.
pub struct Transfer {
    pub(crate) zone: Arc<ServedZone>,
    /// An answer with its question, and no records yet.
    pub(crate) head: Message,
}

impl Transfer {
    pub fn zone(&self) -> &ServedZone {
        &self.zone
    }

    /// What to send to someone who is not a secondary.
    pub fn refused(mut self) -> Option<Vec<u8>> {
        self.head.metadata.response_code = ResponseCode::Refused;
        self.head.to_bytes().ok()
    }

    /// The messages, one after the other; made only when asked for, so a slow reader holds one.
    /// `None` in place of one that does not encode: the transfer must then be broken off.
    pub fn messages(self) -> impl Iterator<Item = Option<Vec<u8>>> {
        let Self { zone, mut head } = self;
        head.metadata.authoritative = true;
        // RFC 5936, 2.2: the SOA opens and closes.
        let total = zone.transfer.len() + 2;
        let mut next = 0;
        std::iter::from_fn(move || {
            let mut size = 0;
            let mut records: Vec<Record> = Vec::new();
            while next < total {
                let (record, octets) = match next.checked_sub(1).and_then(|i| zone.transfer.get(i)) {
                    Some((record, octets)) => (record, *octets),
                    None => (&zone.soa, 600),
                };
                if !records.is_empty() && size + octets > MESSAGE_OCTETS {
                    break;
                }
                size += octets;
                records.push(record.clone());
                next += 1;
            }
            if records.is_empty() {
                return None;
            }
            head.answers = records;
            let octets = head.to_bytes().ok();
            // RFC 5936, 2.2.1: later messages need not repeat the question.
            head.queries.clear();
            Some(octets)
        })
    }
}
