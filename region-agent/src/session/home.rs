//! Back to the own region. An agent that speaks through another region's controller falls silent
//! when that region is lost, just when it is to be heard. So from time to time it tries the first
//! controller of its own region beside, and changes over once that one has a leader's ear.

use std::time::Duration;

use tokio::sync::Notify;
use wire::host::Host;

use super::Session;
use super::stream::{Ended, hold};

const FIRST_TRY: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Holds a session with the controller `away` until that ends, or one with `home` took its place
/// and ended. Gives which of the two it was, as its index.
pub(super) async fn hold_until_home(
    session: &Session,
    host: &Host,
    home: &str,
    away: usize,
    away_address: &str,
) -> (usize, Ended) {
    let away_acknowledged = Notify::new();
    let mut with_away = Box::pin(hold(session, host, away_address, &away_acknowledged));
    let mut wait = FIRST_TRY;
    loop {
        let jitter = Duration::from_millis(session.host.random.below(wait.as_millis() as u64 / 4));
        tokio::select! {
            ended = &mut with_away => return (away, ended),
            () = tokio::time::sleep(wait + jitter) => {}
        }
        let acknowledged = Notify::new();
        let mut with_home = Box::pin(hold(session, host, home, &acknowledged));
        tokio::select! {
            biased;
            () = acknowledged.notified() => {
                drop(with_away);
                tracing::info!(controller = home, "back with the own region's controller");
                // What went the other way may have been lost with it.
                session.book.refresh();
                session.outbox.resend();
                return (0, with_home.await);
            }
            ended = &mut with_away => {
                session.metrics.session_open.set(0);
                tracing::debug!(controller = away_address, why = ended.why, "session ended; another is being opened");
                return (0, with_home.await);
            }
            _ = &mut with_home => wait = (wait * 2).min(LONGEST_WAIT),
        }
    }
}
