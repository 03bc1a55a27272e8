//! A cluster's authority and its parts, for tests of TLS.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router, routing::get};
use decision::name::AgentId;
use decision::time::Time;
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tower::ServiceExt;
use wire::authority::{Authority, CertPair};
use wire::connect::with_causes;
use wire::host::{Clock, Host};
use wire::identity::{Identity, TrustDomain};
use wire::listen::{HandshakeCounts, HandshakeLimits, Peer, TlsListener};
use wire::serve::{ServeLimits, serve};
use wire::tls::{Credentials, Files};

pub const DAY: Duration = Duration::from_secs(86_400);
pub const SOON: Duration = Duration::from_secs(20);

pub struct Fixed(pub Time);

impl Clock for Fixed {
    fn now(&self) -> Time {
        self.0
    }
}

/// The system's host, at another time.
pub fn host_at(now: Time) -> Host {
    Host { clock: Arc::new(Fixed(now)), ..Host::system() }
}

pub fn authority(trust_domain: &str) -> Authority {
    Authority::create(&Host::system(), TrustDomain::new(trust_domain).unwrap(), 10 * DAY).unwrap()
}

pub fn controller(member: u64) -> Identity {
    Identity::Controller { region: "eu-west-1".into(), member }
}

pub fn agent(region: &str) -> Identity {
    Identity::Agent(AgentId::new(region, 1))
}

pub fn operator() -> Identity {
    Identity::Operator { name: "ana".into() }
}

pub fn issue(authority: &Authority, identity: &Identity) -> CertPair {
    authority.issue(&Host::system(), identity, &[], DAY).unwrap()
}

pub fn credentials(authority: &Authority, identity: &Identity) -> Credentials {
    Credentials::from_pem(authority.pem(&issue(authority, identity)), Host::system().clock).unwrap()
}

pub fn files(folder: &Path) -> Files {
    Files { certificate: folder.join("cert.pem"), key: folder.join("key.pem"), ca: folder.join("ca.pem") }
}

/// A server that tells each caller who it is, until dropped.
pub struct Whoami {
    pub address: String,
    pub counts: Arc<HandshakeCounts>,
    pub shutdown: CancellationToken,
    pub task: tokio::task::JoinHandle<()>,
}

impl Drop for Whoami {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn whoami(credentials: &Credentials, handshakes: HandshakeLimits, limits: ServeLimits) -> Whoami {
    whoami_at("127.0.0.1:0", credentials, handshakes, limits).await
}

pub async fn whoami_at(
    address: &str,
    credentials: &Credentials,
    handshakes: HandshakeLimits,
    limits: ServeLimits,
) -> Whoami {
    let listener = Host::system().network.bind(address).await.unwrap();
    let listener = TlsListener::new(listener, credentials.clone(), handshakes);
    let address = listener.local_addr().unwrap().to_string();
    let counts = listener.counts();
    let router = Router::new()
        .route("/whoami", get(|Extension(peer): Extension<Peer>| async move { peer.id.to_string() }))
        .route("/slow", get(|| async { tokio::time::sleep(Duration::from_millis(300)).await }))
        .route("/stuck", get(std::future::pending::<()>));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, router, limits, shutdown.clone()));
    Whoami { address, counts, shutdown, task }
}

/// Status and body of a GET over a channel, or the error with all its causes.
pub async fn get_path(channel: &Channel, path: &str) -> Result<(u16, String), String> {
    let request =
        http::Request::get(format!("http://regent{path}")).body(tonic::body::Body::empty()).unwrap();
    let answer = async {
        let response = channel.clone().oneshot(request).await.map_err(|error| with_causes(&error))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| with_causes(&error))?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    tokio::time::timeout(SOON, answer).await.expect("answers or fails in time")
}

pub async fn ask(channel: &Channel) -> Result<String, String> {
    get_path(channel, "/whoami").await.map(|(_, body)| body)
}
