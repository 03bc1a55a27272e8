//! The instances of databases that this region runs: each kept as its goal says, under its lease,
//! by one task; the postmaster itself belongs to the guard, which outlives this process.

mod alone;
mod anew;
mod asks;
mod branches;
pub mod controllers;
mod durable;
mod freshness;
mod health;
mod keeper;
mod lease;
mod log_tail;
mod perform;
pub mod promises;
mod released;
mod see;
pub(crate) mod settings;
pub mod tell;
mod users;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use decision::database::InstanceReport;
use decision::goal::DatabaseGoal;
use decision::name::{AgentId, ServiceName};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::host::Host;
use wire::tls::Credentials;

use controllers::Controllers;
use keeper::Keeper;
use promises::Given;

use crate::drill::Still;
use crate::goals::Held;

/// What each instance here was last found to be, for whoever in this process asks.
pub type Board = watch::Sender<BTreeMap<ServiceName, Shown>>;

/// An instance as its keeper last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub report: InstanceReport,
    /// How long a replica has had what its readers do not see yet.
    pub replay_lag: Duration,
}

/// Longest that a call to a controller waits for its connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Settings {
    pub host: Host,
    pub credentials: Credentials,
    /// `host:port`, those of the own region first.
    pub controllers: Vec<String>,
    pub agent: AgentId,
    /// A folder of the agent's own.
    pub data_dir: PathBuf,
    /// None: beside this program.
    pub guard_program: Option<PathBuf>,
    /// The machine's, for one database: there is one device, and it takes one writer.
    pub watchdog: Option<PathBuf>,
    pub board: Arc<Board>,
    pub promises: Arc<Given>,
    /// What a drill does to the instances here.
    pub still: watch::Receiver<Still>,
}

/// One task for each database that the goal names, until `stop`. PostgreSQL runs on after it, as
/// long as its lease does.
pub async fn run(settings: Settings, mut goals: watch::Receiver<Arc<Held>>, stop: CancellationToken) {
    let controllers =
        Controllers::new(&settings.host, &settings.credentials, &settings.controllers, CONNECT_WITHIN);
    let mut kept: BTreeMap<ServiceName, watch::Sender<DatabaseGoal>> = BTreeMap::new();
    let mut keepers = JoinSet::new();
    let mut watchdog = settings.watchdog.clone();
    loop {
        let held = Arc::clone(&goals.borrow_and_update());
        // What is only on disk may be long over: nothing is done to an instance by it, and what runs goes
        // on under the guard.
        if held.is_live {
            for goal in &held.goal.databases {
                match kept.get(&goal.service) {
                    Some(sender) => {
                        // S2: what came late is not gone back to.
                        sender.send_if_modified(|before| {
                            let newer = goal.epoch >= before.epoch && *before != *goal;
                            if newer {
                                *before = goal.clone();
                            }
                            newer
                        });
                    }
                    None => {
                        let (sender, goal_of_it) = watch::channel(goal.clone());
                        kept.insert(goal.service.clone(), sender);
                        let own = Settings { watchdog: watchdog.take(), ..settings.clone() };
                        let keeper = Keeper::new(goal.service.clone(), own, controllers.clone());
                        keepers.spawn(keeper.keep(goal_of_it, stop.clone()));
                    }
                }
            }
            // No longer ours: it runs on as it is, without us.
            let named =
                |service: &ServiceName| held.goal.databases.iter().any(|goal| goal.service == *service);
            kept.retain(|service, _| named(service));
        }
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = keepers.join_next() => {
                if let Err(error) = ended {
                    // Its instance is fenced by its guard when the lease is over.
                    tracing::error!(%error, "the keeper of a database failed");
                    return;
                }
            }
            changed = goals.changed() => if changed.is_err() { break },
        }
    }
    while keepers.join_next().await.is_some() {}
}
