//! A whole controller, from its settings to its end.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use wire::connect::{ChannelOptions, channel};
use wire::host::{BoxListener, Host};
use wire::listen::{HandshakeLimits, TlsListener};
use wire::proto::regent::v1::agents_server::AgentsServer;
use wire::proto::regent::v1::drills_server::DrillsServer;
use wire::proto::regent::v1::members_server::MembersServer;
use wire::proto::regent::v1::operator_server::OperatorServer;
use wire::serve::{ServeLimits, serve, serve_plain};
use wire::tls::{Credentials, Expect};

use crate::authorize::Authorize;
use crate::controller::{Controller, MESSAGE_MAX};
use crate::documents::Faces;
use crate::drill;
use crate::freshness;
use crate::grpc::agents::Agents;
use crate::grpc::drills::Drills;
use crate::grpc::members::Members;
use crate::grpc::operator::Operator;
use crate::http;
use crate::leader;
use crate::raft::{self, Dial, Member, MembersError, Node, Status, StatusWatch};
use crate::seat;
use crate::vacancies;

/// A leader that stops hands over first.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(3);
const CREDENTIALS_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);
/// Messages of an agent, an operator: a configuration at the most.
const CALLER_MESSAGE_MAX: usize = 4 * 1024 * 1024;

pub struct Settings {
    pub raft: raft::Settings,
    pub region: String,
    /// `host:port`: gRPC and the API, over mutual TLS.
    pub grpc_listen: String,
    /// `host:port`: the public status page, for anybody.
    pub http_listen: String,
    /// The first members, by id. Every one of them is told the same; one that has a log keeps it.
    pub initial_members: BTreeMap<u64, Member>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Raft(#[from] raft::StartError),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: io::Error },
    #[error("the status page's runtime has ended: {0}")]
    Page(JoinError),
    #[error("this member of the group stopped: {why}; see to its disk, and start the controller again")]
    Stopped { why: String },
    #[error("the group could not be formed: {0}")]
    Members(#[from] MembersError),
}

/// Runs until `shutdown`, or until its disk fails, in the caller's runtime; what anybody may call runs in `public`, so that a crowd
/// at the status page cannot hold up a heartbeat.
///
/// # Errors
/// It did not start, or cannot go on; see [`StartError`].
pub async fn run(
    settings: Settings,
    host: Host,
    credentials: Credentials,
    public: &Handle,
    shutdown: CancellationToken,
) -> Result<(), StartError> {
    run_on(settings, host, credentials, public, shutdown, raft::start).await
}

/// The same with a member that is started otherwise, such as on a simulated disk.
///
/// # Errors
/// It did not start, or cannot go on; see [`StartError`].
pub async fn run_on<Started: Future<Output = Result<Node, raft::StartError>>>(
    settings: Settings,
    host: Host,
    credentials: Credentials,
    public: &Handle,
    shutdown: CancellationToken,
    start: impl FnOnce(raft::Settings, Dial) -> Started,
) -> Result<(), StartError> {
    raft::draw_from(host.random.clone());
    // A drill may close the gate; whether it is to go on is asked past it.
    let (outside, host) = (host.clone(), host.behind_gate());
    // What is taken is found out before anything starts.
    let grpc = listen(host.clone(), settings.grpc_listen).await?;
    let page = public.spawn(listen(host.clone(), settings.http_listen)).await.map_err(StartError::Page)??;

    let node = start(settings.raft, dial(&host, &credentials)).await?;
    let controller = Controller::new(node.clone(), host.clone(), credentials.clone(), settings.region);
    // Sessions end first, so that agents go elsewhere; then this member hands over; then it falls silent.
    let serving = CancellationToken::new();
    let leading = CancellationToken::new();
    let routes = routes(&controller, shutdown.clone());
    let listener = TlsListener::new(grpc, credentials.clone(), HandshakeLimits::default());
    let servers = tokio::spawn(serve(listener, routes, ServeLimits::peers(), serving.clone()));
    let faces = http::public(http_backend(&controller));
    let page = public.spawn(serve_plain(page, faces, ServeLimits::public(), serving.clone()));
    let leader = tokio::spawn(leader::run(controller.clone(), leading.clone()));
    let member = node.clone();
    let background = [
        tokio::spawn(async move { member.keep_connected().await }),
        tokio::spawn(freshness::follow(controller.clone())),
        tokio::spawn(freshness::confirm(controller.clone())),
        tokio::spawn(vacancies::follow(controller.clone())),
        tokio::spawn(seat::keep(controller.clone())),
        tokio::spawn(drill::keep(controller.clone(), outside, credentials.clone())),
        tokio::spawn(async move { credentials.watch(CREDENTIALS_LOOKED_AT_EVERY).await }),
    ];

    let formed = async {
        if !settings.initial_members.is_empty() && node.initialize(settings.initial_members).await? {
            tracing::info!("a new cluster was formed");
        }
        Ok(())
    };
    let outcome: Result<(), StartError> = tokio::select! {
        Err(error) = formed => Err(error),
        why = stopped(node.watch_status()) => {
            tracing::error!(why, "this member of the group has stopped, so the controller ends");
            Err(StartError::Stopped { why })
        }
        () = shutdown.cancelled() => Ok(()),
    };
    tracing::info!("stopping");
    // Also where nobody asked for it: agents hold sessions until then.
    shutdown.cancel();
    node.shutdown(HAND_OVER_WITHIN).await;
    leading.cancel();
    serving.cancel();
    for task in background {
        task.abort();
    }
    for task in [servers, page, leader] {
        if let Err(error) = task.await {
            tracing::error!(%error, "a part did not end cleanly");
        }
    }
    outcome
}

/// Why the member stopped by itself; for ever, while it does not. One that stays and only seems to live is started
/// again by nobody, and the next such costs the group its majority.
async fn stopped(mut status: StatusWatch) -> String {
    match status.until(|status| status.failed.is_some()).await {
        Some(Status { failed: Some(why), .. }) => why,
        _ => std::future::pending().await,
    }
}

async fn listen(host: Host, address: String) -> Result<BoxListener, StartError> {
    let bound = host.network.bind(&address).await;
    bound.map_err(|error| StartError::Listen { address, error })
}

pub(crate) fn dial(host: &Host, credentials: &Credentials) -> Dial {
    let (host, credentials) = (host.clone(), credentials.clone());
    Arc::new(move |id, member: &Member| {
        channel(&host, &credentials, &member.grpc, Expect::Member(id), ChannelOptions::default())
    })
}

/// All that is served over mutual TLS, behind the one table of who may call what.
pub(crate) fn routes(controller: &Arc<Controller>, shutdown: CancellationToken) -> Authorize<axum::Router> {
    let members = MembersServer::new(Members(controller.clone()))
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    let agents = AgentsServer::new(Agents { controller: controller.clone(), shutdown })
        .max_decoding_message_size(CALLER_MESSAGE_MAX);
    let operator =
        OperatorServer::new(Operator(controller.clone())).max_decoding_message_size(CALLER_MESSAGE_MAX);
    let mut grpc = Routes::builder();
    grpc.add_service(controller.node.service())
        .add_service(members)
        .add_service(agents)
        .add_service(DrillsServer::new(Drills(controller.clone())))
        .add_service(operator);
    let router = grpc.routes().into_axum_router().merge(http::private(http_backend(controller)));
    Authorize(router)
}

fn http_backend(controller: &Arc<Controller>) -> Arc<dyn http::Backend> {
    Arc::new(Faces(controller.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use decision::command::{Command, Stamped};
    use decision::time::Time;
    use wire::authority::Authority;
    use wire::identity::TrustDomain;

    use super::*;
    use crate::raft::{Commit, open_disk, open_store, start_on};
    use crate::testing::{CLUSTER, SOON, controller};

    #[tokio::test]
    async fn a_controller_whose_disk_fails_ends_so_that_it_is_started_again() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let (host, folder) = (Host::system(), tempfile::tempdir().unwrap());
        let authority = Authority::create(&host, TrustDomain::new(CLUSTER).unwrap(), HOUR).unwrap();
        let pair = authority.issue(&host, &controller(1), &[], HOUR).unwrap();
        let credentials = Credentials::from_pem(authority.pem(&pair), host.clock.clone()).unwrap();
        let fails = Arc::new(AtomicBool::new(false));
        let switch = fails.clone();
        let fsync: raft::Fsync = Arc::new(move |file: &std::fs::File| match switch.load(Ordering::Relaxed) {
            true => Err(io::Error::other("EIO")),
            false => file.sync_data(),
        });
        // Alone it leads at once.
        let member = Member { region: "r1".into(), grpc: "127.0.0.1:0".into(), witness: false };
        let settings = Settings {
            raft: raft::Settings::new(1, CLUSTER, folder.path().join("1")),
            region: "r1".into(),
            grpc_listen: "127.0.0.1:0".into(),
            http_listen: "127.0.0.1:0".into(),
            initial_members: BTreeMap::from([(1, member)]),
        };
        let start = async |settings: raft::Settings, dial| {
            let disk = open_disk(&settings, fsync)?;
            let store = open_store(&settings, Arc::new(disk), Commit::Grouped)?;
            let node = start_on(settings, store, dial).await?;
            let (leading, mut status) = (node.clone(), node.watch_status());
            tokio::spawn(async move {
                status.until(|status| status.is_leader).await;
                fails.store(true, Ordering::Relaxed);
                let command = Command::Note { text: "lost".into() };
                leading.propose(Stamped { at: Time(1), by: "test".into(), command }, SOON).await
            });
            Ok(node)
        };
        let public = Handle::current();
        let shutdown = CancellationToken::new();
        let running = run_on(settings, host, credentials, &public, shutdown, start);
        let ended = tokio::time::timeout(SOON, running).await.expect("it goes on and only seems to live");
        assert!(matches!(ended, Err(StartError::Stopped { .. })), "{ended:?}");
    }
}
