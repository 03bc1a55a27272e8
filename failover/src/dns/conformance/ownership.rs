//! Who may write: foreign records stay, and the newest change stands (S2, S9).

use decision::plan::Epoch;

use super::super::{Change, Class, DnsError, Outcome};
use super::{Bed, a, cname};

pub(super) async fn foreign_records_stay(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("foreign"));
    bed.plant(&[format!("add {name} 60 A 198.51.100.1")]).await;
    let text = bed.name("foreign-text");
    bed.plant(&[format!("add {text} 60 TXT \"v=spf1 -all\"")]).await;
    let alias = bed.name("foreign-alias");
    bed.plant(&[format!("add {alias} 60 CNAME x.example.net.")]).await;
    for (name, rtype) in [(&name, "A"), (&text, "TXT"), (&alias, "CNAME")] {
        let before = bed.look(name, rtype).await;
        let error = actuator.shift(&bed.change(1, 1, "op-1", vec![a(name, "192.0.2.1")])).await.unwrap_err();
        assert!(matches!(error, DnsError::Foreign { .. }), "{error}");
        assert_eq!(error.class(), Class::Refused);
        assert_eq!(bed.look(name, rtype).await, before);
    }
}

pub(super) async fn foreign_types_beside_stay(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("beside"));
    actuator.shift(&bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")])).await.unwrap();
    bed.plant(&[format!("add {name} 60 MX 10 mail.example.net."), format!("add {name} 60 TXT \"mine\"")])
        .await;
    actuator.shift(&bed.change(1, 2, "op-2", vec![a(&name, "192.0.2.2")])).await.unwrap();
    bed.expect(&name, "A", 30, &["192.0.2.2"]).await;
    bed.expect(&name, "MX", 60, &["10 mail.example.net."]).await;
    bed.expect(&name, "TXT", 60, &["\"mine\""]).await;
    // Making room for a CNAME would drop them.
    for adopt in [false, true] {
        let actuator = bed.built(|reach| reach.adopt = adopt);
        let alias = bed.change(1, 3, "op-3", vec![cname(&name, "a.example.net")]);
        let error = actuator.shift(&alias).await.unwrap_err();
        assert!(matches!(error, DnsError::Foreign { .. }), "{error}");
    }
    bed.expect(&name, "MX", 60, &["10 mail.example.net."]).await;
    bed.expect(&name, "A", 30, &["192.0.2.2"]).await;
}

pub(super) async fn foreign_markers_stay(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("other-cluster"));
    actuator.shift(&bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")])).await.unwrap();
    let theirs = Change { cluster: "other".into(), ..bed.change(9, 9, "op-2", vec![a(&name, "192.0.2.2")]) };
    let error = actuator.shift(&theirs).await.unwrap_err();
    assert!(matches!(error, DnsError::Foreign { .. }), "{error}");
    let name_unreadable = bed.name("unreadable");
    bed.plant(&[format!("add _regent.{name_unreadable} 60 TXT \"v9 owner=regent\"")]).await;
    let change = bed.change(9, 9, "op-2", vec![a(&name_unreadable, "192.0.2.2")]);
    let error = actuator.shift(&change).await.unwrap_err();
    assert!(matches!(error, DnsError::Foreign { .. }), "{error}");
    bed.expect(&name, "A", 30, &["192.0.2.1"]).await;
    bed.expect(&name_unreadable, "A", 0, &[]).await;
}

pub(super) async fn adoption(bed: &Bed<'_>) {
    let (actuator, name) = (bed.built(|reach| reach.adopt = true), bed.name("adopted"));
    bed.plant(&[
        format!("add {name} 60 A 198.51.100.1"),
        format!("add {name} 60 A 198.51.100.2"),
        format!("add {name} 60 MX 10 mail.example.net."),
    ])
    .await;
    let shifted = actuator.shift(&bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")])).await.unwrap();
    assert_eq!(shifted.ttl_tail_s, 60);
    bed.expect(&name, "A", 30, &["192.0.2.1"]).await;
    bed.expect(&name, "MX", 60, &["10 mail.example.net."]).await;
}

pub(super) async fn stale_is_refused(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("stale"));
    actuator.shift(&bed.change(5, 50, "op-1", vec![a(&name, "192.0.2.1")])).await.unwrap();
    for (epoch, generation, why) in [
        (4, 60, "an older epoch"),
        (5, 49, "an older generation"),
        (5, 50, "another operation of the same version"),
        (6, 49, "a generation that falls while the epoch rises"),
    ] {
        let change = bed.change(epoch, generation, "op-2", vec![a(&name, "192.0.2.2")]);
        let error = actuator.shift(&change).await.expect_err(why);
        let DnsError::Stale { ours, theirs, .. } = &error else { panic!("{why}: {error}") };
        assert_eq!((ours.epoch, theirs.epoch, theirs.generation), (Epoch(epoch), Epoch(5), 50));
        assert_eq!(error.class(), Class::Refused);
    }
    bed.expect(&name, "A", 30, &["192.0.2.1"]).await;
}

pub(super) async fn all_names_or_none(bed: &Bed<'_>) {
    let (actuator, one, two) = (bed.actuator(), bed.name("one"), bed.name("two"));
    let both = vec![a(&one, "192.0.2.1"), a(&two, "192.0.2.1")];
    actuator.shift(&bed.change(1, 1, "op-1", both)).await.unwrap();
    actuator.shift(&bed.change(3, 3, "op-2", vec![a(&two, "192.0.2.3")])).await.unwrap();
    let both = vec![a(&one, "192.0.2.2"), a(&two, "192.0.2.2")];
    let error = actuator.shift(&bed.change(2, 2, "op-3", both)).await.unwrap_err();
    assert!(matches!(error, DnsError::Stale { .. }), "{error}");
    bed.expect(&one, "A", 30, &["192.0.2.1"]).await;
    bed.expect(&two, "A", 30, &["192.0.2.3"]).await;
}

pub(super) async fn repeated_is_harmless(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("repeated"));
    let change = bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")]);
    assert_eq!(actuator.shift(&change).await.unwrap().outcome, Outcome::Applied);
    let serial = bed.look(bed.server.zone(), "SOA").await;
    for generation in [1, 1, 2] {
        let again = Change { generation, ..change.clone() };
        assert_eq!(actuator.shift(&again).await.unwrap().outcome, Outcome::AlreadySo);
    }
    assert_eq!(bed.look(bed.server.zone(), "SOA").await, serial, "a repeated change writes nothing");
}

pub(super) async fn drift_is_repaired(bed: &Bed<'_>) {
    let (actuator, name) = (bed.actuator(), bed.name("drift"));
    let change = bed.change(1, 1, "op-1", vec![a(&name, "192.0.2.1")]);
    actuator.shift(&change).await.unwrap();
    bed.plant(&[format!("delete {name} A"), format!("add {name} 60 A 198.51.100.1")]).await;
    assert_eq!(actuator.shift(&change).await.unwrap().outcome, Outcome::Applied);
    bed.expect(&name, "A", 30, &["192.0.2.1"]).await;
}
