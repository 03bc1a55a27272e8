//! How the instances here stand, for those who send clients to them: what their keepers found, and
//! how long ago. A keeper that hangs must not vouch for its instance for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use decision::database::{InstanceReport, InstanceRole};
use decision::goal::{DatabaseGoal, DatabaseRole};
use decision::name::{RegionName, ServiceName};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::database::{Board, Shown};

/// A replica that has known itself level with its primary within this is fresh.
const FRESH_WITHIN: Duration = Duration::from_secs(5);
/// And no further behind than this, in bytes.
pub const FRESH_BYTES: u64 = 16 << 20;

/// One instance, as seen `age` ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub report: InstanceReport,
    /// How long a replica has had what its readers do not see yet.
    pub replay_lag: Duration,
    pub age: Duration,
}

impl Standing {
    /// Of what its primary is known to have written, what it lacks; none: not known.
    pub fn lag_bytes(&self) -> Option<u64> {
        let (upstream, own) = self.report.upstream.zip(self.report.position)?;
        Some(upstream.lsn.ahead_of(own.lsn))
    }

    /// How long ago it last knew that it had everything, and that its readers saw it.
    pub fn lag(&self) -> Duration {
        self.report.silent + self.replay_lag + self.age
    }

    /// Whether it is up in any role.
    pub fn is_up(&self) -> bool {
        self.age < FRESH_WITHIN
            && matches!(self.report.role, InstanceRole::Replica { .. } | InstanceRole::Primary { .. })
    }

    /// Whether it takes writes under the lease of the goal's epoch, and is to go on doing so.
    pub fn is_primary(&self, goal: &DatabaseGoal, region: &RegionName) -> bool {
        self.report.role == InstanceRole::Primary { epoch: goal.epoch }
            && goal.writer.as_ref() == Some(region)
            && matches!(goal.role, DatabaseRole::Primary { .. })
            // The lease that it was then seen under is over by now.
            && self.age < goal.wished.lease.ttl
    }

    /// Whether what it answers to readers is about what the primary would.
    pub fn is_fresh_replica(&self, most_bytes: u64) -> bool {
        self.report.role == InstanceRole::Replica { streaming: true }
            && self.lag() < FRESH_WITHIN
            && self.lag_bytes().is_some_and(|bytes| bytes < most_bytes)
    }
}

/// The board, with the times at which it changed.
#[derive(Default)]
pub struct Instances {
    seen: watch::Sender<BTreeMap<ServiceName, Seen>>,
}

#[derive(Clone)]
pub(crate) struct Seen {
    shown: Shown,
    at: Instant,
}

impl Instances {
    /// None: nobody here has looked at it since this process began.
    pub fn standing(&self, service: &ServiceName) -> Option<Standing> {
        let seen = self.seen.borrow().get(service)?.clone();
        let Shown { report, replay_lag } = seen.shown;
        Some(Standing { report, replay_lag, age: seen.at.elapsed() })
    }

    /// Tells that something was seen anew; what, `standing` says.
    pub(crate) fn watch(&self) -> watch::Receiver<BTreeMap<ServiceName, Seen>> {
        self.seen.subscribe()
    }

    /// Follows the board until `stop`.
    pub async fn keep(&self, board: Arc<Board>, stop: CancellationToken) {
        let mut board = board.subscribe();
        loop {
            let shown = board.borrow_and_update().clone();
            self.note(shown);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = board.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Each look at an instance that is up finds another `silent`, so that what does not change was
    /// not looked at.
    fn note(&self, shown: BTreeMap<ServiceName, Shown>) {
        let now = Instant::now();
        self.seen.send_if_modified(|seen| {
            let before = seen.len();
            seen.retain(|service, _| shown.contains_key(service));
            let mut is_new = seen.len() != before;
            for (service, shown) in shown {
                if seen.get(&service).is_none_or(|seen| seen.shown != shown) {
                    seen.insert(service, Seen { shown, at: now });
                    is_new = true;
                }
            }
            is_new
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use decision::database::Position;
    use decision::lsn::Lsn;

    use super::*;

    pub(crate) fn report(role: InstanceRole) -> InstanceReport {
        InstanceReport {
            role,
            position: None,
            upstream: None,
            silent: Duration::ZERO,
            promised: Duration::ZERO,
            marked: None,
            settled: None,
            heir: None,
            ready: None,
            system: None,
            branch: None,
            guard: None,
            alone: None,
            problem: None,
            sequence: Default::default(),
        }
    }

    /// As its keeper shows it: with nothing left to replay.
    pub(crate) fn shown(report: InstanceReport) -> Shown {
        Shown { report, replay_lag: Duration::ZERO }
    }

    /// A replica that streams and lacks so much.
    pub(crate) fn replica(silent_ms: u64, lag_bytes: u64) -> InstanceReport {
        let at = |lsn| Some(Position { timeline: 3, lsn: Lsn(lsn) });
        InstanceReport {
            position: at(1 << 32),
            upstream: at((1 << 32) + lag_bytes),
            silent: Duration::from_millis(silent_ms),
            promised: Duration::ZERO,
            marked: None,
            ..report(InstanceRole::Replica { streaming: true })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_looked_at_grows_old() {
        let (board, instances) = (Arc::new(Board::default()), Arc::new(Instances::default()));
        let (following, followed) = (Arc::clone(&instances), Arc::clone(&board));
        tokio::spawn(async move { following.keep(followed, CancellationToken::new()).await });
        let app = ServiceName::from("app");
        assert_eq!(instances.standing(&app), None);

        let mut seen = instances.watch();
        board.send_modify(|board| {
            board.insert(app.clone(), shown(replica(1_000, 0)));
        });
        seen.changed().await.unwrap();
        let is_fresh = |most| instances.standing(&app).unwrap().is_fresh_replica(most);
        assert!(is_fresh(1) && !is_fresh(0));
        tokio::time::advance(Duration::from_millis(3_999)).await;
        assert!(is_fresh(1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!is_fresh(1), "its keeper may hang");
        assert!(instances.standing(&app).unwrap().is_up());

        // Another look, that finds the same but for what passes.
        board.send_modify(|board| {
            board.insert(app.clone(), shown(replica(1_001, 0)));
            board.insert("shop".into(), shown(replica(0, 0)));
        });
        seen.changed().await.unwrap();
        assert!(is_fresh(1));
        board.send_modify(|board| {
            board.remove(&app);
        });
        seen.changed().await.unwrap();
        assert_eq!(instances.standing(&app), None);
    }
}
