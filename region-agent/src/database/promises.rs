//! What this agent promises to others in failsafe mode.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use decision::database::promise::{self, Promises};
use decision::goal::{DatabaseGoal, Goal};
use decision::name::{RegionName, ServiceName};
use decision::plan::Epoch;
use decision::time::Uptime;
use tonic::{Request, Response, Status};
use wire::identity::Identity;
use wire::listen::Peer;
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::peers_server;

use super::durable;
use crate::goals::Goals;
use crate::guard::now;

const FILE: &str = "promised.json";

/// What was promised to others, by this process; and by those before it, as far as the disk tells.
pub struct Given {
    given: Mutex<Promises>,
    file: PathBuf,
    noted: RwLock<Noted>,
    noting: tokio::sync::Mutex<()>,
}

/// The newest epoch of each database for which anything was promised.
#[derive(Clone)]
enum Noted {
    /// The file cannot be read: anything may have been.
    Unknown,
    Known(BTreeMap<ServiceName, Epoch>),
}

impl Given {
    /// `folder`: the agent's own.
    pub async fn open(folder: &Path) -> Given {
        Given::since(now(), folder).await
    }

    async fn since(born: Uptime, folder: &Path) -> Given {
        let file = folder.join(FILE);
        let noted = match durable::read(&file, "what was promised in failsafe mode is not known").await {
            Ok(noted) => Noted::Known(noted.unwrap_or_default()),
            Err(why) => {
                tracing::warn!(why, "anything may have been promised before this process");
                Noted::Unknown
            }
        };
        let given = Mutex::new(Promises::new(born));
        Given { given, file, noted: RwLock::new(noted), noting: tokio::sync::Mutex::default() }
    }

    /// Before it is given: on disk, once for an epoch.
    async fn note(&self, goals: &Goals, request: &promise::Request) -> Result<(), String> {
        let promise::Request { service, epoch, .. } = request;
        self.lock().may_give(request, of_service(&goals.held().goal, service))?;
        let is_noted = || match self.noted() {
            Noted::Known(epochs) => epochs.get(service) >= Some(epoch),
            Noted::Unknown => true,
        };
        if is_noted() {
            return Ok(());
        }
        let _turn = self.noting.lock().await;
        let Noted::Known(mut epochs) = self.noted() else { return Ok(()) };
        if is_noted() {
            return Ok(());
        }
        epochs.insert(service.clone(), *epoch);
        durable::write(&self.file, &epochs).await?;
        *self.noted.write().unwrap_or_else(PoisonError::into_inner) = Noted::Known(epochs);
        Ok(())
    }

    fn noted(&self) -> Noted {
        self.noted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Until when the primary of this database may go on by what was promised here (S3).
    pub(super) fn end(&self, goal: &DatabaseGoal) -> Option<Uptime> {
        let noted = match self.noted() {
            Noted::Known(epochs) => epochs.get(&goal.service).copied(),
            Noted::Unknown => goal.wished.failsafe.then_some(goal.epoch),
        };
        self.lock().end(goal, noted)
    }

    pub(super) fn forbids(&self, service: &ServiceName, epoch: Epoch, failsafe: Option<Duration>) -> bool {
        self.lock().forbids(service, epoch, failsafe, now())
    }

    /// Refused with the reason when we know of a newer epoch, or the mode is off here.
    fn give(&self, goals: &Goals, request: &promise::Request) -> Result<(), String> {
        let mut given = self.lock();
        // Under the lock: whoever acts by a goal that comes after this look finds the promise.
        let held = goals.held();
        given.give(request, of_service(&held.goal, &request.service), now())
    }

    fn lock(&self) -> MutexGuard<'_, Promises> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_service<'a>(goal: &'a Goal, service: &ServiceName) -> Option<&'a DatabaseGoal> {
    goal.databases.iter().find(|goal| goal.service == *service)
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
        let given = match self.promises.note(&self.goals, &request).await {
            Ok(()) => self.promises.give(&self.goals, &request),
            Err(why) => Err(why),
        };
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
    use decision::name::AgentId;

    use super::*;
    use crate::relay::tests::goal;

    fn goals(writer: &str, epoch: u64, failsafe: bool) -> Goals {
        let mut database = goal(Some(writer), epoch);
        database.wished.failsafe = failsafe;
        Goals::new(Some(Goal { databases: vec![database], ..Goal::default() }))
    }

    #[tokio::test]
    async fn a_promise_is_given_by_the_goal_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let promises = Given::since(Uptime(0), folder.path()).await;
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

    /// S3: whoever begins in its place counts what it may have promised, and nothing where it promised nothing.
    #[tokio::test]
    async fn that_anything_was_promised_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let held = goals("us", 3, true);
        let goal = held.held().goal.databases[0].clone();
        let request = |epoch: u64| promise::Request {
            from: AgentId::new("us", 1),
            service: "app".into(),
            epoch: Epoch(epoch),
            ttl: Duration::from_secs(60),
            regions: goal.wished.instances.keys().cloned().collect(),
        };
        let promises = Given::open(folder.path()).await;
        assert_eq!(promises.end(&goal), None);
        assert!(promises.note(&held, &request(2)).await.is_err(), "what is not given is not noted");
        assert_eq!(Given::open(folder.path()).await.end(&goal), None);
        promises.note(&held, &request(3)).await.unwrap();
        promises.give(&held, &request(3)).unwrap();
        assert!(promises.end(&goal).is_some());
        assert!(Given::open(folder.path()).await.end(&goal).is_some());
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Given::open(folder.path()).await.end(&goal).is_some(), "nobody knows");
    }

    #[tokio::test]
    async fn a_process_that_just_began_may_have_promised_before() {
        let folder = tempfile::tempdir().unwrap();
        let promises = Given::open(folder.path()).await;
        assert!(promises.forbids(&"app".into(), Epoch(1), Some(Duration::from_secs(60))));
        assert!(!promises.forbids(&"app".into(), Epoch(1), None), "the mode is off");
    }
}
