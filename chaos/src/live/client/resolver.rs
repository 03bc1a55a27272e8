//! Asks one name server where the service is, again and again: without a cache, so that what is seen is what it says now.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::live::clock::now_ns;
use crate::live::record::{Book, Lookup};

const EVERY: Duration = Duration::from_millis(100);
const WITHIN: Duration = Duration::from_millis(400);
/// Without EDNS servers send at most 512 (RFC 1035, 4.2.1).
const DATAGRAM_MAX_BYTES: usize = 512;

pub(super) struct Resolver {
    /// Whose server is asked.
    pub to: &'static str,
    pub server: SocketAddr,
    /// Which leads to the service.
    pub name: &'static str,
    pub regions: Vec<(Ipv4Addr, &'static str)>,
    pub book: Arc<Book>,
}

impl Resolver {
    pub async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for id in 0..u64::MAX {
            ticks.tick().await;
            let answer = timeout(WITHIN, self.ask(id as u16)).await;
            let leads = answer.ok().flatten().unwrap_or_default();
            self.book.note_lookup(Lookup { to: self.to, at_ns: now_ns(), leads });
        }
    }

    /// A socket of its own each time: what comes late is of no question.
    async fn ask(&self, id: u16) -> Option<Vec<&'static str>> {
        let mut question = Message::new(id, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(Name::from_ascii(self.name).ok()?, RecordType::A));
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
        socket.connect(self.server).await.ok()?;
        socket.send(&question.to_vec().ok()?).await.ok()?;
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        let length = socket.recv(&mut buffer).await.ok()?;
        let answer = Message::from_vec(&buffer[..length]).ok()?;
        let region = |data: &RData| match data {
            RData::A(address) => self.regions.iter().find(|(known, _)| *known == address.0),
            _ => None,
        };
        Some(answer.answers.iter().filter_map(|record| region(&record.data)).map(|(_, name)| *name).collect())
    }
}
