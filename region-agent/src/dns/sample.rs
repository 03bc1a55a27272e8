//! A zone with one of everything, for tests.

use std::net::{Ipv4Addr, Ipv6Addr};

use decision::dns::{Group, NameServer, RecordSet, RecordType, Zone};

pub(crate) fn zone(generation: u64) -> Zone {
    Zone {
        origin: "example.test".into(),
        generation,
        name_servers: vec![
            NameServer {
                name: "ns1.example.test".into(),
                addresses: vec![
                    Ipv4Addr::new(192, 0, 2, 53).into(),
                    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53).into(),
                ],
            },
            NameServer { name: "ns.elsewhere.test".into(), addresses: Vec::new() },
        ],
        records: vec![
            set("app.example.test", RecordType::A, 5, &[("eu", 100, &["192.0.2.1", "192.0.2.2"])]),
            set("app.example.test", RecordType::Aaaa, 5, &[("eu", 100, &["2001:db8::1"])]),
            set("v4.example.test", RecordType::A, 5, &[("eu", 0, &["192.0.2.4"])]),
            set("www.example.test", RecordType::Cname, 30, &[("eu", 1, &["app.example.test"])]),
            set("cdn.example.test", RecordType::Cname, 30, &[("eu", 1, &["cdn.elsewhere.test"])]),
            set("broken.example.test", RecordType::Cname, 30, &[("eu", 1, &["gone.example.test"])]),
            set("loop.example.test", RecordType::Cname, 30, &[("eu", 1, &["loop.example.test"])]),
            set("deep.down.example.test", RecordType::Txt, 60, &[("eu", 1, &["hello world"])]),
            set("*.wild.example.test", RecordType::A, 5, &[("eu", 1, &["192.0.2.9"])]),
            set("big.example.test", RecordType::Txt, 60, &[("eu", 1, &[&"x".repeat(900), &"y".repeat(900)])]),
            set(
                "split.example.test",
                RecordType::A,
                5,
                &[("eu", 192, &["192.0.2.1"]), ("us", 64, &["192.0.2.2"]), ("ap", 0, &["192.0.2.3"])],
            ),
            set(
                "dark.example.test",
                RecordType::A,
                5,
                &[("eu", 0, &["192.0.2.1"]), ("us", 0, &["192.0.2.2"])],
            ),
        ],
        secondaries: Vec::new(),
    }
}

pub(crate) fn set(name: &str, rtype: RecordType, ttl_s: u32, groups: &[(&str, u8, &[&str])]) -> RecordSet {
    let groups = groups.iter().map(|(region, weight, values)| Group {
        region: (*region).into(),
        weight: *weight,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    });
    RecordSet { name: name.into(), rtype, ttl_s, groups: groups.collect() }
}
