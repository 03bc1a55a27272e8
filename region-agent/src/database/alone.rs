//! What a synchronous primary sees of the replicas that its commits wait for.

use std::time::Duration;

use decision::database::alone::{Alone, Commits, Seen, Word};
use decision::database::keep::Process;
use decision::goal::{DatabaseGoal, DatabaseRole};
use decision::lsn::Lsn;
use decision::name::RegionName;
use decision::time::Time;
use failover::postgres::{Observed, Postgres, Role};

use super::keeper::Keeper;
use super::see::Look;
use crate::guard::now_ns;

const APPLY_WITHIN: Duration = Duration::from_secs(5);
/// A checkpoint may have to be waited for.
const WAITS_WITHIN: Duration = Duration::from_secs(60);

/// What is remembered of one server, and what it came to.
#[derive(Default)]
pub(super) struct Weighed {
    alone: Alone,
    pub(super) word: Option<Word>,
}

impl Weighed {
    pub(super) fn goes(&self) -> bool {
        self.alone.goes()
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
        let goes = self.weighed.goes();
        let desired = self.desired(goal, Role::Primary);
        let wait = |observed: &Observed| !observed.synchronous_standby_names.is_empty();
        match commits {
            Commits::AsTheyAre if goes && look.observed.as_ref().is_some_and(wait) => {
                tracing::warn!(epoch = %goal.epoch, "too few replicas follow: by agreement it goes on alone");
                let sql = self.connection.get(postgres).await.map_err(|error| error.to_string())?;
                sql.apply(&desired, APPLY_WITHIN).await.map_err(|error| error.to_string())
            }
            Commits::AsTheyAre => Ok(()),
            Commits::Wait => {
                let sql = self.connection.get(postgres).await.map_err(|error| error.to_string())?;
                sql.set_sync_standbys(&desired, WAITS_WITHIN).await.map_err(|error| error.to_string())?;
                let end = sql.observe().await.map_err(|error| error.to_string())?.current;
                self.weighed.alone.waits(end.ok_or("it does not tell where its log ends")?);
                tracing::info!(epoch = %goal.epoch, "commits wait for replicas again");
                Ok(())
            }
        }
    }
}

/// None: its commits wait for nobody.
fn seen(goal: &DatabaseGoal, own: &RegionName, observed: &Observed) -> Option<Seen> {
    let acks = usize::from(goal.wished.mode.acks()).checked_sub(1)?;
    let is_other =
        |name: &str| goal.wished.instances.keys().any(|other| other != own && other.as_str() == name);
    let streams = observed.standbys.iter().filter(|standby| standby.state.as_deref() == Some("streaming"));
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
    })
}
