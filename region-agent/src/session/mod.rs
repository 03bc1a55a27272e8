//! The one long-lived stream to a controller: hello, heartbeats, evidence, results of steps out;
//! goals and acknowledgements in. When it fails, or its controller knows no leader, another one is
//! tried.

mod home;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use decision::command::AgentInfo;
use decision::name::AgentId;
use decision::turns::Turns;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wire::host::Host;
use wire::tls::Credentials;

use crate::book::Book;
use crate::contact::{Contact, Noted};
use crate::goals::Goals;
use crate::metrics::Metrics;
use crate::outbox::Outbox;

/// What the session works with.
pub struct Session {
    pub host: Host,
    pub credentials: Credentials,
    /// `host:port`, those of the own region first.
    pub controllers: Vec<String>,
    pub agent: AgentId,
    pub info: AgentInfo,
    pub goals: Arc<Goals>,
    pub book: Arc<Book>,
    pub outbox: Arc<Outbox>,
    pub contact: Arc<Contact>,
    pub metrics: Arc<Metrics>,
}

/// Holds a session with some controller, whenever there is one, until `stop`.
pub async fn run(session: Session, stop: CancellationToken) {
    let network = Noted { network: Arc::clone(&session.host.network), contact: Arc::clone(&session.contact) };
    let host = Host { network: Arc::new(network), ..session.host.clone() };
    let mut turns = Turns::new(session.controllers.len());
    loop {
        let turn = turns.next(|bound| session.host.random.below(bound));
        let attempt = async {
            tokio::time::sleep(turn.pause).await;
            match (&session.controllers[..], turn.controller) {
                // None is configured: watching and DNS go on by what is on disk.
                ([], _) => std::future::pending().await,
                ([home, ..], 0) => (0, stream::hold(&session, &host, home, &Notify::new()).await),
                (controllers, away) => {
                    home::hold_until_home(&session, &host, &controllers[0], away, &controllers[away]).await
                }
            }
        };
        let (controller, ended) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            ended = attempt => ended,
        };
        session.metrics.session_open.set(0);
        let (address, why) = (&session.controllers[controller], ended.why);
        match ended.was_acknowledged {
            true => tracing::warn!(controller = %address, why, "session ended; looking for another"),
            false => tracing::debug!(controller = %address, why, "no session; trying another controller"),
        }
        turns.ended(controller, ended.was_acknowledged, ended.was_silent);
    }
}

/// Enough for TCP and TLS on links as slow as the heartbeat was chosen for.
fn connect_timeout(heartbeat: Duration) -> Duration {
    (heartbeat * 4).clamp(Duration::from_millis(500), Duration::from_secs(3))
}
