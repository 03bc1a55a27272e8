//! Asks the primary that the instance follows, again and again, how far it has written (S3: what that is for, see
//! `decision::database::freshness`).

use std::time::Duration;

use decision::database::freshness::Reply;
use failover::postgres::{Postgres, PostgresError, Upstream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::guard::now;

const EVERY: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The newest are of no use while nobody looks at the older ones.
const UNREAD_MOST: usize = 64;

#[derive(Default)]
pub(super) struct Asks(Option<Asking>);

struct Asking {
    whom: Upstream,
    replies: mpsc::Receiver<Reply>,
    _task: AbortOnDropHandle<()>,
}

impl Asks {
    /// From now on this one is asked, and no other; none: nobody.
    pub(super) fn ask(&mut self, postgres: &Postgres, whom: Option<Upstream>) {
        if self.0.as_ref().map(|asking| &asking.whom) == whom.as_ref() {
            return;
        }
        self.0 = whom.map(|whom| {
            let (tell, replies) = mpsc::channel(UNREAD_MOST);
            let task = tokio::spawn(go_on(postgres.clone(), whom.clone(), tell));
            Asking { whom, replies, _task: AbortOnDropHandle::new(task) }
        });
    }

    /// What was answered since the last call.
    pub(super) fn take(&mut self) -> Vec<Reply> {
        let mut taken = Vec::new();
        while let Some(reply) = self.0.as_mut().and_then(|asking| asking.replies.try_recv().ok()) {
            taken.push(reply);
        }
        taken
    }
}

/// Ends only when dropped.
async fn go_on(postgres: Postgres, whom: Upstream, tell: mpsc::Sender<Reply>) {
    loop {
        if let Err(error) = on_one_connection(&postgres, &whom, &tell).await {
            tracing::debug!(%error, "the primary does not tell how far it is");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn on_one_connection(
    postgres: &Postgres,
    whom: &Upstream,
    tell: &mpsc::Sender<Reply>,
) -> Result<(), PostgresError> {
    let mut asker = postgres.asker(whom).await?;
    loop {
        // Before it is sent: what is acknowledged later may not be in the answer.
        let asked = now();
        if let Some(end) = asker.end(ANSWER_WITHIN).await? {
            // Full: see `UNREAD_MOST`.
            let _ = tell.try_send(Reply { asked, end });
        }
        tokio::time::sleep(EVERY).await;
    }
}
