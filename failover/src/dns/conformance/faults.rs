//! Races, lost answers, and nobody there.

use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::super::testing::{Lose, Relay};
use super::super::{Class, DnsError, Outcome};
use super::{Bed, Built, PATIENT, a, cname};
use crate::testing::free_port;

pub(super) async fn race(bed: &Bed<'_>) {
    const CLIENTS: usize = 20;
    const ROUNDS: u64 = 10;
    let name = bed.name("race");
    let actuators: Vec<Built> = (0..CLIENTS).map(|_| bed.built(|reach| reach.deadline = PATIENT)).collect();
    for round in 1..=ROUNDS {
        let shifts = actuators.iter().enumerate().map(|(client, actuator)| {
            let value = format!("192.0.2.{client}");
            let change = bed.change(round, round, &format!("round-{round}-{client}"), vec![a(&name, &value)]);
            async move { (value, actuator.shift(&change).await) }
        });
        let mut winners = Vec::new();
        for (value, result) in join_all(shifts).await {
            match result {
                Ok(_) => winners.push(value),
                Err(DnsError::Stale { .. }) => {}
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        bed.expect(&name, "A", 30, &[&winners[0]]).await;
    }
}

pub(super) async fn lost_answers(bed: &Bed<'_>) {
    for (how, step) in [(Lose::Close, "closed"), (Lose::Silence, "silent")] {
        let name = bed.name(&format!("lost-{step}"));
        let relay = Relay::losing(&bed.server.addr(), 1, how).await;
        let actuator = bed.built(|reach| {
            reach.server = relay.addr();
            reach.step_timeout = Duration::from_millis(700);
        });
        let change = bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")]);
        let shifted = actuator.shift(&change).await.unwrap();
        assert_eq!((relay.to_lose(), shifted.outcome), (0, Outcome::Applied), "{how:?}");
        bed.expect(&name, "A", 30, &["192.0.2.1"]).await;
        let read = actuator.read(bed.server.zone(), std::slice::from_ref(&name)).await.unwrap();
        assert_eq!(read[&name].marker.as_ref().map(|marker| marker.operation.as_str()), Some("op-1"));
    }
}

pub(super) async fn unreachable_is_bounded(bed: &Bed<'_>) {
    let nobody = format!("127.0.0.1:{}", free_port());
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute_address = mute.local_addr().unwrap().to_string();
    for server in [nobody, mute_address] {
        let actuator = bed.built(|reach| {
            reach.server = server.clone();
            reach.deadline = Duration::from_secs(1);
            reach.step_timeout = Duration::from_millis(300);
        });
        let began = Instant::now();
        let change = bed.change(1, 1, "op-1", vec![a(&bed.name("unreachable"), "192.0.2.1")]);
        let error = actuator.shift(&change).await.unwrap_err();
        assert!(matches!(error, DnsError::Unreachable { .. }), "{error}");
        assert_eq!(error.class(), Class::Retry);
        assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
    }
}

/// A writer that has read and decided, is paused, and goes on after the world has changed: the
/// conditions in its update, not its own good sense, must stop it (S2).
pub(super) async fn a_held_update_comes_too_late(bed: &Bed<'_>) {
    let name = bed.name("held");
    bed.actuator().shift(&bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")])).await.unwrap();
    let newer = bed.change(3, 3, "op-3", vec![a(&name, "192.0.2.3")]);
    let error = bed
        .held(bed.change(2, 2, "op-2", vec![a(&name, "192.0.2.2")]), async {
            bed.actuator().shift(&newer).await.unwrap();
        })
        .await;
    assert!(matches!(error, DnsError::Stale { .. }), "{error}");
    bed.expect(&name, "A", 30, &["192.0.2.3"]).await;
}

/// Records that somebody adds between the reading and the writing stay all the same.
pub(super) async fn what_is_planted_meanwhile_stays(bed: &Bed<'_>) {
    let name = bed.name("held-new");
    let error = bed
        .held(
            bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")]),
            bed.plant(&[format!("add {name} 60 A 198.51.100.1")]),
        )
        .await;
    assert!(matches!(error, DnsError::Foreign { .. }), "{error}");
    bed.expect(&name, "A", 60, &["198.51.100.1"]).await;

    let name = bed.name("held-alias");
    bed.actuator().shift(&bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")])).await.unwrap();
    let error = bed
        .held(
            bed.change(1, 2, "op-2", vec![cname(&name, "a.example.net")]),
            bed.plant(&[format!("add {name} 60 MX 10 mail.example.net.")]),
        )
        .await;
    assert!(matches!(error, DnsError::Foreign { .. }), "{error}");
    bed.expect(&name, "MX", 60, &["10 mail.example.net."]).await;
    bed.expect(&name, "A", 30, &["192.0.2.1"]).await;
}
