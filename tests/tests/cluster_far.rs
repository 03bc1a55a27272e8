//! Regions as far apart as continents: leadership is quiet, a commit costs a round trip, a lost region is
//! still answered for.

use std::time::Duration;

use decision::config::Profile;
use tests::eventually;
use tests::inside::{Distance, Inside};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};
use wire::api::Intent;

const TIMINGS: &str = "
failover_strategy:
  detection_timeout: 4s
  session_timeout: 3s
  min_stay: 1s
  hold_down: 1s
health_checks: {interval: 1s, timeout: 1s, healthy_threshold: 2, unhealthy_threshold: 3}
";
const WRITES: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_far_regions_of_40_ms() -> anyhow::Result<()> {
    far(Duration::from_millis(20), Profile::Fast).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_far_regions_of_100_ms() -> anyhow::Result<()> {
    far(Duration::from_millis(50), Profile::Balanced).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_far_regions_of_300_ms() -> anyhow::Result<()> {
    far(Duration::from_millis(150), Profile::Safe).await
}

async fn far(one_way: Duration, profile: Profile) -> anyhow::Result<()> {
    let round_trip = one_way * 2;
    let inside = Inside::start_far(TIMINGS, Some(Distance { one_way, profile })).await?;
    let quiet = inside.status().await?;
    let mut took = Vec::new();
    for write in 0..WRITES {
        let begun = Instant::now();
        let intent = Intent::Pause { why: format!("write {write}") };
        inside.client.intent(&intent).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        took.push(begun.elapsed());
    }
    took.sort();
    let median = took[WRITES / 2];
    assert!(median >= round_trip, "a majority is {round_trip:?} away, and a write took {median:?}");
    // The caller's controller may be a follower: one more round trip, and its own read of the outcome.
    assert!(median <= round_trip * 4 + Duration::from_millis(100), "a write took {median:?}");
    inside.client.intent(&Intent::Resume).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    // Many heartbeats later.
    sleep(profile.timings().raft_heartbeat * 10).await;
    let still = inside.status().await?;
    assert_eq!((quiet.term, quiet.leader), (still.term, still.leader), "an election without a reason");

    let begun = Instant::now();
    inside.cut_off("us");
    block_in_place(|| {
        eventually("the next region's address", || {
            Ok(["eu", "ap"].iter().all(|region| inside.dig(region).is_ok_and(|answer| answer == "127.0.1.2")))
        })
    })?;
    println!("{round_trip:?} apart: a write {median:?}, a lost region {:?}", begun.elapsed());
    Ok(())
}
