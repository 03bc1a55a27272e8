//! Quorum rounds shared by whoever waits for one. Each is satisfied only by a round that began after
//! it had asked.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

#[derive(Default)]
pub struct Rounds {
    /// How many have asked.
    asked: AtomicU64,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// All who had asked before it began.
    covers: u64,
    /// The term that was proved.
    proved: Option<u64>,
}

impl Rounds {
    /// The term that a round proved which began after this call.
    pub async fn join<R: Future<Output = Option<u64>>>(&self, round: impl FnOnce() -> R) -> Option<u64> {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.last.lock().await;
        if last.covers < ticket {
            let covers = self.asked.load(Ordering::SeqCst);
            // Dropped in the midst of it, it has covered nobody.
            let proved = round().await;
            *last = Last { covers, proved };
        }
        last.proved
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn those_who_ask_during_a_round_share_the_next() {
        let rounds = Arc::new(Rounds::default());
        let (begun, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (rounds, begun, go) = (rounds.clone(), begun.clone(), go.clone());
            tokio::spawn(async move {
                rounds
                    .join(|| async {
                        begun.fetch_add(1, Ordering::SeqCst);
                        go.notified().await;
                        Some(7)
                    })
                    .await
            })
        };
        let first = ask();
        while begun.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..5).map(|_| ask()).collect();
        while rounds.asked.load(Ordering::SeqCst) < 6 {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        assert_eq!(first.await.unwrap(), Some(7));
        while begun.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        for other in others {
            assert_eq!(other.await.unwrap(), Some(7));
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_round_that_failed_or_was_given_up_proves_nothing() {
        let rounds = Rounds::default();
        assert_eq!(rounds.join(|| async { None }).await, None);
        let given_up = tokio::time::timeout(
            std::time::Duration::from_millis(1),
            rounds.join(std::future::pending::<Option<u64>>),
        );
        assert!(given_up.await.is_err());
        assert_eq!(rounds.join(|| async { Some(1) }).await, Some(1));
    }
}
