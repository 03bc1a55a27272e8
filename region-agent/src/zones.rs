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
        for refused in server.publish(held.goal.zones.clone()).await {
            // S2, S8: what was stale, the journal must know. After a restart the goal on disk may be
            // behind the zones on disk, which is no news.
            if held.is_live || !matches!(refused.reason, Reason::Older { .. }) {
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
