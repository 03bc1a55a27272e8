//! Hands the zones of each goal to the authoritative server.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::dns::{DnsServer, Reason};
use crate::goals::Held;
use crate::outbox::Outbox;

/// Until `stop`; then the server ends with what it is at.
pub(crate) async fn run(
    server: Arc<DnsServer>,
    mut goals: watch::Receiver<Arc<Held>>,
    outbox: Arc<Outbox>,
    stop: CancellationToken,
) {
    loop {
        let held = Arc::clone(&goals.borrow_and_update());
        // A goal names all zones there are. Before the first one it is of generation 0, which retires none.
        for refused in server.publish_list(held.goal.generation, held.goal.zones.clone()).await {
            // S2, S8: what was stale, the journal must know. After a restart the goal on disk may be
            // behind the zones on disk, which is no news.
            let is_behind = matches!(refused.reason, Reason::Older { .. } | Reason::OlderList { .. });
            if held.is_live || !is_behind {
                outbox.refuse(
                    format!("zone {} at generation {}", refused.origin, refused.generation),
                    refused.to_string(),
                );
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = goals.changed() => if changed.is_err() { return },
        }
    }
}
