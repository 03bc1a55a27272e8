//! A member that comes back on its disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Commit, Dial, Member, MemoryDisk, Node, Settings, open_store, start_on};
use super::SOON;

/// In the same term it could give two entries one number: what it had sent before it was synced, and what came then.
#[tokio::test]
async fn a_leader_that_restarts_leads_another_term() {
    let disk = MemoryDisk::default();
    let dial: Dial = Arc::new(|_, _| unreachable!("there is no other member"));
    let start = || {
        let settings = Settings {
            election_timeout_min: Duration::from_millis(50),
            election_timeout_max: Duration::from_millis(100),
            heartbeat: Duration::from_millis(10),
            ..Settings::new(1, "test", "")
        };
        let store = open_store(&settings, Arc::new(disk.clone()), Commit::Inline).unwrap();
        start_on(settings, store, dial.clone())
    };
    let led_term = async |node: &Node| {
        let mut watch = node.watch_status();
        let led = watch.until(|status| status.is_leader && status.applied == status.last_log);
        tokio::time::timeout(SOON, led).await.unwrap().unwrap().term
    };
    let node = start().await.unwrap();
    node.initialize(BTreeMap::from([(1, Member::default())])).await.unwrap();
    let before = led_term(&node).await;
    node.shutdown(Duration::ZERO).await;
    let node = start().await.unwrap();
    assert!(led_term(&node).await > before);
    node.shutdown(Duration::ZERO).await;
}
