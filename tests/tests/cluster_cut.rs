//! Vantages that lie, vantages that see nothing, regions that flap.

use std::time::Duration;

use decision::event::Event;
use decision::verdict::Verdict;
use tests::inside::Inside;
use tokio::time::{Instant, sleep};

/// Quick enough for a test, slow enough for a loaded machine.
const TIMINGS: &str = "
failover_strategy:
  detection_timeout: 1500ms
  session_timeout: 1400ms
  min_stay: 1s
  hold_down: 1s
  failback: automatic
  moves: {per_service: 2, overall: 4, window: 30m}
health_checks: {interval: 250ms, timeout: 250ms, healthy_threshold: 2, unhealthy_threshold: 3}
";
/// Many times the detection timeout: what has not moved by then does not move.
const LONG_ENOUGH: Duration = Duration::from_secs(8);

fn moves(journal: &[decision::journal::Entry]) -> usize {
    journal.iter().filter(|entry| matches!(entry.event, Event::PlanOpened { .. })).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_one_lying_vantage_moves_nothing() -> anyhow::Result<()> {
    let inside = Inside::start(TIMINGS).await?;
    let primary = inside.services["us"].clone();
    inside.cut("eu", &primary);
    let primary_is = |status: &wire::api::Status, verdict| {
        status.regions.iter().any(|region| region.name.as_str() == "us" && region.verdict == verdict)
    };
    inside.until("a grey primary", |status| primary_is(status, Verdict::Degraded)).await?;
    let until = Instant::now() + LONG_ENOUGH;
    while Instant::now() < until {
        assert_eq!(inside.status().await?.services[0].primary.as_str(), "us");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(moves(&inside.journal().await?), 0);
    assert_eq!(inside.dig("ap")?, "127.0.1.1");
    inside.heal();
    inside.until("a healthy primary", |status| primary_is(status, Verdict::Healthy)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_all_vantages_cut_from_everything_move_nothing_and_dns_answers() -> anyhow::Result<()> {
    let inside = Inside::start(TIMINGS).await?;
    for who in ["us", "eu", "ap"] {
        for address in inside.services.values().chain(inside.controllers.values()) {
            inside.cut(who, address);
        }
    }
    // Controllers are cut from each other too: they say so, or say nothing, but nothing moves.
    let until = Instant::now() + LONG_ENOUGH;
    while Instant::now() < until {
        for region in ["us", "eu", "ap"] {
            assert_eq!(inside.dig(region)?, "127.0.1.1");
        }
        sleep(Duration::from_millis(100)).await;
    }
    inside.heal();
    inside
        .until("all healthy again", |status| {
            status.regions.iter().all(|region| region.verdict == Verdict::Healthy)
        })
        .await?;
    assert_eq!(moves(&inside.journal().await?), 0);
    assert_eq!(inside.status().await?.services[0].primary.as_str(), "us");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_vantages_cut_from_all_services_suspect_themselves() -> anyhow::Result<()> {
    let inside = Inside::start(TIMINGS).await?;
    for who in ["us", "eu", "ap"] {
        for address in inside.services.values() {
            inside.cut(who, address);
        }
    }
    inside
        .until("word that nothing is certain", |status| {
            status.services[0].held.as_ref().is_some_and(|held| held.contains("observers are suspect"))
        })
        .await?;
    assert_eq!(moves(&inside.journal().await?), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_a_flapping_region_moves_at_most_as_often_as_configured() -> anyhow::Result<()> {
    let seconds = std::env::var("REGENT_FLAP_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let inside = Inside::start(TIMINGS).await?;
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        let primary = inside.status().await?.services[0].primary.clone();
        for who in ["us", "eu", "ap"] {
            inside.cut(who, &inside.services[primary.as_str()]);
        }
        sleep(Duration::from_secs(4)).await;
        inside.heal();
        sleep(Duration::from_secs(4)).await;
    }
    let journal = inside.journal().await?;
    assert!((1..=2).contains(&moves(&journal)), "{} moves", moves(&journal));
    let held = |entry: &decision::journal::Entry| match &entry.event {
        Event::Held { explanation } => explanation.conclusion.contains("the limit is 2"),
        _ => false,
    };
    assert!(journal.iter().any(held), "the journal says why it was moved no more");
    Ok(())
}
