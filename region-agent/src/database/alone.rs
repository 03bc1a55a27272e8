//! Has the commits of a synchronous primary do what was agreed.

use std::time::Duration;

use decision::database::alone::Commits;
use decision::goal::DatabaseGoal;
use decision::lsn::Lsn;
use failover::postgres::{Observed, Postgres, Role};
use tokio::task::JoinHandle;

use super::keeper::Keeper;
use super::perform::{APPLY_WITHIN, say};

const CHECKPOINT_WITHIN: Duration = Duration::from_secs(60);

/// Makes sure that commits wait, and says where the log ended then; a checkpoint may take long.
#[derive(Default)]
pub(super) struct Surely(Option<Task>);

/// Ends with whoever wants to know.
struct Task(JoinHandle<Result<Lsn, String>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keeper {
    /// S3: commits do what was agreed, and nothing is told of it before it is so.
    pub(super) async fn settle_commits(
        &mut self,
        goal: &DatabaseGoal,
        postgres: &Postgres,
        observed: Option<&Observed>,
        commits: Commits,
    ) -> Result<(), String> {
        let Some(observed) = observed.filter(|observed| !observed.in_recovery) else { return Ok(()) };
        let desired = self.desired(goal, Role::Primary);
        if observed.synchronous_standby_names != desired.sync.render().map_err(say)? {
            self.surely.0 = None;
            tracing::warn!(epoch = %goal.epoch, sync = ?desired.sync, "whom commits wait for is changed");
            let sql = self.connection.get(postgres).await.map_err(say)?;
            return sql.apply(&desired, APPLY_WITHIN).await.map_err(say);
        }
        if commits == Commits::AsTheyAre {
            self.surely.0 = None;
            return Ok(());
        }
        match self.surely.0.take() {
            None => self.surely.0 = Some(Task(tokio::spawn(surely(postgres.clone())))),
            Some(task) if !task.0.is_finished() => self.surely.0 = Some(task),
            Some(mut task) => {
                let end = (&mut task.0).await.map_err(|error| error.to_string())??;
                self.rules.commits_wait(end);
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
