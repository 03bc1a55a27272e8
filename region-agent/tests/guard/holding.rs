//! What runs under a valid lease, or as a replica, is left alone.

use std::time::Duration;

use region_agent::guard::client::{Guard, GuardError};
use region_agent::guard::protocol::{By, Code, ExitStatus, Phase, Role, StopMode};

use crate::agent::{AHEAD_MS, Agent};
use crate::support::{Place, Writers, eventually, exited, gone, lease, lives};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_again_does_not_restart_postgres() {
    let place = Place::with_postgres();
    let mut agent = Agent::start(&place);
    let writers = Writers::start(&place, 2);
    agent.process.kill().unwrap();
    agent.process.wait().unwrap();
    let (guard, _events, status) = place.guard().await;
    let running = status.running.unwrap();
    assert_eq!((running.pid, running.phase, status.epoch), (agent.postmaster, Phase::Up, Some(2)));
    // Well past what the killed one had leased.
    let before = writers.count();
    for _ in 0..3 * AHEAD_MS / 50 {
        guard.lease(lease(2, AHEAD_MS)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(lives(agent.postmaster) && writers.count() > before);
    assert_eq!(guard.status().await.unwrap().running.unwrap().pid, agent.postmaster);

    let error = guard.lease(lease(1, 60_000)).await.unwrap_err();
    assert!(matches!(&error, GuardError::Refused(refusal) if refusal.code == Code::StaleEpoch), "{error}");
    let error = guard.lease(lease(2, 1)).await.unwrap_err();
    assert!(matches!(&error, GuardError::Refused(refusal) if refusal.code == Code::Backward), "{error}");
    guard.kill(crate::support::SOON).await.unwrap();
    writers.finish();
    guard.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_has_no_deadline_until_it_is_armed_for_promotion() {
    let place = Place::with_postgres();
    std::fs::write(place.data().join("standby.signal"), "").unwrap();
    let (guard, mut events, _) = place.guard().await;
    let pid = guard.start(place.start(Role::Replica)).await.unwrap();
    place.wait_until_served();
    assert_eq!(place.sql("select pg_is_in_recovery()").as_deref(), Some("t"));
    let running = guard.status().await.unwrap().running.unwrap();
    assert_eq!((running.lease, running.remaining_ms), (None, None));

    // Its client goes, and nobody renews anything.
    drop((guard, events));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status;
    (_, _, status) = place.guard().await;
    assert_eq!(status.running.unwrap().pid, pid);
    assert!(place.sql("select 1").is_some());

    let guard;
    (guard, events, _) = place.guard().await;
    guard.lease(lease(7, 60_000)).await.unwrap();
    assert_eq!(place.sql("select pg_promote()").as_deref(), Some("t"));
    place.make_table();
    guard.lease(lease(8, 100)).await.unwrap();
    let ended = gone(&mut events).await;
    assert_eq!((ended.pid, ended.by), (pid, By::Fenced));
    assert_eq!(place.postgres_processes(), [0; 0]);
    guard.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_answered_at_once_and_its_end_is_told() {
    let place = Place::with_postgres();
    let (guard, mut events, _) = place.guard().await;
    let pid = guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
    place.wait_until_served();
    let error = guard.start(place.start(Role::Replica)).await.unwrap_err();
    assert!(matches!(&error, GuardError::Refused(refusal) if refusal.code == Code::Running), "{error}");
    let error = guard.quit().await.unwrap_err();
    assert!(matches!(&error, GuardError::Refused(refusal) if refusal.code == Code::Running), "{error}");
    guard.stop(StopMode::Fast).await.unwrap();
    let ended = exited(&mut events).await;
    assert_eq!((ended.pid, ended.status, ended.by), (pid, ExitStatus::Code(0), By::Asked));
    assert_eq!(gone(&mut events).await.fenced, None);
    // Disarmed by its end, and by nothing else: a replica of the same data has no deadline again.
    std::fs::write(place.data().join("standby.signal"), "").unwrap();
    guard.start(place.start(Role::Replica)).await.unwrap();
    assert_eq!(guard.status().await.unwrap().running.unwrap().lease, None);
    place.wait_until_served();
    guard.stop(StopMode::Immediate).await.unwrap();
    assert_eq!(gone(&mut events).await.by, By::Asked);
    guard.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_is_told_to_end_stops_postgres_first() {
    let place = Place::with_postgres();
    let (guard, mut events, status) = place.guard().await;
    guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
    place.wait_until_served();
    crate::support::signal(status.pid, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(exited(&mut events).await.status, ExitStatus::Code(0));
    eventually("the guard ended", || !lives(status.pid));
    assert!(matches!(Guard::connect(&place.settings()).await, Err(GuardError::Lost)));
}
