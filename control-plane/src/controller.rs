//! One controller: its member of the Raft group, and the way to the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use decision::command::{Command, Outcome, Stamped};
use decision::name::AgentId;
use decision::state::State;
use tokio::time::Instant;
use tonic::transport::Channel;
use wire::api::{ForwardAnswer, Forwarded};
use wire::connect::{ChannelOptions, channel, with_causes};
use wire::failpoint;
use wire::host::Host;
use wire::lease::{Renewal, Renewed};
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::members_client::MembersClient;
use wire::tls::{Credentials, Expect};

use crate::boundary;
use crate::freshness::Freshness;
use crate::heard::Heard;
use crate::raft::{Member, Node, ProposeError, ReadError};
use crate::rounds::Rounds;
use crate::telling::Telling;
use crate::vacancies::Known;

/// The largest message between controllers: a whole configuration and some.
pub(crate) const MESSAGE_MAX: usize = 8 * 1024 * 1024;
/// How long to wait for a leader to be known before asking again.
const LEADERLESS_RETRY: Duration = Duration::from_millis(25);
/// A lease is short.
const RENEW_AGAIN: Duration = Duration::from_millis(10);

/// Shared by every face of one controller.
pub struct Controller {
    pub node: Node,
    pub heard: Heard,
    pub freshness: Freshness,
    pub rounds: Rounds,
    pub telling: Telling,
    pub vacancies: Known,
    pub host: Host,
    pub region: String,
    credentials: Credentials,
    channels: Mutex<BTreeMap<(u64, String), Channel>>,
}

/// What was asked did not happen, or nobody can tell.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    #[error(
        "no leader is known: a majority of controllers must be up and reach each other; nothing was changed (waited {waited:?})"
    )]
    NoLeader { waited: Duration },
    #[error("{why}; it may still be carried out: read the state to know")]
    Unknown { why: String },
    #[error("{why}; nothing was changed")]
    Failed { why: String },
}

impl Controller {
    pub fn new(node: Node, host: Host, credentials: Credentials, region: String) -> Arc<Self> {
        Arc::new(Self {
            node,
            heard: Heard::default(),
            freshness: Freshness::default(),
            rounds: Rounds::default(),
            telling: Telling::default(),
            vacancies: Known::default(),
            host,
            region,
            credentials,
            channels: Mutex::default(),
        })
    }

    pub fn state(&self) -> Arc<State> {
        self.node.view().state()
    }

    /// As the journal names it.
    pub fn name(&self) -> String {
        format!("controller/{}/{}", self.region, self.node.id())
    }

    pub fn cluster(&self) -> String {
        self.credentials.trust_domain().to_string()
    }

    /// Proposes here, as the leader. The leader's time is stamped, never the caller's.
    pub async fn propose(
        &self,
        command: Command,
        by: &str,
        within: Duration,
    ) -> Result<Outcome, ProposeError> {
        self.propose_in(None, command, by, within).await
    }

    /// The same, if this member leads this term.
    pub async fn propose_in(
        &self,
        term: Option<u64>,
        command: Command,
        by: &str,
        within: Duration,
    ) -> Result<Outcome, ProposeError> {
        if failpoint::is_armed() {
            boundary::before_proposing(&self.state(), &command);
        }
        let at = self.heard.now().unwrap_or_else(|| self.host.clock.now());
        let stamped = Stamped { at, by: by.to_owned(), command };
        Ok(self.node.propose_in(term, stamped, within).await?.outcome)
    }

    /// Has a command committed, here or by whoever leads.
    pub async fn submit(&self, command: Command, by: &str, within: Duration) -> Result<Outcome, SubmitError> {
        match self.ask_leader(Forwarded::Command { command: Box::new(command) }, by, within).await? {
            ForwardAnswer::Outcome { outcome } => Ok(outcome),
            answer => {
                Err(SubmitError::Unknown { why: format!("the leader gave another answer: {answer:?}") })
            }
        }
    }

    /// Has the leader do what only it can. Asked again only when it surely was not done.
    pub async fn ask_leader(
        &self,
        what: Forwarded,
        by: &str,
        within: Duration,
    ) -> Result<ForwardAnswer, SubmitError> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SubmitError::NoLeader { waited: within });
            }
            let attempt = match self.node.leader() {
                Some((id, _)) if id == self.node.id() => {
                    crate::execute::forwarded(self, what.clone(), by, left).await
                }
                Some((id, member)) => self.forward(id, &member, &what, by, left).await,
                None => Err(Attempt::NotLeader),
            };
            match attempt {
                Ok(answer) => return Ok(answer),
                Err(Attempt::NotLeader) => tokio::time::sleep(LEADERLESS_RETRY.min(left)).await,
                Err(Attempt::Unknown(why)) => return Err(SubmitError::Unknown { why }),
                Err(Attempt::Failed(why)) => return Err(SubmitError::Failed { why }),
            }
        }
    }

    async fn forward(
        &self,
        id: u64,
        member: &Member,
        what: &Forwarded,
        by: &str,
        within: Duration,
    ) -> Result<ForwardAnswer, Attempt> {
        let json = serde_json::to_vec(what).map_err(|error| Attempt::Failed(error.to_string()))?;
        let request = pb::ForwardRequest {
            json: json.into(),
            by: by.to_owned(),
            timeout_ms: within.as_millis() as u64,
        };
        let call = async { self.client(id, member).forward(request).await };
        let reply = match tokio::time::timeout(within, call).await {
            Err(_) => return Err(Attempt::Unknown(format!("the leader did not answer within {within:?}"))),
            Ok(Err(status)) => return Err(attempt(&status)),
            Ok(Ok(reply)) => reply.into_inner(),
        };
        serde_json::from_slice(&reply.json)
            .map_err(|error| Attempt::Unknown(format!("the leader's answer cannot be read: {error}")))
    }

    /// Tells the leader that agents were heard of; false when no leader took it.
    pub async fn tell_heard(&self, agent: &AgentId, within: Duration) -> bool {
        match self.node.leader() {
            Some((id, _)) if id == self.node.id() => self.heard.note(agent),
            Some((id, member)) => {
                let request = pb::HeardRequest { agents: vec![agent.to_string()] };
                let call = async { self.client(id, &member).heard(request).await };
                matches!(tokio::time::timeout(within, call).await, Ok(Ok(_)))
            }
            None => false,
        }
    }

    /// Has the leader renew a lease, here or by whoever leads. Where nobody leads it waits for who will: an
    /// election costs no lease that a renewal of its beginning can still save.
    pub async fn ask_to_renew(
        &self,
        agent: &AgentId,
        renewal: Renewal,
        within: Duration,
    ) -> Result<Renewed, Attempt> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.ask_once_to_renew(agent, &renewal, left).await {
                Err(Attempt::NotLeader) if !left.is_zero() => {
                    tokio::time::sleep(RENEW_AGAIN.min(left)).await;
                }
                answer => return answer,
            }
        }
    }

    async fn ask_once_to_renew(
        &self,
        agent: &AgentId,
        renewal: &Renewal,
        within: Duration,
    ) -> Result<Renewed, Attempt> {
        match self.node.leader() {
            Some((id, _)) if id == self.node.id() => self.renew(agent, renewal, within).await,
            Some((id, member)) => {
                let agent = agent.to_string();
                let request = pb::ForwardedRenewal { agent, renewal: Some(renewal.clone().into()) };
                let call = async { self.client(id, &member).renew(request).await };
                match tokio::time::timeout(within, call).await {
                    Err(_) => Err(Attempt::Unknown(format!("the leader did not answer within {within:?}"))),
                    Ok(Err(status)) => Err(attempt(&status)),
                    Ok(Ok(reply)) => Ok(reply.into_inner().into()),
                }
            }
            None => Err(Attempt::NotLeader),
        }
    }

    /// Waits until this member can answer a read of this moment (S7), and gives the state.
    pub async fn linearizable(&self, within: Duration) -> Result<Arc<State>, ReadError> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ReadError::NoQuorum { waited: within });
            }
            let index = match self.node.leader() {
                Some((id, _)) if id == self.node.id() => match self.node.confirm_leadership(left).await {
                    Ok(index) => Some(index),
                    Err(ReadError::NotLeader { .. }) => None,
                    Err(error) => return Err(error),
                },
                Some((id, member)) => {
                    let call = async { self.client(id, &member).read_index(pb::ReadIndexRequest {}).await };
                    match tokio::time::timeout(left, call).await {
                        Ok(Ok(reply)) => Some(reply.into_inner().index),
                        _ => None,
                    }
                }
                None => None,
            };
            let Some(index) = index else {
                tokio::time::sleep(LEADERLESS_RETRY.min(left)).await;
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            return match self.node.wait_applied(index, left).await {
                true => Ok(self.state()),
                false => Err(ReadError::NoQuorum { waited: within }),
            };
        }
    }

    fn client(&self, id: u64, member: &Member) -> MembersClient<Channel> {
        let key = (id, member.grpc.clone());
        let mut channels = self.channels.lock().expect("no panic under this lock");
        let channel = channels.entry(key).or_insert_with(|| {
            let options = ChannelOptions::default();
            channel(&self.host, &self.credentials, &member.grpc, Expect::Member(id), options)
        });
        MembersClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX)
    }
}

/// What came of one attempt to have the leader do something.
#[derive(Debug)]
pub enum Attempt {
    /// Surely not done: ask again.
    NotLeader,
    Unknown(String),
    /// Surely not done, and asking again will not help.
    Failed(String),
}

impl From<ProposeError> for Attempt {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { .. } => Attempt::NotLeader,
            ProposeError::Unknown { .. } => Attempt::Unknown(error.to_string()),
            _ => Attempt::Failed(error.to_string()),
        }
    }
}

/// How a leader tells its caller over the wire what came of it; see `forward::status`.
fn attempt(status: &tonic::Status) -> Attempt {
    match status.code() {
        // Never reached, or reached one who does not lead.
        tonic::Code::FailedPrecondition => Attempt::NotLeader,
        tonic::Code::InvalidArgument | tonic::Code::ResourceExhausted | tonic::Code::PermissionDenied => {
            Attempt::Failed(status.message().to_owned())
        }
        _ => Attempt::Unknown(format!("the leader could not be asked: {}", with_causes(status))),
    }
}
