//! Answers to questions and wishes, the same for gRPC and HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use decision::command::Refusal;
use decision::state::State;
use decision::time::Time;
use serde::Serialize;
use tokio::sync::watch;
use wire::api::{ConfigDocument, ForwardAnswer, Forwarded, Intent, IntentReply, JournalPage, Query};

use crate::controller::{Controller, SubmitError};
use crate::http::Backend;
use crate::view;

const READ_WITHIN: Duration = Duration::from_secs(5);
/// For the leader's part of a status.
const LEASES_WITHIN: Duration = Duration::from_secs(1);
const INTENT_WITHIN: Duration = Duration::from_secs(15);
/// Entries of the journal in one answer.
const JOURNAL_PAGE_MAX: usize = 1_000;

/// A document and how sure it is.
#[derive(Clone, Debug)]
pub struct Answer {
    pub json: Vec<u8>,
    pub index: u64,
    /// Not confirmed with a majority.
    pub stale: bool,
    pub as_of: Time,
    pub member: u64,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    /// Nothing was changed.
    #[error("{0}")]
    Unavailable(String),
    /// It may still be carried out.
    #[error("{0}")]
    Unknown(String),
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Unknown { .. } => ApiError::Unknown(error.to_string()),
            SubmitError::NoLeader { .. } | SubmitError::Failed { .. } => {
                ApiError::Unavailable(error.to_string())
            }
        }
    }
}

/// Answers a question from a state confirmed with a majority (S7); with `stale_ok` from this
/// controller's own, if a majority cannot be had, and says so.
pub async fn answer(controller: &Controller, query: Query, stale_ok: bool) -> Result<Answer, ApiError> {
    if matches!(query, Query::IfLost { .. } | Query::Explain { .. } | Query::Leases) {
        return from_leader(controller, query).await;
    }
    let (state, stale) = match controller.linearizable(READ_WITHIN).await {
        Ok(state) => (state, false),
        Err(_) if stale_ok => (controller.state(), true),
        Err(error) => return Err(ApiError::Unavailable(error.to_string())),
    };
    let json = match query {
        Query::Status => json(&status(controller, &state, stale).await)?,
        query => document(controller, &state, &query)?,
    };
    Ok(answered(controller, &state, json, stale))
}

async fn from_leader(controller: &Controller, query: Query) -> Result<Answer, ApiError> {
    let answer = controller.ask_leader(Forwarded::Query { query }, "controller", READ_WITHIN).await?;
    let json = match answer {
        ForwardAnswer::IfLost { what_if } => json(&what_if)?,
        ForwardAnswer::Explanation { explanation } => json(&explanation)?,
        ForwardAnswer::Leases { leases } => json(&leases)?,
        ForwardAnswer::Refused { refusal } => return Err(refused(refusal)),
        ForwardAnswer::Outcome { .. } | ForwardAnswer::Intent { .. } => {
            return Err(ApiError::Unknown("the leader answered something else".into()));
        }
    };
    Ok(answered(controller, &controller.state(), json, false))
}

/// What only the leader's memory has of it is asked there, and left out if it does not answer at once.
async fn status(controller: &Controller, state: &State, stale: bool) -> wire::api::Status {
    let mut status = view::status(state, &membership(controller));
    if !stale && status.services.iter().any(|service| service.database.is_some()) {
        let ask = Forwarded::Query { query: Query::Leases };
        if let Ok(ForwardAnswer::Leases { leases }) =
            controller.ask_leader(ask, "controller", LEASES_WITHIN).await
        {
            view::show_leases(&mut status, &leases);
        }
    }
    status
}

fn document(controller: &Controller, state: &State, query: &Query) -> Result<Vec<u8>, ApiError> {
    match query {
        Query::Status => json(&view::status(state, &membership(controller))),
        Query::Plans => json(&state.plans.values().rev().collect::<Vec<_>>()),
        Query::Plan { id } => match state.plans.get(id) {
            Some(record) => json(record),
            None => Err(ApiError::NotFound(format!("there is no {id}"))),
        },
        Query::Journal { after, limit } => {
            let limit = (*limit as usize).clamp(1, JOURNAL_PAGE_MAX);
            let entries =
                state.journal.after(*after).take(limit).map(|entry| entry.as_ref().clone()).collect();
            let last_seq = state.journal.last_seq();
            json(&JournalPage { entries, last_seq, intact: state.journal.verify().is_ok() })
        }
        Query::Config => json(&ConfigDocument {
            generation: state.config_generation,
            config: state.config.as_deref().cloned(),
        }),
        Query::Incidents => json(&state.incidents),
        Query::Drills => json(&state.drills.values().rev().collect::<Vec<_>>()),
        Query::IfLost { .. } | Query::Explain { .. } | Query::Leases => {
            Err(ApiError::Invalid("only the leader can tell".into()))
        }
    }
}

fn answered(controller: &Controller, state: &State, json: Vec<u8>, stale: bool) -> Answer {
    Answer { json, index: state.index, stale, as_of: state.now, member: controller.node.id() }
}

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Unknown { .. } => ApiError::NotFound(refusal.to_string()),
        refusal => ApiError::Invalid(refusal.to_string()),
    }
}

fn json<T: Serialize>(document: &T) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(document)
        .map_err(|error| ApiError::Unknown(format!("the answer cannot be written: {error}")))
}

/// Carries a wish to the leader.
pub async fn intent(controller: &Controller, intent: Intent, by: &str) -> Result<IntentReply, ApiError> {
    match controller.ask_leader(Forwarded::Intent { intent }, by, INTENT_WITHIN).await? {
        ForwardAnswer::Intent { reply } => Ok(reply),
        _ => Err(ApiError::Unknown("the leader answered something else".into())),
    }
}

/// Who the members are, as this controller knows them.
pub fn membership(controller: &Controller) -> view::Membership {
    let status = controller.node.status();
    let member = |(id, member): (u64, crate::raft::MemberStatus)| wire::api::MemberStatus {
        id,
        region: member.member.region.as_str().into(),
        grpc: member.member.grpc,
        voter: member.voter,
        witness: member.member.witness,
        matched: member.matched,
    };
    view::Membership {
        cluster: controller.cluster(),
        leader: status.leader,
        term: status.term,
        members: status.members.into_iter().map(member).collect(),
    }
}

/// What the HTTP faces show.
pub struct Faces(pub Arc<Controller>);

#[async_trait]
impl Backend for Faces {
    fn with_state(&self, look: &mut dyn FnMut(&State)) {
        look(&self.0.state());
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.freshness.changes()
    }

    fn membership(&self) -> view::Membership {
        membership(&self.0)
    }

    fn is_ready(&self) -> Result<(), String> {
        self.0.node.leader().map(|_| ()).ok_or_else(|| "no leader is known".to_owned())
    }

    fn now(&self) -> Time {
        self.0.host.clock.now()
    }

    fn fresh_at(&self) -> Time {
        self.0.freshness.at()
    }

    async fn query(&self, query: Query, stale_ok: bool) -> Result<Answer, ApiError> {
        answer(&self.0, query, stale_ok).await
    }

    async fn intent(&self, intent: Intent, by: String) -> Result<IntentReply, ApiError> {
        self::intent(&self.0, intent, &by).await
    }
}
