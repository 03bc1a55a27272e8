//! Starting and stopping it all.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use decision::dns::Zone;
use decision::name::DnsName;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::host::{BoxListener, Host};

use super::metrics::Metrics;
use super::notify::Notifier;
use super::publish::Publisher;
use super::shared::Shared;
use super::table::{Refused, Table};
use super::{store, tcp, udp};

/// How long connections get to finish the answer they are at.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// A port free for TCP may be taken for UDP: so often another is tried.
const PORT_ATTEMPTS: usize = 16;

#[derive(Clone, Debug)]
pub struct Settings {
    /// For UDP and TCP alike; port 0 takes one that is free for both. An unspecified address
    /// answers from whichever address the route gives, so on hosts with several, name one.
    pub bind: SocketAddr,
    /// Where the newest zones are kept; made if absent.
    pub data_dir: PathBuf,
}

/// A running authoritative server; dropping it stops it at once.
pub struct DnsServer {
    publisher: Arc<Publisher>,
    local_addr: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
}

impl DnsServer {
    /// Loads the zones of the last run and serves them at once: no controller is needed.
    ///
    /// # Errors
    /// The address is taken, or the data folder cannot be used. A corrupt file of zones is no error:
    /// it is moved aside with a warning, and the server starts empty.
    pub async fn start(settings: Settings, host: Host) -> io::Result<Self> {
        let Settings { bind, data_dir } = settings;
        let dir = data_dir.clone();
        let loaded =
            tokio::task::spawn_blocking(move || store::load(&dir)).await.map_err(io::Error::other)??;
        if let Some(why) = loaded.corrupt {
            tracing::warn!(data_dir = %data_dir.display(), why, "the saved zones are corrupt; starting without any");
        }
        let offer = Table::after_list(loaded.stored.listed).offered(loaded.stored.zones);
        for refused in &offer.refused {
            tracing::warn!(%refused, "a saved zone cannot be served");
        }

        let (socket, listener) = bind_both(bind, &host).await?;
        let local_addr = socket.local_addr()?;
        let (tasks, stop, abort) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let shared = Arc::new(Shared::new(host, offer.table));
        let notifier = Notifier::new(tasks.clone(), stop.clone(), local_addr.ip());
        for zone in &offer.changed {
            notifier.announce(zone, &shared);
        }
        tasks.spawn(udp::serve(socket, Arc::clone(&shared), stop.clone()));
        tasks.spawn(tcp::serve(listener, Arc::clone(&shared), tasks.clone(), stop.clone(), abort.clone()));
        let publisher = Arc::new(Publisher::new(shared, notifier, data_dir));
        Ok(Self { publisher, local_addr, tasks, stop, abort })
    }

    /// Serves each zone that is newer than the one held, from the moment this returns, and tells
    /// its secondaries. Zones not named stay. Refused ones leave what was held as it was.
    ///
    /// Cancellation-safe: once begun it runs to its end.
    pub async fn publish(&self, zones: Vec<Zone>) -> Vec<Refused> {
        self.publishing(move |publisher| publisher.publish(zones)).await
    }

    /// As [`DnsServer::publish`], of all zones there are as of `generation`: one that is held and not
    /// named is served no more, and not after a restart either, if no newer list was taken before.
    ///
    /// Cancellation-safe: once begun it runs to its end.
    pub async fn publish_list(&self, generation: u64, zones: Vec<Zone>) -> Vec<Refused> {
        self.publishing(move |publisher| publisher.publish_list(generation, zones)).await
    }

    async fn publishing(
        &self,
        publish: impl FnOnce(&Publisher) -> Vec<Refused> + Send + 'static,
    ) -> Vec<Refused> {
        let publisher = Arc::clone(&self.publisher);
        match tokio::task::spawn_blocking(move || publish(&publisher)).await {
            Ok(refused) => refused,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is ending, and this call with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// The zones served, with their generations.
    pub fn held(&self) -> Vec<(DnsName, u64)> {
        let table = self.publisher.shared.table();
        table.zones().iter().map(|zone| (zone.desired.origin.clone(), zone.desired.generation)).collect()
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub fn metrics(&self) -> &Metrics {
        &self.publisher.shared.metrics
    }

    /// Takes no more requests, lets answers under way finish, and frees the addresses.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_GRACE, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

async fn bind_both(bind: SocketAddr, host: &Host) -> io::Result<(UdpSocket, BoxListener)> {
    let named = |what: &str, at: SocketAddr, e: io::Error| {
        io::Error::new(e.kind(), format!("cannot serve DNS over {what} at {at}: {e}"))
    };
    let mut attempt = 1;
    loop {
        let listener = host.network.bind(&bind.to_string()).await.map_err(|e| named("TCP", bind, e))?;
        let at = listener.local_addr()?;
        match UdpSocket::bind(at).await {
            Ok(socket) => return Ok((socket, listener)),
            Err(_) if bind.port() == 0 && attempt < PORT_ATTEMPTS => attempt += 1,
            Err(e) => return Err(named("UDP", at, e)),
        }
    }
}
