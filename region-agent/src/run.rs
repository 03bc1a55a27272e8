//! The whole agent: its parts, started together and stopped together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use decision::command::AgentInfo;
use decision::name::AgentId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use wire::host::Host;
use wire::identity::Identity;
use wire::listen::{HandshakeLimits, TlsListener};
use wire::proto::regent::v1::peers_server::PeersServer;
use wire::serve::{ServeLimits, serve};
use wire::target::Roots;
use wire::tls::Credentials;

use crate::act::{self, Actor};
use crate::book::Book;
use crate::contact::Contact;
use crate::database;
use crate::database::promises::{Asked, Given};
use crate::dns::{self, DnsServer};
use crate::drill::{self, Drills, Outage, Still};
use crate::goals::Goals;
use crate::http::{self, Shown};
use crate::instances::Instances;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::probe::Prober;
use crate::relay::{self, Relay};
use crate::session::{self, Session};
use crate::store::Store;
use crate::watch::{self as watching, Watcher};
use crate::zones;

/// How often the files of the credentials are looked at.
const RELOAD: Duration = Duration::from_secs(5);

pub struct Settings {
    pub agent: AgentId,
    /// The cluster's name, which is its trust domain.
    pub cluster: String,
    pub credentials: Credentials,
    /// `host:port`, those of the own region first.
    pub controllers: Vec<String>,
    pub data_dir: PathBuf,
    /// For UDP and TCP; none: no DNS is served.
    pub dns_listen: Option<SocketAddr>,
    /// Where others reach it, `host:port`; the bound address unless told otherwise.
    pub dns_advertise: Option<String>,
    /// `host:port` for `/healthz` and `/metrics`.
    pub http_listen: Option<String>,
    /// `host:port` for the agents of other regions, over mutual TLS.
    pub peer_listen: Option<String>,
    /// Where they reach it; the bound address unless told otherwise.
    pub peer_advertise: Option<String>,
    /// The machine's, for the guard of a database; none: it goes without.
    pub watchdog: Option<PathBuf>,
    /// Whom probed targets are to be certified by.
    pub roots: Roots,
}

/// Runs until `shutdown`.
///
/// # Errors
/// When it cannot start: the credentials are another's, the folder is another's or cannot be
/// used, an address is taken. Nothing runs then.
pub async fn run(settings: Settings, host: Host, shutdown: CancellationToken) -> anyhow::Result<()> {
    check_identity(&settings)?;
    // A drill may close the gate; whether it is to go on is asked past it.
    let (outside, host) = (host.clone(), host.behind_gate());
    let Settings { agent, cluster, credentials, controllers, data_dir, .. } = settings;
    let store = Arc::new(Store::open(&data_dir, &cluster, &agent)?);
    let saved = store.load_goal()?;
    let server = match settings.dns_listen {
        Some(bind) => {
            let settings = dns::Settings { bind, data_dir: data_dir.join("dns") };
            Some(Arc::new(DnsServer::start(settings, host.clone()).await?))
        }
        None => None,
    };
    let listener = match &settings.http_listen {
        Some(address) => Some(
            host.network.bind(address).await.with_context(|| format!("cannot serve HTTP at {address}"))?,
        ),
        None => None,
    };
    let bound = server.as_ref().map(|server| server.local_addr().to_string());
    let peers = match &settings.peer_listen {
        Some(address) => {
            let bound = host.network.bind(address).await;
            Some(bound.with_context(|| format!("cannot serve other agents at {address}"))?)
        }
        None => None,
    };
    let peer_at = peers.as_ref().and_then(|peers| peers.local_addr().ok()).map(|address| address.to_string());
    let info = AgentInfo {
        peer: settings.peer_advertise.filter(|_| peers.is_some()).or(peer_at),
        dns: settings.dns_advertise.filter(|_| server.is_some()).or(bound),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    tracing::info!(
        %agent, cluster, dns = info.dns, generation = saved.as_ref().map(|goal| goal.generation),
        http = listener.as_ref().and_then(|listener| listener.local_addr().ok()).map(tracing::field::display),
        "agent starts"
    );

    let metrics = Arc::new(Metrics::default());
    let (book, outbox, contact) =
        (Arc::<Book>::default(), Arc::<Outbox>::default(), Arc::<Contact>::default());
    let goals = Arc::new(Goals::new(saved));
    let prober = Arc::new(Prober::new(host.clone(), settings.roots));
    let board = Arc::new(database::Board::default());
    let stand_still = watch::Sender::new(Still::default());
    let instances = Arc::<Instances>::default();
    let mut parts = JoinSet::new();
    parts.spawn({
        let (goals, metrics, stop) = (Arc::clone(&goals), Arc::clone(&metrics), shutdown.clone());
        async move { goals.keep(store, metrics, stop).await }
    });
    let watcher = Watcher {
        host: host.clone(),
        prober: Arc::clone(&prober),
        book: Arc::clone(&book),
        contact: Arc::clone(&contact),
        metrics: Arc::clone(&metrics),
    };
    parts.spawn(watching::run(watcher, goals.watch(), shutdown.clone()));
    let outage = Arc::new(Outage::default());
    let drills = Drills {
        outside,
        credentials: credentials.clone(),
        controllers: controllers.clone(),
        region: agent.region.clone(),
        prober: Arc::clone(&prober),
        outage: Arc::clone(&outage),
        still: stand_still.clone(),
    };
    parts.spawn(drill::run(drills, goals.watch(), shutdown.clone()));
    let actor = Actor {
        outage,
        host: host.clone(),
        cluster,
        region: agent.region.clone(),
        prober,
        outbox: Arc::clone(&outbox),
        metrics: Arc::clone(&metrics),
    };
    parts.spawn(act::run(actor, goals.watch(), shutdown.clone()));
    if let Some(server) = &server {
        parts.spawn(zones::run(Arc::clone(server), goals.watch(), Arc::clone(&outbox), shutdown.clone()));
    }
    if let Some(listener) = listener {
        let shown = Shown {
            metrics: Arc::clone(&metrics),
            book: Arc::clone(&book),
            goals: Arc::clone(&goals),
            contact: Arc::clone(&contact),
            dns: server.clone(),
            region: agent.region.clone(),
            instances: Arc::clone(&instances),
        };
        parts.spawn(http::run(listener, shown, shutdown.clone()));
    }
    parts.spawn({
        let (credentials, stop) = (credentials.clone(), shutdown.clone());
        async move {
            let _ = stop.run_until_cancelled(credentials.watch(RELOAD)).await;
        }
    });
    let promises = Arc::new(Given::open(&data_dir).await);
    if let Some(peers) = peers {
        let asked = Asked { promises: Arc::clone(&promises), goals: Arc::clone(&goals) };
        let routes = Routes::new(PeersServer::new(asked)).prepare().into_axum_router();
        let listener = TlsListener::new(peers, credentials.clone(), HandshakeLimits::default());
        parts.spawn(serve(listener, routes, ServeLimits::peers(), shutdown.clone()));
    }
    parts.spawn(database::run(
        database::Settings {
            host: host.clone(),
            credentials: credentials.clone(),
            controllers: controllers.clone(),
            agent: agent.clone(),
            data_dir: data_dir.clone(),
            guard_program: None,
            watchdog: settings.watchdog,
            board: Arc::clone(&board),
            promises: Arc::clone(&promises),
            still: stand_still.subscribe(),
        },
        goals.watch(),
        shutdown.clone(),
    ));
    parts.spawn({
        let (instances, stop) = (Arc::clone(&instances), shutdown.clone());
        async move { instances.keep(board, stop).await }
    });
    let relay = Relay {
        agent: agent.clone(),
        network: Arc::clone(&host.network),
        instances,
        metrics: Arc::clone(&metrics),
        limits: relay::Limits::default(),
    };
    parts.spawn(relay::run(relay, goals.watch(), shutdown.clone()));
    let session =
        Session { host, credentials, controllers, agent, info, goals, book, outbox, contact, metrics };
    parts.spawn(session::run(session, shutdown.clone()));

    let failed = first_failure(&mut parts, &shutdown).await;
    shutdown.cancel();
    while parts.join_next().await.is_some() {}
    if let Some(server) = server.and_then(Arc::into_inner) {
        server.shutdown().await;
    }
    match failed {
        None => Ok(()),
        // Half an agent is worse than none: whoever started it starts it anew.
        Some(why) => bail!("a part of the agent ended: {why}"),
    }
}

/// Waits for shutdown, or for a part that ended without being told to.
async fn first_failure(parts: &mut JoinSet<()>, shutdown: &CancellationToken) -> Option<String> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        ended = parts.join_next() => match ended {
            Some(Err(error)) => Some(error.to_string()),
            // Parts end when told to, which may be known here a moment later.
            _ if shutdown.is_cancelled() => None,
            _ => Some("without a reason".to_owned()),
        },
    }
}

/// What the certificate says is what controllers will believe; so other words are a mistake.
fn check_identity(settings: &Settings) -> anyhow::Result<()> {
    let id = settings.credentials.id();
    let expected = Identity::Agent(settings.agent.clone());
    if id.identity != expected || id.trust_domain.as_str() != settings.cluster {
        bail!(
            "the certificate is that of {id}, and this is agent {} of cluster {:?}; nothing was started",
            settings.agent,
            settings.cluster
        );
    }
    Ok(())
}
