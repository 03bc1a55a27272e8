//! A client from outside: it asks for one page again and again, each time over a new connection, and finds the way by
//! resolvers that keep an answer for its TTL, as clients do.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use decision::config::Config;
use decision::drill::report::Requests;
use decision::name::RegionName;
use decision::time::Time;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use http::header::{HOST, USER_AGENT};
use http::{Request, Uri};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use wire::host::{BoxIo, BoxListener, Clock, Network, TcpNetwork};
use wire::target::{Inside, Opener, Origin, Roots};

use super::gap;
use crate::dns::verify::address;

const EVERY: Duration = Duration::from_millis(100);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Of one resolver; then the next one is asked.
const RESOLVED_WITHIN: Duration = Duration::from_millis(500);
const AGENT: &str = concat!("regent-drill/", env!("CARGO_PKG_VERSION"));

pub(super) struct Visitor {
    uri: Uri,
    origin: Origin,
    opener: Opener,
    way: Arc<Way>,
    clock: Arc<dyn Clock>,
    asked: Mutex<Vec<Asked>>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    ended: Time,
    is_served: bool,
}

impl Visitor {
    /// `servers`: the resolvers that it asks, `host:port`.
    pub(super) async fn new(
        url: &str,
        servers: &[String],
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Visitor>, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
        let origin = Origin::of(&uri)?;
        let way = Arc::new(Way { resolver: caching(servers).await?, cut_off: Mutex::default() });
        let opener = Opener::new(way.clone(), Roots::Native);
        Ok(Arc::new(Visitor { uri, origin, opener, way, clock, asked: Mutex::default() }))
    }

    /// Until `stop`.
    pub(super) async fn visit(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let is_served = matches!(tokio::time::timeout(ANSWER_WITHIN, self.get()).await, Ok(Ok(())));
            self.lock().push(Asked { ended: self.clock.now(), is_served });
        }
    }

    /// Once, before anything is measured.
    pub(super) async fn try_once(&self) -> Result<(), String> {
        let got = tokio::time::timeout(ANSWER_WITHIN, self.get()).await;
        got.unwrap_or_else(|_| Err("no answer in time".into())).map_err(|why| format!("{}: {why}", self.uri))
    }

    async fn get(&self) -> Result<(), String> {
        let stream = self.opener.open(&self.origin, Inside::Http1).await?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
        // Ends by itself once the sender is dropped.
        tokio::spawn(connection);
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = self.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let request = Request::get(path).header(HOST, host).header(USER_AGENT, AGENT);
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        match response.status() {
            status if status.is_success() || status.is_redirection() => Ok(()),
            status => Err(format!("status {status}")),
        }
    }

    /// What this region answers by is unreachable, as for clients of a region that is lost: the drill cuts off
    /// Regent's own processes alone.
    pub(super) async fn cut_off(&self, config: &Config, region: &RegionName) {
        let mut addresses = BTreeSet::new();
        for host in hosts(config, region) {
            addresses.extend(self.way.resolve(&host).await.unwrap_or_default());
        }
        *self.way.cut_off() = addresses;
    }

    pub(super) fn heal(&self) {
        self.way.cut_off().clear();
    }

    pub(super) fn last_success(&self) -> Option<Time> {
        self.lock().iter().rev().find(|asked| asked.is_served).map(|asked| asked.ended)
    }

    /// When the first was after the longest time without.
    pub(super) fn first_success_after_gap(&self, fault_at: Time) -> Option<Time> {
        longest_gap(&self.lock(), fault_at).map(|(_, end)| end)
    }

    pub(super) fn measure(&self, fault_at: Time) -> Requests {
        measure(&self.lock(), fault_at)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn longest_gap(asked: &[Asked], fault_at: Time) -> Option<(Duration, Time)> {
    let served: Vec<Time> = asked.iter().filter(|asked| asked.is_served).map(|asked| asked.ended).collect();
    gap::longest(&served, asked.last()?.ended, fault_at)
}

fn measure(asked: &[Asked], fault_at: Time) -> Requests {
    let count = |is_served, is_before: bool| {
        let these = asked.iter().filter(|asked| asked.is_served == is_served);
        these.filter(|asked| (asked.ended < fault_at) == is_before).count() as u64
    };
    Requests {
        longest_gap_ms: longest_gap(asked, fault_at).map(|(gap, _)| gap.as_millis() as u64),
        served: count(true, true) + count(true, false),
        failed: count(false, true) + count(false, false),
        baseline_served: count(true, true),
        baseline_failed: count(false, true),
    }
}

/// Where clients are led in this region, and where it is probed.
fn hosts(config: &Config, region: &RegionName) -> BTreeSet<String> {
    let records = config.services.values().flat_map(|service| &service.dns);
    let values = records.filter_map(|record| record.values.get(region)).flatten().cloned();
    let endpoints = config.region(region).into_iter().flat_map(|region| &region.endpoints);
    let origins = endpoints.filter_map(|url| Origin::of(&url.parse().ok()?).ok());
    values.chain(origins.map(|origin| origin.host)).collect()
}

/// How it gets to a server.
struct Way {
    resolver: TokioResolver,
    cut_off: Mutex<BTreeSet<IpAddr>>,
}

impl Way {
    fn cut_off(&self) -> MutexGuard<'_, BTreeSet<IpAddr>> {
        self.cut_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        // Not in some search domain.
        let name = if host.parse::<IpAddr>().is_ok() { host.to_owned() } else { format!("{host}.") };
        let found = self.resolver.lookup_ip(name).await.map_err(io::Error::other)?;
        Ok(found.iter().collect())
    }
}

#[async_trait]
impl Network for Way {
    async fn connect(&self, address: &str) -> io::Result<BoxIo> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("{address}: no host:port"));
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let port: u16 = port.parse().map_err(|_| invalid())?;
        let mut failed = io::Error::from(io::ErrorKind::HostUnreachable);
        for ip in self.resolve(host.trim_matches(['[', ']'])).await? {
            if self.cut_off().contains(&ip) {
                continue;
            }
            match TcpNetwork.connect(&SocketAddr::new(ip, port).to_string()).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn bind(&self, _: &str) -> io::Result<BoxListener> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// One that asks any of these, and keeps what it is told for its TTL.
async fn caching(servers: &[String]) -> Result<TokioResolver, String> {
    let mut name_servers = Vec::new();
    for server in servers {
        let address = address(server).await.map_err(|why| format!("the resolver {server}: {why}"))?;
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = address.port());
        name_servers.push(NameServerConfig::new(address.ip(), true, connections));
    }
    let config = ResolverConfig::from_name_servers(name_servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.attempts = 1;
    options.timeout = RESOLVED_WITHIN;
    options.use_hosts_file = ResolveHosts::Never;
    options.try_tcp_on_error = true;
    builder.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use decision::testing;

    use super::*;

    #[test]
    fn what_was_asked_before_the_fault_is_the_baseline() {
        let asked = [(10, true), (20, true), (30, false), (40, false), (90, true), (100, true)];
        let asked = asked.map(|(ended, is_served)| Asked { ended: Time(ended), is_served });
        let measured = measure(&asked, Time(35));
        let expected = Requests {
            longest_gap_ms: Some(70),
            served: 4,
            failed: 2,
            baseline_served: 2,
            baseline_failed: 1,
        };
        assert_eq!(measured, expected);
    }

    #[test]
    fn a_region_answers_where_its_names_and_its_endpoints_lead() {
        let mut config = testing::config(&["us", "eu"]);
        config.regions[0].endpoints = vec!["https://us.example:8443/x".into(), "http://[::1]/".into()];
        let found = hosts(&config, &"us".into());
        assert!(found.contains("us.example") && found.contains("::1"), "{found:?}");
        assert!(!found.iter().any(|host| hosts(&config, &"eu".into()).contains(host)), "{found:?}");
    }
}
