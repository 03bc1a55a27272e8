//! Between controllers: what one took in and only the leader can do.

use std::sync::Arc;
use std::time::Duration;

use decision::name::AgentId;
use tonic::{Request, Response, Status};
use wire::api::Forwarded;
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::members_server;

use crate::controller::{Attempt, Controller};
use crate::execute;
use crate::raft::ReadError;

/// A caller may not make the leader wait longer.
const WITHIN_MAX: Duration = Duration::from_secs(60);
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Longer than any lease that is worth renewing.
const RENEW_WITHIN: Duration = Duration::from_secs(5);

pub struct Members(pub Arc<Controller>);

#[tonic::async_trait]
impl members_server::Members for Members {
    async fn forward(
        &self,
        request: Request<pb::ForwardRequest>,
    ) -> Result<Response<pb::ForwardReply>, Status> {
        let request = request.into_inner();
        let what: Forwarded = serde_json::from_slice(&request.json).map_err(|error| {
            Status::invalid_argument(format!("what was forwarded cannot be read: {error}"))
        })?;
        if !self.0.node.is_leader() {
            return Err(status(Attempt::NotLeader));
        }
        let within = Duration::from_millis(request.timeout_ms).min(WITHIN_MAX);
        let answer = execute::forwarded(&self.0, what, &request.by, within).await.map_err(status)?;
        let json = serde_json::to_vec(&answer).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(pb::ForwardReply { json: json.into() }))
    }

    async fn heard(&self, request: Request<pb::HeardRequest>) -> Result<Response<pb::HeardReply>, Status> {
        for agent in request.into_inner().agents {
            let agent = AgentId::try_from(agent).map_err(Status::invalid_argument)?;
            if !self.0.heard.note(&agent) {
                return Err(status(Attempt::NotLeader));
            }
        }
        Ok(Response::new(pb::HeardReply {}))
    }

    async fn renew(
        &self,
        request: Request<pb::ForwardedRenewal>,
    ) -> Result<Response<pb::RenewReply>, Status> {
        let pb::ForwardedRenewal { agent, renewal } = request.into_inner();
        let agent = AgentId::try_from(agent).map_err(Status::invalid_argument)?;
        let renewal = renewal.ok_or_else(|| Status::invalid_argument("there is no renewal in it"))?;
        let renewed = self.0.renew(&agent, &renewal.into(), RENEW_WITHIN).await.map_err(status)?;
        Ok(Response::new(renewed.into()))
    }

    async fn read_index(
        &self,
        _request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexReply>, Status> {
        match self.0.node.confirm_leadership(READ_WITHIN).await {
            Ok(index) => Ok(Response::new(pb::ReadIndexReply { index })),
            Err(ReadError::NotLeader { .. }) => Err(status(Attempt::NotLeader)),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}

/// Read back by `controller::attempt`.
pub(super) fn status(attempt: Attempt) -> Status {
    match attempt {
        Attempt::NotLeader => Status::failed_precondition("this controller is not the leader"),
        Attempt::Unknown(why) => Status::unknown(why),
        Attempt::Failed(why) => Status::invalid_argument(why),
    }
}
