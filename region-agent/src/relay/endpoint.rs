//! One address at which clients are listened for, taken again and again until it is free.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wire::host::BoxListener;

use super::Name;
use super::aim::Aim;
use super::connection::{self, Shared};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// When the machine has no descriptors left, say.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Until `stop`, which cuts off whoever is being served.
pub(super) async fn run(
    name: Name,
    address: String,
    aims: watch::Receiver<Aim>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let Some(mut listener) = stop.run_until_cancelled(bind(&name, &address, &shared)).await else { return };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%name, %error, "a client's task failed");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // Refused, not left in the kernel's queue: another address of the client may have room.
            Ok((client, _)) if connections.len() >= shared.limits.connections => {
                client.reset_on_close();
                shared.metrics.relay_refused.add();
                tracing::debug!(%name, "too many clients");
            }
            Ok((client, _)) => {
                connections.spawn(connection::relay(client, aims.clone(), Arc::clone(&shared), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%name, %error, "accepting a client failed; going on");
                sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
    drop(listener);
    tracing::info!(%name, address, "no longer listening for clients");
    while connections.join_next().await.is_some() {}
}

async fn bind(name: &Name, address: &str, shared: &Shared) -> BoxListener {
    let mut pause = FIRST_RETRY;
    let mut told = None;
    loop {
        match shared.network.bind(address).await {
            Ok(listener) => {
                tracing::info!(%name, address, "listening for clients");
                return listener;
            }
            Err(error) => {
                if told.replace(error.kind()) != Some(error.kind()) {
                    tracing::error!(%name, address, %error, "cannot listen for clients; trying again");
                }
            }
        }
        sleep(pause).await;
        pause = LONGEST_RETRY.min(pause * 2);
    }
}
