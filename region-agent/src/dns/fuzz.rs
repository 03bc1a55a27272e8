//! The entry of the fuzz target, which a seeded test calls too.

use std::sync::OnceLock;

use hickory_proto::op::{Message, MessageType};

use super::answer::{Outcome, Transport, answer, limit};
use super::sample;
use super::table::Table;

/// Answers `octets` by both transports.
///
/// # Panics
/// Where an answer does not decode, does not belong to the request, or is longer than allowed.
pub fn request(octets: &[u8]) {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(|| Table::default().offered(vec![sample::zone(7)]).table);
    let mut out = Vec::new();
    for transport in [Transport::Udp, Transport::Tcp] {
        match answer(table, octets, transport, 0, &mut out) {
            Outcome::Drop => assert!(octets.len() < 12 || octets[2] & 0x80 != 0, "dropped a request"),
            Outcome::Reply => {
                let reply = Message::from_vec(&out).expect("own answers decode");
                assert_eq!(reply.metadata.message_type, MessageType::Response);
                assert_eq!(out[..2], octets[..2], "the id is the asker's");
                assert!(out.len() <= limit(transport, Some(u16::MAX)));
            }
            Outcome::Transfer(transfer) => {
                assert_eq!(transport, Transport::Tcp);
                assert!(transfer.messages().all(|message| message.is_some()));
            }
        }
    }
}
