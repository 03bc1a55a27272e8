//! A controller of the test's own: it takes in all that agents say, and says what it is told to.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use decision::name::AgentId;
use futures::{Stream, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use wire::agent::{FromAgent, ToAgent};
use wire::host::Host;
use wire::identity::{Identity, TrustDomain};
use wire::listen::{HandshakeLimits, TlsListener};
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::agents_server::{Agents, AgentsServer};
use wire::serve::{ServeLimits, serve};
use wire::tls::Credentials;

pub(crate) const SOON: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(86_400);

/// The cluster's own.
pub(crate) struct Authority(wire::authority::Authority);

impl Authority {
    pub(crate) fn new() -> Authority {
        let domain = TrustDomain::new("c").unwrap();
        Authority(wire::authority::Authority::create(&Host::system(), domain, DAY).unwrap())
    }

    pub(crate) fn agent(&self, region: &str, ordinal: u16) -> Credentials {
        self.issue(&Identity::Agent(AgentId::new(region, ordinal)))
    }

    fn issue(&self, identity: &Identity) -> Credentials {
        let host = Host::system();
        let pair = self.0.issue(&host, identity, &[], DAY).unwrap();
        Credentials::from_pem(self.0.pem(&pair), host.clock).unwrap()
    }
}

type ToAgents = mpsc::Sender<Result<pb::ControllerMessage, Status>>;

pub(crate) struct Controller {
    pub(crate) address: String,
    received: mpsc::UnboundedReceiver<FromAgent>,
    /// Of the newest stream.
    sender: watch::Receiver<Option<ToAgents>>,
    acknowledges: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

struct Service {
    member: u64,
    received: mpsc::UnboundedSender<FromAgent>,
    sender: watch::Sender<Option<ToAgents>>,
    acknowledges: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl Agents for Service {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<pb::ControllerMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        let welcome = ToAgent::Welcome { member: self.member, region: "eu".into() };
        sender.send(Ok(welcome.into())).await.unwrap();
        self.sender.send_replace(Some(sender.clone()));
        let (received, acknowledges) = (self.received.clone(), Arc::clone(&self.acknowledges));
        let mut inbound = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(message)) = inbound.next().await {
                let message = FromAgent::try_from(message).unwrap();
                if let FromAgent::Heartbeat { sequence } = message
                    && acknowledges.load(Ordering::SeqCst)
                {
                    let _ = sender.send(Ok(ToAgent::HeartbeatAck { sequence }.into())).await;
                }
                let _ = received.send(message);
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn renew(&self, _: Request<pb::RenewRequest>) -> Result<Response<pb::RenewReply>, Status> {
        Err(Status::unavailable("this one knows no leases"))
    }

    async fn tell(&self, _: Request<pb::TellRequest>) -> Result<Response<pb::TellReply>, Status> {
        Err(Status::unavailable("this one commits nothing"))
    }
}

impl Controller {
    pub(crate) async fn start(authority: &Authority, member: u64) -> Controller {
        Controller::start_at(authority, member, "127.0.0.1:0").await
    }

    pub(crate) async fn start_at(authority: &Authority, member: u64, address: &str) -> Controller {
        let credentials = authority.issue(&Identity::Controller { region: "eu".into(), member });
        let listener = Host::system().network.bind(address).await.unwrap();
        let listener = TlsListener::new(listener, credentials, HandshakeLimits::default());
        let address = listener.local_addr().unwrap().to_string();
        let (sent, received) = mpsc::unbounded_channel();
        let (sender, newest) = watch::channel(None);
        let acknowledges = Arc::new(AtomicBool::new(true));
        let service = Service { member, received: sent, sender, acknowledges: Arc::clone(&acknowledges) };
        let serving =
            serve(listener, AgentsServer::new(service), ServeLimits::peers(), CancellationToken::new());
        Controller { address, received, sender: newest, acknowledges, task: tokio::spawn(serving) }
    }

    /// To the agent whose stream is the newest, once there is one.
    pub(crate) async fn send(&mut self, message: ToAgent) {
        let waiting = tokio::time::timeout(SOON, self.sender.wait_for(Option::is_some));
        let sender = waiting.await.expect("a stream in time").unwrap().clone().unwrap();
        sender.send(Ok(message.into())).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> FromAgent {
        tokio::time::timeout(SOON, self.received.recv()).await.expect("a message in time").unwrap()
    }

    /// The next message of this kind; others are passed over.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&FromAgent) -> bool) -> FromAgent {
        let waiting = async {
            loop {
                let message = self.received.recv().await.unwrap();
                if wanted(&message) {
                    return message;
                }
            }
        };
        tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("no {what} in time"))
    }

    /// Waits until the newest stream is no more.
    pub(crate) async fn ended(&mut self) {
        let sender = self.sender.borrow().clone().expect("there was a stream");
        tokio::time::timeout(SOON, sender.closed()).await.expect("ends in time");
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.sender.borrow().as_ref().is_none_or(ToAgents::is_closed)
    }

    /// Whether there is a leader for it to ask.
    pub(crate) fn acknowledge(&self, acknowledges: bool) {
        self.acknowledges.store(acknowledges, Ordering::SeqCst);
    }

    /// At once, connections and all.
    pub(crate) fn die(&self) {
        self.task.abort();
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.die();
    }
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("no {what} in time"));
}
