//! Telling secondaries that a zone has changed (RFC 1996).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use decision::name::DnsName;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::BinEncodable;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::metrics::add;
use super::secondaries;
use super::shared::Shared;
use super::zone::ServedZone;

/// Between the first attempts, then doubling: one lost packet must not cost a failover seconds.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Runs one task for each zone and secondary until it is acknowledged or superseded.
pub(crate) struct Notifier {
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Where notifies are sent from: secondaries compare it with the primary they know.
    local: IpAddr,
    running: Mutex<HashMap<DnsName, CancellationToken>>,
}

impl Notifier {
    pub(crate) fn new(tasks: TaskTracker, stop: CancellationToken, local: IpAddr) -> Self {
        Self { tasks, stop, local, running: Mutex::default() }
    }

    /// Tells all secondaries of the zone; what an older generation still had to tell is dropped.
    pub(crate) fn announce(&self, zone: &Arc<ServedZone>, shared: &Arc<Shared>) {
        let superseded = self.stop.child_token();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = running.insert(zone.desired.origin.clone(), superseded.clone()) {
            older.cancel();
        }
        for secondary in &zone.desired.secondaries {
            let (zone, shared, secondary) = (Arc::clone(zone), Arc::clone(shared), secondary.clone());
            let (superseded, local) = (superseded.clone(), self.local);
            self.tasks.spawn(async move {
                tokio::select! {
                    () = superseded.cancelled() => {}
                    () = tell(&zone, &secondary, local, &shared) => {}
                }
            });
        }
    }

    /// Ends what there still was to tell of a zone that is served no more.
    pub(crate) fn forget(&self, origin: &DnsName) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(telling) = running.remove(origin) {
            telling.cancel();
        }
    }
}

async fn tell(zone: &ServedZone, secondary: &str, local: IpAddr, shared: &Shared) {
    let (origin, generation) = (&zone.desired.origin, zone.desired.generation);
    let mut wait = FIRST_WAIT;
    for attempt in 1_u32.. {
        let jitter = Duration::from_millis(shared.host.random.below(wait.as_millis() as u64 / 4));
        let next = Instant::now() + wait + jitter;
        match attempt_once(zone, secondary, local, shared, next).await {
            Ok(()) => {
                add(&shared.metrics.notifies_acknowledged);
                tracing::debug!(%origin, generation, secondary, attempt, "secondary acknowledged");
                return;
            }
            Err(error) if attempt == 3 => {
                tracing::warn!(%origin, generation, secondary, %error, "secondary does not acknowledge; trying on");
            }
            Err(error) => {
                tracing::debug!(%origin, generation, secondary, attempt, %error, "not acknowledged")
            }
        }
        sleep_until(next).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// To every address of the secondary in turn; the first acknowledgement is enough.
async fn attempt_once(
    zone: &ServedZone,
    secondary: &str,
    local: IpAddr,
    shared: &Shared,
    deadline: Instant,
) -> io::Result<()> {
    let id = shared.host.random.next_u64() as u16;
    let notify = message(zone, id)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no addresses");
    for address in secondaries::addresses(secondary).await? {
        add(&shared.metrics.notifies_sent);
        match exchange(&notify, id, address, local, deadline).await {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// RFC 1996, 3.7: the SOA goes along as a hint, so that the serial is known at once.
fn message(zone: &ServedZone, id: u16) -> io::Result<Vec<u8>> {
    let mut notify = Message::new(id, MessageType::Query, OpCode::Notify);
    notify.metadata.authoritative = true;
    notify.queries.push(Query::query(zone.origin.clone(), RecordType::SOA));
    notify.answers.push(zone.soa.clone());
    notify.to_bytes().map_err(io::Error::other)
}

async fn exchange(
    notify: &[u8],
    id: u16,
    to: SocketAddr,
    local: IpAddr,
    deadline: Instant,
) -> io::Result<()> {
    let socket = UdpSocket::bind((source(local, to.ip()), 0)).await?;
    socket.connect(to).await?;
    socket.send(notify).await?;
    let mut octets = [0; 512];
    loop {
        let len = timeout_at(deadline, socket.recv(&mut octets)).await??;
        let Ok(reply) = Message::from_vec(&octets[..len]) else { continue };
        let ours = reply.metadata.id == id
            && reply.metadata.message_type == MessageType::Response
            && reply.metadata.op_code == OpCode::Notify;
        match reply.metadata.response_code {
            _ if !ours => {}
            ResponseCode::NoError => return Ok(()),
            rcode => return Err(io::Error::other(format!("it answered {rcode}"))),
        }
    }
}

/// The server's own address where packets from it can reach the other at all.
fn source(local: IpAddr, to: IpAddr) -> IpAddr {
    if local.is_ipv4() == to.is_ipv4() && local.is_loopback() == to.is_loopback() {
        return local;
    }
    match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use wire::host::Host;

    use super::*;
    use crate::dns::sample;
    use crate::dns::table::Table;

    #[tokio::test]
    async fn nobody_is_told_any_more_of_a_zone_that_is_forgotten() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut zone = sample::zone(7);
        zone.secondaries = vec![silent.local_addr().unwrap().to_string()];
        let zone = Arc::new(ServedZone::build(zone).unwrap());
        let shared = Arc::new(Shared::new(Host::system(), Table::default()));
        let tasks = TaskTracker::new();
        let notifier = Notifier::new(tasks.clone(), CancellationToken::new(), Ipv4Addr::LOCALHOST.into());
        notifier.announce(&zone, &shared);
        silent.recv(&mut [0; 512]).await.unwrap();
        notifier.forget(&zone.desired.origin);
        tasks.close();
        // It would try on for ever.
        tokio::time::timeout(Duration::from_secs(20), tasks.wait()).await.expect("its task ends");
    }
}
