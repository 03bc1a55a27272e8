//! What this agent promises to others in failsafe mode.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use decision::database::promise::{self, Promises};
use decision::name::{RegionName, ServiceName};
use decision::plan::Epoch;
use decision::time::Uptime;
use tonic::{Request, Response, Status};
use wire::identity::Identity;
use wire::listen::Peer;
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::peers_server;

use crate::goals::Goals;
use crate::guard::now;

/// What was promised to others, by this process.
pub struct Given(Mutex<Promises>);

impl Default for Given {
    fn default() -> Self {
        Given::since(now())
    }
}

impl Given {
    fn since(born: Uptime) -> Given {
        Given(Mutex::new(Promises::new(born)))
    }

    pub(super) fn forbids(&self, service: &ServiceName, epoch: Epoch, failsafe: Option<Duration>) -> bool {
        self.lock().forbids(service, epoch, failsafe, now())
    }

    pub(super) fn end(&self, service: &ServiceName, failsafe: Option<Duration>) -> Option<Uptime> {
        self.lock().end(service, failsafe)
    }

    /// Refused with the reason when we know of a newer epoch, or the mode is off here.
    fn give(&self, goals: &Goals, request: &promise::Request) -> Result<(), String> {
        let mut given = self.lock();
        // Under the lock: whoever acts by a goal that comes after this look finds the promise.
        let held = goals.held();
        let goal = held.goal.databases.iter().find(|goal| goal.service == request.service);
        given.give(request, goal, now())
    }

    fn lock(&self) -> MutexGuard<'_, Promises> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where other agents ask.
pub struct Asked {
    pub promises: Arc<Given>,
    pub goals: Arc<Goals>,
}

#[tonic::async_trait]
impl peers_server::Peers for Asked {
    async fn promise(
        &self,
        request: Request<pb::PromiseRequest>,
    ) -> Result<Response<pb::PromiseReply>, Status> {
        let caller = request.extensions().get::<Peer>().map(|peer| peer.id.identity.clone());
        let Some(Identity::Agent(from)) = caller else {
            return Err(Status::permission_denied("only an agent is promised anything"));
        };
        let pb::PromiseRequest { service, epoch, ttl_ms, regions } = request.into_inner();
        let request = promise::Request {
            from,
            service: ServiceName(service),
            epoch: Epoch(epoch),
            ttl: Duration::from_millis(ttl_ms),
            regions: regions.into_iter().map(RegionName).collect(),
        };
        let given = self.promises.give(&self.goals, &request);
        if let Err(why) = &given {
            let promise::Request { from, service, .. } = &request;
            tracing::info!(%from, %service, epoch, why, "no promise given");
        }
        let why = given.err();
        Ok(Response::new(pb::PromiseReply { promised: why.is_none(), why: why.unwrap_or_default() }))
    }
}

#[cfg(test)]
mod tests {
    use decision::goal::Goal;
    use decision::name::AgentId;

    use super::*;
    use crate::relay::tests::goal;

    fn goals(writer: &str, epoch: u64, failsafe: bool) -> Goals {
        let mut database = goal(Some(writer), epoch);
        database.wished.failsafe = failsafe;
        Goals::new(Some(Goal { databases: vec![database], ..Goal::default() }))
    }

    #[test]
    fn a_promise_is_given_by_the_goal_in_force() {
        let promises = Given::since(Uptime(0));
        let held = goals("us", 3, true);
        let request = |from: &str, epoch: u64| promise::Request {
            from: AgentId::new(from, 1),
            service: "app".into(),
            epoch: Epoch(epoch),
            ttl: Duration::from_secs(60),
            regions: held.held().goal.databases[0].wished.instances.keys().cloned().collect(),
        };
        let forbids = |epoch| promises.forbids(&"app".into(), Epoch(epoch), None);
        assert!(promises.give(&goals("us", 3, false), &request("us", 3)).is_err(), "the mode is off");
        assert!(promises.give(&held, &request("eu", 3)).is_err(), "another holds it");
        assert!(!forbids(4), "who asks in vain holds nobody up");
        assert_eq!(promises.give(&held, &request("us", 3)), Ok(()));
        assert!(forbids(4) && !forbids(3));
    }

    #[test]
    fn a_process_that_just_began_may_have_promised_before() {
        let promises = Given::default();
        assert!(promises.forbids(&"app".into(), Epoch(1), Some(Duration::from_secs(60))));
        assert!(!promises.forbids(&"app".into(), Epoch(1), None), "the mode is off");
    }
}
