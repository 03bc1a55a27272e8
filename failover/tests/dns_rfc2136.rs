//! The RFC 2136 actuator against the servers that people run.

use std::sync::Arc;
use std::time::Duration;

use decision::dns::{Group, RecordSet, RecordType};
use decision::plan::Epoch;
use failover::dns::conformance::{self, Built, Reach};
use failover::dns::rfc2136::{Rfc2136, Settings};
use failover::dns::testing::tools::dig;
use failover::dns::testing::{Key, Server};
use failover::dns::tsig::TsigKey;
use failover::dns::{Change, Class, DnsActuator, DnsError};
use wire::host::Host;

const ZONE: &str = "example.test";

fn key() -> Key {
    Key::new("regent-key")
}

fn build(reach: Reach) -> Built {
    let settings = Settings {
        adopt: reach.adopt,
        deadline: reach.deadline,
        step_timeout: reach.step_timeout,
        ..Settings::new(reach.server, reach.authoritative, key().tsig())
    };
    Arc::new(Rfc2136::new(settings, Host::system()))
}

#[tokio::test]
async fn dns_bind_conforms() {
    conformance::suite(&Server::bind(ZONE, &key()).await, build).await;
}

#[tokio::test]
async fn dns_knot_conforms() {
    conformance::suite(&Server::knot(ZONE, &key()).await, build).await;
}

#[tokio::test]
async fn dns_knot_signed_conforms() {
    let server = Server::knot_signed(ZONE, &key()).await;
    assert!(!dig(&server.addr(), server.zone(), "DNSKEY").await.is_empty(), "the zone is not signed");
    conformance::suite(&server, build).await;
}

#[tokio::test]
async fn dns_pdns_conforms() {
    conformance::suite(&Server::pdns(ZONE, &key()).await, build).await;
}

#[tokio::test]
async fn dns_bind_wrong_key_is_told() {
    wrong_key_is_told(&Server::bind(ZONE, &key()).await).await;
}

#[tokio::test]
async fn dns_knot_wrong_key_is_told() {
    wrong_key_is_told(&Server::knot(ZONE, &key()).await).await;
}

#[tokio::test]
async fn dns_pdns_wrong_key_is_told() {
    wrong_key_is_told(&Server::pdns(ZONE, &key()).await).await;
}

/// Which key, which server, what is wrong, what to do; and at once, for retries cannot help.
async fn wrong_key_is_told(server: &Server) {
    let unknown = Key::new("unknown-key");
    let other_secret = Key { secret: unknown.secret.clone(), ..key() };
    for wrong in [unknown, other_secret] {
        let actuator = actuator(server, wrong.tsig());
        let error = actuator.shift(&change(server)).await.expect_err("the key is wrong");
        let DnsError::Key { key, server: at, why, remedy } = &error else { panic!("{error}") };
        assert_eq!((key, at), (&wrong.name, &server.addr()));
        let told = ["BADKEY", "BADSIG", "a key or a secret that it does not know"];
        assert!(told.iter().any(|words| why.contains(words)), "{error}");
        assert!(!remedy.is_empty());
        assert_eq!(error.class(), Class::Person);
    }
}

#[tokio::test]
async fn dns_bind_zone_it_does_not_have_is_told() {
    let server = Server::bind(ZONE, &key()).await;
    let elsewhere = RecordSet { name: "www.elsewhere.test".into(), ..address("www.elsewhere.test") };
    let change = Change { zone: "elsewhere.test".into(), set: vec![elsewhere], ..change(&server) };
    let error = actuator(&server, key().tsig()).shift(&change).await.expect_err("the zone is not there");
    assert!(matches!(error, DnsError::Rejected { .. }), "{error}");
    assert_eq!(error.class(), Class::Person);
    assert!(error.to_string().contains("elsewhere.test"), "{error}");
}

fn actuator(server: &Server, key: TsigKey) -> Rfc2136 {
    let settings = Settings {
        deadline: Duration::from_secs(30),
        step_timeout: Duration::from_secs(10),
        ..Settings::new(server.addr(), vec![server.addr()], key)
    };
    Rfc2136::new(settings, Host::system())
}

fn change(server: &Server) -> Change {
    Change {
        zone: server.zone().clone(),
        cluster: "c".into(),
        service: "web".into(),
        epoch: Epoch(1),
        generation: 1,
        operation: "op-1".into(),
        set: vec![address("www.example.test")],
    }
}

fn address(name: &str) -> RecordSet {
    let group = Group { region: "r1".into(), weight: 1, values: vec!["192.0.2.1".into()] };
    RecordSet { name: name.into(), rtype: RecordType::A, ttl_s: 30, groups: vec![group] }
}
