//! What the parts say to each other, on the way as values: how it is written down is of no matter here.

use std::rc::Rc;

use decision::command::{Command, Outcome, Stamped};
use decision::database::Position;
use decision::database::promise;
use decision::name::{AgentId, ServiceName};
use decision::plan::Epoch;
use decision::state::State;
use decision::time::Uptime;
use wire::agent::{FromAgent, ToAgent};

use super::resolvers::Lead;
use super::{postgres, raft};

#[derive(Clone, Debug)]
pub enum Message {
    Raft(raft::Message<Stamped>),
    /// Between controllers.
    Ask {
        call: u64,
        asked: Rc<Asked>,
    },
    Answer {
        call: u64,
        answer: Answer,
    },
    /// In a session of an agent's.
    FromAgent {
        session: u64,
        /// Of what is said in this session this way. One that is missed breaks the stream.
        number: u64,
        said: FromAgent,
    },
    ToAgent {
        session: u64,
        number: u64,
        said: ToAgent,
    },
    /// The controller ends the stream.
    Ended {
        session: u64,
    },
    /// An agent asks a controller beside its session.
    Call {
        call: u64,
        asked: Rc<Asked>,
    },
    Called {
        call: u64,
        answer: Answer,
    },
    Postgres(Box<postgres::Message>),
    /// A resolver asks an agent's server where the service is.
    Resolve {
        call: u64,
    },
    Resolved {
        call: u64,
        lead: Lead,
    },
    /// How far a primary's log reaches, to an agent that asked.
    Reaches {
        asked: Uptime,
        end: Position,
    },
    /// An agent asks another to promise, in failsafe mode.
    Promise {
        call: u64,
        request: Box<promise::Request>,
    },
    Promised {
        call: u64,
        is_given: bool,
    },
}

impl Message {
    /// And not of a stream, in which all comes in order: what is said in sessions, and what servers send each other.
    pub fn is_call(&self) -> bool {
        !matches!(
            self,
            Message::FromAgent { .. }
                | Message::ToAgent { .. }
                | Message::Ended { .. }
                | Message::Postgres(_)
        )
    }

    /// Whether whoever sends it may send it twice, because no answer came.
    pub fn may_be_repeated(&self) -> bool {
        match self {
            Message::Raft(_) | Message::Promise { .. } => true,
            Message::Ask { asked, .. } | Message::Call { asked, .. } => {
                matches!(**asked, Asked::Tell { .. } | Asked::Renew { .. } | Asked::Hear(_))
            }
            _ => false,
        }
    }

    /// And not for the server beside it, or a client.
    pub fn is_for_agent(&self) -> bool {
        matches!(
            self,
            Message::ToAgent { .. }
                | Message::Ended { .. }
                | Message::Called { .. }
                | Message::Reaches { .. }
                | Message::Promise { .. }
                | Message::Promised { .. }
                | Message::Resolve { .. }
        )
    }
}

/// What only a leader does.
#[derive(Clone, Debug)]
pub enum Asked {
    /// To note that it heard of this agent.
    Hear(AgentId),
    Commit {
        command: Rc<Command>,
        by: Rc<str>,
    },
    /// What an agent tells of its database, and what follows from it.
    Tell {
        command: Rc<Command>,
        by: Rc<str>,
    },
    /// Up to where a read must see the log.
    ReadIndex,
    Renew {
        agent: AgentId,
        service: ServiceName,
        epoch: Epoch,
        position: Option<Position>,
    },
}

#[derive(Clone, Debug)]
pub enum Answer {
    Heard,
    Committed(Rc<Outcome>),
    Granted,
    Refused,
    Index(u64),
    Read(Rc<State>),
    /// Surely not done: ask again.
    NotLeader,
    /// It may have been done.
    Unknown,
}
