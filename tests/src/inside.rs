//! The same cluster inside one process: real controllers and agents over real loopback TCP, each on
//! a network of its own that can be cut, one direction and one address at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use decision::config::Profile;
use failover::cli::Client;
use failover::cli::context::Context as Place;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wire::api::{ConfigDocument, Intent, JournalPage, Query, Status};
use wire::authority::Authority;
use wire::host::{BoxIo, BoxListener, Host, Network, TcpNetwork};
use wire::identity::{Identity, TrustDomain};
use wire::tls::{Credentials, Files};

const REGIONS: [&str; 3] = ["us", "eu", "ap"];
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Who may not reach which address.
#[derive(Default)]
pub struct Cuts(Mutex<BTreeSet<(String, String)>>);

impl Cuts {
    fn has(&self, who: &str, address: &str) -> bool {
        self.0.lock().expect("no panic under this lock").contains(&(who.to_owned(), address.to_owned()))
    }
}

/// How far apart regions are, and the timers their controllers have for it.
#[derive(Clone, Copy)]
pub struct Distance {
    pub one_way: Duration,
    pub profile: Profile,
}

struct CutNetwork {
    who: String,
    cuts: Arc<Cuts>,
    one_way: Duration,
    /// Addresses of the own region.
    near: BTreeSet<String>,
}

#[async_trait]
impl Network for CutNetwork {
    async fn connect(&self, address: &str) -> io::Result<BoxIo> {
        if self.cuts.has(&self.who, address) {
            return Err(io::ErrorKind::HostUnreachable.into());
        }
        let mut inner = TcpNetwork.connect(address).await?;
        if !self.one_way.is_zero() && !self.near.contains(address) {
            tokio::time::sleep(self.one_way * 2).await;
            inner = far(inner, self.one_way);
        }
        let (who, address, cuts) = (self.who.clone(), address.to_owned(), self.cuts.clone());
        Ok(Box::new(CutIo { inner, who, address, cuts }))
    }

    async fn bind(&self, address: &str) -> io::Result<BoxListener> {
        TcpNetwork.bind(address).await
    }
}

/// A stream on which every byte is `one_way` under way.
fn far(inner: BoxIo, one_way: Duration) -> BoxIo {
    let (near_end, far_end) = tokio::io::duplex(256 * 1024);
    let ((far_read, far_write), (read, write)) = (tokio::io::split(far_end), tokio::io::split(inner));
    tokio::spawn(carry(far_read, write, one_way));
    tokio::spawn(carry(read, far_write, one_way));
    Box::new(near_end)
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, one_way: Duration) {
    let (sent, mut under_way) = tokio::sync::mpsc::channel(1_024);
    let sending = async move {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let arrives = tokio::time::Instant::now() + one_way;
            if sent.send((arrives, bytes[..count].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let arriving = async move {
        while let Some((arrives, bytes)) = under_way.recv().await {
            tokio::time::sleep_until(arrives).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The other side may have gone already.
        let _ = to.shutdown().await;
    };
    tokio::join!(sending, arriving);
}

/// A stream that dies at its next use once it is cut.
struct CutIo {
    inner: BoxIo,
    who: String,
    address: String,
    cuts: Arc<Cuts>,
}

impl CutIo {
    fn check(&self) -> io::Result<()> {
        match self.cuts.has(&self.who, &self.address) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for CutIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Task<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for CutIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Task<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

pub struct Inside {
    pub cuts: Arc<Cuts>,
    /// Where each region's service, controller and DNS are.
    pub services: BTreeMap<String, String>,
    pub controllers: BTreeMap<String, String>,
    pub dns: BTreeMap<String, String>,
    pub client: Client,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Inside {
    /// `strategy` is YAML below `failover_strategy` and beside it.
    pub async fn start(strategy: &str) -> anyhow::Result<Inside> {
        Inside::start_far(strategy, None).await
    }

    /// With regions `distance` apart.
    pub async fn start_far(strategy: &str, distance: Option<Distance>) -> anyhow::Result<Inside> {
        let folder = tempfile::tempdir()?;
        let host = Host::system();
        let domain = TrustDomain::new("inside")?;
        let authority = Authority::create(&host, domain, YEAR)?;
        let files = |identity: Identity, name: &str| -> anyhow::Result<Files> {
            let files = Files {
                certificate: folder.path().join(format!("{name}.pem")),
                key: folder.path().join(format!("{name}-key.pem")),
                ca: folder.path().join("ca.pem"),
            };
            authority.write(&authority.issue(&host, &identity, &[], YEAR)?, &files)?;
            Ok(files)
        };
        let (cuts, stop) = (Arc::new(Cuts::default()), CancellationToken::new());
        let mut services = BTreeMap::new();
        for region in REGIONS {
            services.insert(region.to_owned(), serve(stop.clone()).await?.to_string());
        }
        let mut controllers = BTreeMap::new();
        let mut dns = BTreeMap::new();
        for region in REGIONS {
            controllers.insert(region.to_owned(), free_address());
            dns.insert(region.to_owned(), free_address());
        }
        let own = |who: &str| {
            let near = [&services, &controllers, &dns].map(|addresses| addresses[who].clone());
            let one_way = distance.map_or(Duration::ZERO, |distance| distance.one_way);
            let network = CutNetwork { who: who.to_owned(), cuts: cuts.clone(), one_way, near: near.into() };
            Host { network: Arc::new(network), ..Host::system() }
        };
        let members: BTreeMap<u64, control_plane::raft::Member> = (1..)
            .zip(REGIONS)
            .map(|(id, region)| {
                let grpc = controllers[region].clone();
                (id, control_plane::raft::Member { region: region.into(), grpc, witness: false })
            })
            .collect();
        for (id, region) in (1..).zip(REGIONS) {
            let files = files(Identity::Controller { region: region.into(), member: id }, &format!("c{id}"))?;
            let credentials = Credentials::load(files, host.clock.clone())?;
            let data_dir = folder.path().join(format!("c{id}"));
            let mut raft = control_plane::raft::Settings::new(id, "inside", data_dir);
            if let Some(timings) = distance.map(|distance| distance.profile.timings()) {
                raft.heartbeat = timings.raft_heartbeat;
                raft.election_timeout_min = timings.election_timeout_min;
                raft.election_timeout_max = timings.election_timeout_max;
            }
            let settings = control_plane::Settings {
                raft,
                region: region.into(),
                grpc_listen: controllers[region].clone(),
                http_listen: free_address(),
                initial_members: members.clone(),
            };
            let (host, stop) = (own(region), stop.clone());
            tokio::spawn(async move {
                let run = control_plane::run(settings, host, credentials, &Handle::current(), stop).await;
                run.map_err(|error| eprintln!("controller: {error}"))
            });
        }
        for region in REGIONS {
            let agent = decision::name::AgentId::new(region, 1);
            let credentials =
                Credentials::load(files(Identity::Agent(agent.clone()), region)?, host.clock.clone())?;
            let home = controllers[region].clone();
            let others = controllers.values().filter(|address| **address != home).cloned();
            let settings = region_agent::Settings {
                agent,
                cluster: "inside".into(),
                credentials,
                controllers: std::iter::once(home.clone()).chain(others).collect(),
                data_dir: folder.path().join(format!("agent-{region}")),
                dns_listen: Some(dns[region].parse()?),
                dns_advertise: None,
                http_listen: None,
                peer_listen: None,
                peer_advertise: None,
                watchdog: None,
                roots: wire::target::Roots::Native,
            };
            let run = region_agent::run(settings, own(region), stop.clone());
            tokio::spawn(async move { run.await.map_err(|error| eprintln!("agent: {error:#}")) });
        }
        let operator = files(Identity::Operator { name: "test".into() }, "operator")?;
        let place = Place {
            controllers: controllers.values().cloned().collect(),
            cert: operator.certificate,
            key: operator.key,
            ca: operator.ca,
        };
        let client = Client::new(&place, &host)?;
        let inside = Inside { cuts, services, controllers, dns, client, stop, _folder: folder };
        inside.configure(strategy).await?;
        inside
            .until("all healthy", |status| {
                status.regions.len() == 3
                    && status
                        .regions
                        .iter()
                        .all(|region| region.verdict == decision::verdict::Verdict::Healthy)
            })
            .await?;
        Ok(inside)
    }

    async fn configure(&self, strategy: &str) -> anyhow::Result<()> {
        let region = |name: &str| {
            format!(
                "  {name}: {{name: {name}, provider: local, endpoints: [\"http://{}\"], services: [app]}}\n",
                self.services[name]
            )
        };
        let text = format!(
            "regions:\n{}{}{}services:\n  app:\n    dns:\n      - {{name: app.regent.test, type: A, ttl: 1, values: {{us: 127.0.1.1, eu: 127.0.1.2, ap: 127.0.1.3}}}}\n{strategy}",
            region("us"),
            region("eu"),
            region("ap")
        );
        let loaded =
            failover::config::parse("inside.yml", &text).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        let begun = tokio::time::Instant::now();
        loop {
            let intent = Intent::SetConfig { parent_generation: 0, config: Box::new(loaded.config.clone()) };
            match self.client.intent(&intent).await {
                Ok(_) => return Ok(()),
                Err(_)
                    if self
                        .client
                        .read::<ConfigDocument>(&Query::Config)
                        .await
                        .is_ok_and(|held| held.document.generation > 0) =>
                {
                    return Ok(());
                }
                Err(error) if begun.elapsed() > super::DEADLINE => anyhow::bail!("{error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    pub fn cut(&self, who: &str, address: &str) {
        self.cuts.0.lock().expect("no panic under this lock").insert((who.to_owned(), address.to_owned()));
    }

    /// Everything between this region and the others.
    pub fn cut_off(&self, region: &str) {
        for other in REGIONS.into_iter().filter(|other| *other != region) {
            for addresses in [&self.services, &self.controllers, &self.dns] {
                self.cut(other, &addresses[region]);
                self.cut(region, &addresses[other]);
            }
        }
    }

    pub fn heal(&self) {
        self.cuts.0.lock().expect("no panic under this lock").clear();
    }

    pub async fn status(&self) -> anyhow::Result<Status> {
        Ok(self
            .client
            .read::<Status>(&Query::Status)
            .await
            .map_err(|error| anyhow::anyhow!("{error}"))?
            .document)
    }

    pub async fn journal(&self) -> anyhow::Result<Vec<decision::journal::Entry>> {
        let query = Query::Journal { after: 0, limit: 1_000 };
        let page =
            self.client.read::<JournalPage>(&query).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(page.document.entries)
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> anyhow::Result<Status> {
        let begun = tokio::time::Instant::now();
        loop {
            match self.status().await {
                Ok(status) if holds(&status) => return Ok(status),
                found if begun.elapsed() > super::DEADLINE => {
                    return Err(anyhow::anyhow!("never came: {what}: {found:?}"));
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// What a region's DNS answers for the name.
    pub fn dig(&self, region: &str) -> anyhow::Result<String> {
        let (host, port) = self.dns[region].rsplit_once(':').context("host:port")?;
        let output = std::process::Command::new("dig")
            .args([&format!("@{host}"), "-p", port, "app.regent.test", "+short", "+tries=1", "+time=2"])
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

fn free_address() -> String {
    format!("127.0.0.1:{}", failover::testing::free_port())
}

/// A service that is always well.
async fn serve(stop: CancellationToken) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((mut stream, _)) = accepted else { continue };
            tokio::spawn(async move {
                let mut request = [0; 1_024];
                while let Ok(1..) = stream.read(&mut request).await {
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}
