//! One client of an endpoint: found an instance, relayed to it, and cut off when that may serve no
//! more. What is said is not looked into, so that anything a client of PostgreSQL may open passes:
//! sessions with TLS or without, requests to cancel.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use wire::host::{BoxIo, Network};

use super::Limits;
use super::aim::{Aim, Target};
use crate::metrics::{Metrics, Number};

/// Each way; with a client at each of all slots this is 64 MiB.
const BUFFER_BYTES: usize = 16 * 1024;
/// What a client says before it can be served; more than PostgreSQL allows it to.
const EARLY_BYTES: usize = 16 * 1024;
/// Between two tries to reach an instance; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(80);
/// So many try at once: when an instance comes up, a thousand waiting clients shall not knock it over.
const MOST_TRYING: usize = 64;

/// What the connections of one endpoint share.
pub(super) struct Shared {
    pub(super) network: Arc<dyn Network>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Limits,
    waiting: Semaphore,
    trying: Semaphore,
}

impl Shared {
    pub(super) fn new(network: Arc<dyn Network>, metrics: Arc<Metrics>, limits: Limits) -> Arc<Shared> {
        let (waiting, trying) = (Semaphore::new(limits.waiting), Semaphore::new(MOST_TRYING));
        Arc::new(Shared { network, metrics, limits, waiting, trying })
    }
}

enum End {
    /// Both sides had said all.
    Done,
    /// One side broke off: the other learns it as it was.
    Broken,
    /// Whom it was relayed to may not serve it any more.
    Cut,
    /// Nobody could serve it.
    Refused(&'static str),
}

pub(super) async fn relay(
    mut client: BoxIo,
    aims: watch::Receiver<Aim>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let metrics = &shared.metrics;
    let _open = Raised::new(&metrics.relay_open);
    metrics.relay_accepted.add();
    let end = tokio::select! {
        biased;
        () = stop.cancelled() => End::Cut,
        end = serve(&mut client, aims, &shared) => end,
    };
    match end {
        End::Done => return,
        End::Broken => {}
        End::Cut => metrics.relay_cut.add(),
        End::Refused(why) => {
            tracing::debug!(why, "a client is refused");
            metrics.relay_refused.add();
        }
    }
    client.reset_on_close();
}

async fn serve(client: &mut BoxIo, mut aims: watch::Receiver<Aim>, shared: &Shared) -> End {
    let mut early = BytesMut::new();
    let found = find(client, &mut early, &mut aims, shared);
    let (mut server, target) =
        match timeout_at(tokio::time::Instant::now() + shared.limits.patience, found).await {
            Ok(Ok(found)) => found,
            Ok(Err(end)) => return end,
            Err(_) => return End::Refused("nobody could serve it in time"),
        };
    let end = tokio::select! {
        // Looks at once, so that what changed while it was being reached is seen.
        biased;
        _ = aims.wait_for(|aim| !aim.holds(&target.bond)) => End::Cut,
        carried = carry(client, &mut server, early) => match carried {
            Ok(()) => End::Done,
            Err(error) => {
                tracing::debug!(%error, to = target.address, "a connection broke off");
                End::Broken
            }
        },
    };
    if !matches!(end, End::Done) {
        server.reset_on_close();
    }
    end
}

async fn carry(client: &mut BoxIo, server: &mut BoxIo, early: BytesMut) -> io::Result<()> {
    server.write_all(&early).await?;
    drop(early);
    copy_bidirectional_with_sizes(client, server, BUFFER_BYTES, BUFFER_BYTES).await?;
    Ok(())
}

/// Waits for somebody to serve it, as long as the client does.
async fn find(
    client: &mut BoxIo,
    early: &mut BytesMut,
    aims: &mut watch::Receiver<Aim>,
    shared: &Shared,
) -> Result<(BoxIo, Target), End> {
    // Mostly that is all. What the client has said stays where it is, so that it may have ended its side.
    let target = aims.borrow_and_update().to.clone();
    if let (Some(target), Ok(_trying)) = (target, shared.trying.try_acquire())
        && let Some(server) = reach(&target, aims, shared).await
    {
        return Ok((server, target));
    }
    let Ok(_waiting) = shared.waiting.try_acquire() else {
        return Err(End::Refused("too many wait already"));
    };
    let _counted = Raised::new(&shared.metrics.relay_waiting);
    tokio::select! {
        biased;
        found = keep_trying(aims, shared) => found,
        // No client of PostgreSQL ends its side and still waits for an answer; and those who gave up and
        // came again must not all be at the door when it opens.
        () = listen(client, early) => Err(End::Broken),
    }
}

/// Until the client has gone. Keeps what it says meanwhile, so much of it as fits.
async fn listen(client: &mut BoxIo, early: &mut BytesMut) {
    loop {
        if early.len() >= EARLY_BYTES {
            return std::future::pending().await;
        }
        match client.read_buf(early).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn keep_trying(aims: &mut watch::Receiver<Aim>, shared: &Shared) -> Result<(BoxIo, Target), End> {
    loop {
        // The endpoint is over when nobody aims it any more.
        aims.wait_for(|aim| aim.to.is_some()).await.map_err(|_| End::Cut)?;
        let _trying = shared.trying.acquire().await.map_err(|_| End::Cut)?;
        let mut pause = FIRST_PAUSE;
        let mut before = None;
        // Each time by the newest goal. The slot is kept through the pauses, which is what bounds the tries.
        loop {
            let target = aims.borrow_and_update().to.clone();
            let Some(target) = target else { break };
            if before.as_ref() != Some(&target) {
                pause = FIRST_PAUSE;
            }
            if let Some(server) = reach(&target, aims, shared).await {
                return Ok((server, target));
            }
            before = Some(target);
            tokio::select! {
                changed = aims.changed() => changed.map_err(|_| End::Cut)?,
                () = sleep(pause) => pause = LONGEST_PAUSE.min(pause * 2),
            }
        }
    }
}

/// One try, given up when it is not to be reached any more.
async fn reach(target: &Target, aims: &watch::Receiver<Aim>, shared: &Shared) -> Option<BoxIo> {
    let mut aims = aims.clone();
    let connected = tokio::select! {
        biased;
        _ = aims.wait_for(|aim| !aim.holds(&target.bond)) => return None,
        connected = timeout(shared.limits.connect_within, shared.network.connect(&target.address)) => connected,
    };
    match connected {
        Ok(Ok(server)) => Some(server),
        Ok(Err(error)) => {
            tracing::debug!(%error, to = target.address, "cannot be reached");
            None
        }
        Err(_) => {
            tracing::debug!(to = target.address, "cannot be reached in time");
            None
        }
    }
}

/// A gauge that is higher by one for as long as this lives.
struct Raised<'a>(&'a Number);

impl<'a> Raised<'a> {
    fn new(gauge: &'a Number) -> Raised<'a> {
        gauge.add();
        Raised(gauge)
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.take();
    }
}
