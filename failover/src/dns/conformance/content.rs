//! What is asked for is what stands there, as another's eyes see it.

use std::time::Duration;

use decision::dns::{RecordSet, RecordType};

use super::super::verify::Finding;
use super::super::{DnsError, Outcome};
use super::{Bed, a, aaaa, cname, set};
use crate::testing::free_port;

pub(super) async fn create_change_and_remove(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("create"));
    let both = bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1"), aaaa(&name, "2001:db8::1")]);
    let shifted = actuator.shift(&both).await.unwrap();
    assert_eq!((shifted.outcome, shifted.seen_generation), (Outcome::Applied, None));
    bed.expect(&name, "A", 30, &["192.0.2.1"]).await;
    bed.expect(&name, "AAAA", 30, &["2001:db8::1"]).await;

    let read = actuator.read(bed.server.zone(), std::slice::from_ref(&name)).await.unwrap();
    let marker = read[&name].marker.clone().expect("a marker stands beside every name written");
    assert_eq!((marker.version, marker.operation.as_str()), (both.version(), "op-1"));
    assert_eq!(read[&name].records.len(), 2);

    let change = bed.change(2, 5, "op-2", vec![a(&name, "192.0.2.2")]);
    let shifted = actuator.shift(&change).await.unwrap();
    assert_eq!(shifted.outcome, Outcome::Applied);
    assert_eq!((shifted.seen_generation, shifted.ttl_tail_s), (Some(1), 30));
    bed.expect(&name, "A", 30, &["192.0.2.2"]).await;
    bed.expect(&name, "AAAA", 0, &[]).await;
}

pub(super) async fn ttl_only(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("ttl"));
    actuator.shift(&bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")])).await.unwrap();
    let slower = RecordSet { ttl_s: 5, ..a(&name, "192.0.2.1") };
    actuator.shift(&bed.change(1, 2, "op-2", vec![slower])).await.unwrap();
    bed.expect(&name, "A", 5, &["192.0.2.1"]).await;
}

pub(super) async fn address_to_cname_and_back(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("cname"));
    let both = vec![a(&name, "192.0.2.1"), aaaa(&name, "2001:db8::1")];
    actuator.shift(&bed.change(1, 1, "op-1", both)).await.unwrap();
    actuator.shift(&bed.change(1, 2, "op-2", vec![cname(&name, "a.example.net")])).await.unwrap();
    bed.expect(&name, "CNAME", 30, &["a.example.net."]).await;
    actuator.shift(&bed.change(1, 3, "op-3", vec![cname(&name, "b.example.net")])).await.unwrap();
    bed.expect(&name, "CNAME", 30, &["b.example.net."]).await;
    actuator.shift(&bed.change(1, 4, "op-4", vec![a(&name, "192.0.2.4")])).await.unwrap();
    bed.expect(&name, "A", 30, &["192.0.2.4"]).await;
    bed.expect(&name, "CNAME", 0, &[]).await;
}

pub(super) async fn all_weighted_groups(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("weighted"));
    let set = set(&name, RecordType::A, &[(9, "192.0.2.1"), (0, "192.0.2.2"), (1, "192.0.2.3")]);
    actuator.shift(&bed.change(1, 1, "op-1", vec![set])).await.unwrap();
    bed.expect(&name, "A", 30, &["192.0.2.1", "192.0.2.3"]).await;
}

pub(super) async fn dry_run_changes_nothing(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("dry"));
    actuator.shift(&bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")])).await.unwrap();
    let serial = bed.look(bed.server.zone(), "SOA").await;
    let diff = actuator.diff(&bed.change(1, 2, "op-2", vec![a(&name, "192.0.2.2")])).await.unwrap();
    assert_eq!(diff.delete[0], format!("{name}. 30 IN A 192.0.2.1"));
    assert_eq!(diff.add[0], format!("{name}. 30 IN A 192.0.2.2"));
    let stale = actuator.diff(&bed.change(0, 0, "op-0", vec![a(&name, "192.0.2.2")])).await.unwrap_err();
    assert!(matches!(stale, DnsError::Stale { .. }), "{stale}");
    assert_eq!(bed.look(bed.server.zone(), "SOA").await, serial);
}

pub(super) async fn verification(bed: &Bed<'_>) {
    let name = bed.name("verify");
    let nobody = format!("127.0.0.1:{}", free_port());
    let actuator = bed.built(|reach| {
        reach.authoritative = vec![bed.server.addr(), nobody.clone()];
        reach.step_timeout = Duration::from_secs(1);
    });
    let wanted = vec![a(&name, "192.0.2.1")];
    actuator.shift(&bed.change(1, 1, "op-1", wanted.clone())).await.unwrap();
    let zone = bed.server.zone();
    let report = actuator.verify(zone, &wanted).await.unwrap();
    assert_eq!(report.servers[0].finding, Finding::Matches, "{}", report.servers[0]);
    assert!(matches!(report.servers[1].finding, Finding::Unreachable { .. }), "{}", report.servers[1]);
    assert!(!report.is_complete());

    let other = actuator.verify(zone, &[a(&name, "192.0.2.2")]).await.unwrap();
    let Finding::Differs { says, ttl_s: 30 } = &other.servers[0].finding else {
        panic!("{:?}", other.servers)
    };
    assert!(says[0].contains("192.0.2.1"), "{says:?}");
    assert_eq!(other.ttl_tail_s, 30);
    let missing = actuator.verify(zone, &[a(&bed.name("verify-missing"), "192.0.2.2")]).await.unwrap();
    assert!(
        matches!(&missing.servers[0].finding, Finding::Differs { ttl_s: 0, .. }),
        "{:?}",
        missing.servers
    );
    actuator.shift(&bed.change(1, 2, "op-2", vec![cname(&name, "a.example.net")])).await.unwrap();
    let alias = actuator.verify(zone, &[cname(&name, "A.example.net")]).await.unwrap();
    assert_eq!(alias.servers[0].finding, Finding::Matches, "{}", alias.servers[0]);
    let moved = actuator.verify(zone, &wanted).await.unwrap();
    assert!(matches!(moved.servers[0].finding, Finding::Differs { ttl_s: 30, .. }), "{}", moved.servers[0]);
}
