//! What a synchronous primary sees of the replicas that its commits wait for.

use std::time::Duration;

use decision::database::alone::{Alone, Commits, Seen, Word};
use decision::database::keep::Process;
use decision::goal::{DatabaseGoal, DatabaseRole};
use decision::lsn::Lsn;
use decision::name::RegionName;
use decision::time::Time;
use failover::postgres::{Observed, Postgres, Role};
use tokio::task::JoinHandle;

use super::keeper::Keeper;
use super::perform::{APPLY_WITHIN, say};
use super::see::Look;
use crate::guard::now_ns;

const CHECKPOINT_WITHIN: Duration = Duration::from_secs(60);

/// What is remembered of one server, and what it came to.
#[derive(Default)]
pub(super) struct Weighed {
    alone: Alone,
    pub(super) word: Option<Word>,
    /// Makes sure that commits wait, and says where the log ended then; a checkpoint may take long.
    surely: Option<Task>,
}

impl Weighed {
    pub(super) fn goes(&self) -> bool {
        self.alone.goes()
    }
}

/// Ends with whoever wants to know.
struct Task(JoinHandle<Result<Lsn, String>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keeper {
    /// Before it is told, so that what is told is so.
    pub(super) fn weigh_alone(&mut self, goal: &DatabaseGoal, look: &Look) -> Commits {
        let is_primary = matches!(goal.role, DatabaseRole::Primary { .. });
        if !is_primary || look.seen.process == Process::None {
            self.weighed = Weighed::default();
        }
        let writes = is_primary && look.seen.process == Process::Primary && look.seen.leased;
        let observed = look.observed.as_ref().filter(|_| writes);
        let Some(seen) = observed.and_then(|observed| seen(goal, &self.agent.region, observed)) else {
            return Commits::AsTheyAre;
        };
        let now = Time(now_ns() / 1_000_000);
        let commits = self.weighed.alone.look(&seen, self.host.random.next_u64(), now);
        self.weighed.word = self.weighed.alone.word(&seen);
        commits
    }

    /// S3: commits do what was agreed, and nothing is told of it before it is so.
    pub(super) async fn settle_commits(
        &mut self,
        goal: &DatabaseGoal,
        postgres: &Postgres,
        look: &Look,
        commits: Commits,
    ) -> Result<(), String> {
        let Some(observed) = look.observed.as_ref().filter(|_| look.seen.process == Process::Primary) else {
            return Ok(());
        };
        let desired = self.desired(goal, Role::Primary);
        if observed.synchronous_standby_names != desired.sync.render().map_err(say)? {
            self.weighed.surely = None;
            tracing::warn!(epoch = %goal.epoch, sync = ?desired.sync, "whom commits wait for is changed");
            let sql = self.connection.get(postgres).await.map_err(say)?;
            return sql.apply(&desired, APPLY_WITHIN).await.map_err(say);
        }
        if commits == Commits::AsTheyAre {
            self.weighed.surely = None;
            return Ok(());
        }
        match self.weighed.surely.take() {
            None => self.weighed.surely = Some(Task(tokio::spawn(surely(postgres.clone())))),
            Some(task) if !task.0.is_finished() => self.weighed.surely = Some(task),
            Some(mut task) => {
                let end = (&mut task.0).await.map_err(|error| error.to_string())??;
                self.weighed.alone.waits(end);
                tracing::info!(epoch = %goal.epoch, %end, "from here on commits surely wait for replicas");
            }
        }
        Ok(())
    }
}

/// When the configuration is in force for sessions it need not be for the checkpointer, who decides which commits
/// wait: it reads it between two checkpoints, so that one which was asked for later is waited for.
async fn surely(postgres: Postgres) -> Result<Lsn, String> {
    let sql = postgres.connect().await.map_err(say)?;
    sql.checkpoint(CHECKPOINT_WITHIN).await.map_err(say)?;
    let end = sql.observe().await.map_err(say)?.current;
    end.ok_or_else(|| "it does not tell where its log ends".to_owned())
}

/// None: its commits wait for nobody.
fn seen(goal: &DatabaseGoal, own: &RegionName, observed: &Observed) -> Option<Seen> {
    let acks = usize::from(goal.wished.mode.acks()).checked_sub(1)?;
    let is_other =
        |name: &str| goal.wished.instances.keys().any(|other| other != own && other.as_str() == name);
    let streams = observed.standbys.iter().filter(|standby| standby.is_streaming());
    let mut have: Vec<Lsn> = streams
        .filter(|standby| is_other(&standby.application_name))
        .filter_map(|standby| standby.flushed)
        .collect();
    have.sort_unstable_by(|a, b| b.cmp(a));
    Some(Seen {
        may_ask: matches!(goal.wished.mode, decision::config::Mode::Sync { .. }),
        have: have.get(acks).copied(),
        end: observed.current?,
        leave: goal.alone,
        change: goal.unsettled,
    })
}
