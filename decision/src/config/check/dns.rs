//! DNS records: what the servers could not serve, and what would leave a region unreachable.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Finding, list, service_place, suggest};
use crate::config::place::Place;
use crate::config::{Config, DnsProvider, DnsRecord, Region, Routing};
use crate::dns::RecordType;
use crate::name::{DnsName, RegionName, ServiceName};

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&DnsName, Vec<(RecordType, Place)>> = BTreeMap::new();
    for (name, service) in &config.services {
        for (n, record) in service.dns.iter().enumerate() {
            let at = service_place(name).key("dns").index(n);
            zone(config, record, &at, found);
            regions(config, name, record, &at, found);
            weights(record, &at, found);
            for (region, values) in &record.values {
                values_of(record.rtype, values, &at.key("values").key(region), found);
            }
            beside(record, &at, seen.entry(&record.name).or_default(), found);
        }
    }
    providers(config, found);
}

fn zone(config: &Config, record: &DnsRecord, at: &Place, found: &mut Vec<Finding>) {
    let inside = record.name == record.zone
        || record.name.as_str().strip_suffix(record.zone.as_str()).is_some_and(|rest| rest.ends_with('.'));
    if !inside {
        found.push(
            Finding::error(
                at.key("zone"),
                format!("{} does not lie in zone {}", record.name, record.zone),
                "write a zone that the name ends with, or leave `zone` out",
            )
            .related(at.key("name")),
        );
    } else if !config.zones.contains_key(&record.zone) {
        found.push(Finding::error(
            at.key("zone"),
            format!("there is no zone {}", record.zone),
            suggest(record.zone.as_str(), "zone", config.zones.keys().map(DnsName::as_str)),
        ));
    }
    if record.name == record.zone && record.rtype == RecordType::Cname {
        found.push(Finding::error(
            at.key("type"),
            format!(
                "{} is the zone's own name, and its SOA and NS forbid a CNAME there (RFC 1034, 3.6.2)",
                record.name
            ),
            "use A or AAAA there, or a name below it",
        ));
    }
}

/// Values and weights name regions that host the service; each of these needs a value.
fn regions(config: &Config, service: &ServiceName, record: &DnsRecord, at: &Place, found: &mut Vec<Finding>) {
    let hosts: Vec<&Region> = config.hosts(service).collect();
    let weights = match &record.routing {
        Routing::Primary => None,
        Routing::Weighted(weights) => Some(weights),
    };
    for region in record.values.keys() {
        known(config, service, &hosts, region, &at.key("values").key(region), found);
    }
    for region in weights.into_iter().flat_map(BTreeMap::keys) {
        let here = at.key("weights").key(region);
        if record.values.contains_key(region) || config.region(region).is_none() {
            if !record.values.contains_key(region) {
                known(config, service, &hosts, region, &here, found);
            }
        } else {
            found.push(
                Finding::error(
                    here,
                    format!("{region} has a weight but no value to be served"),
                    format!("add {region} to `values`, or remove its weight"),
                )
                .of_key()
                .related(at.key("values")),
            );
        }
    }
    let missing: Vec<&RegionName> = hosts
        .iter()
        .map(|region| &region.name)
        .filter(|region| record.values.get(region).is_none_or(Vec::is_empty))
        .collect();
    if !missing.is_empty() {
        found.push(Finding::error(
            at.key("values"),
            format!("{} has no value for {}, where {service} is hosted", record.name, list(&missing)),
            format!("add `{}: ADDRESS`, or {service} could move there and not be found", missing[0]),
        ));
    }
    let unweighted: Vec<&RegionName> = record
        .values
        .keys()
        .filter(|region| weights.is_some_and(|weights| !weights.contains_key(region)))
        .collect();
    if !unweighted.is_empty() {
        found.push(Finding::warning(
            at.key("weights"),
            format!(
                "{} would never be answered with {}, which has no weight",
                record.name,
                list(&unweighted)
            ),
            format!("add `{}: 1` (0 if that is meant)", unweighted[0]),
        ));
    }
}

/// Does this region exist, and host the service?
pub(super) fn known(
    config: &Config,
    service: &ServiceName,
    hosts: &[&Region],
    region: &RegionName,
    at: &Place,
    found: &mut Vec<Finding>,
) {
    if config.region(region).is_none() {
        let names: Vec<&str> =
            config.regions.iter().flat_map(|region| [region.name.as_str(), region.label.as_str()]).collect();
        let fix = match super::nearest(region.as_str(), names) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known regions: {}", list(config.regions.iter().map(|region| &region.name))),
        };
        let message = format!("there is no region {:?}", region.as_str());
        found.push(Finding::error(at.clone(), message, fix).of_key());
    } else if !hosts.iter().any(|host| host.name == *region) {
        found.push(
            Finding::error(
                at.clone(),
                format!("{region} does not host {service}, so it is no target for it"),
                match hosts {
                    [] => format!("no region hosts {service}"),
                    _ => format!(
                        "add {service} to the `services` of {region}, or remove this; hosted by: {}",
                        list(hosts.iter().map(|region| &region.name))
                    ),
                },
            )
            .of_key(),
        );
    }
}

fn weights(record: &DnsRecord, at: &Place, found: &mut Vec<Finding>) {
    if let Routing::Weighted(weights) = &record.routing
        && weights.values().all(|weight| *weight == 0)
    {
        found.push(Finding::error(
            at.key("weights"),
            format!("every weight of {} is 0, so no region would be answered", record.name),
            "give at least one region a weight of 1 to 255",
        ));
    }
}

fn values_of(rtype: RecordType, values: &[String], at: &Place, found: &mut Vec<Finding>) {
    if rtype == RecordType::Cname && values.len() > 1 {
        found.push(Finding::error(at.clone(), "a CNAME has one target", "keep one of the values"));
    }
    for (n, value) in values.iter().enumerate() {
        let here = if values.len() == 1 { at.clone() } else { at.index(n) };
        let wrong = match rtype {
            RecordType::A => value.parse::<Ipv4Addr>().is_err().then(|| match value.parse::<Ipv6Addr>() {
                Ok(_) => ("an IPv4 address", "this is IPv6: use a record of type AAAA for it"),
                Err(_) => ("an IPv4 address", "write for example 192.0.2.1"),
            }),
            RecordType::Aaaa => value.parse::<Ipv6Addr>().is_err().then(|| match value.parse::<Ipv4Addr>() {
                Ok(_) => ("an IPv6 address", "this is IPv4: use a record of type A for it"),
                Err(_) => ("an IPv6 address", "write for example 2001:db8::1"),
            }),
            RecordType::Cname => {
                (!is_host_name(value)).then_some(("a DNS name", "write for example lb.eu.example.com"))
            }
            RecordType::Txt => {
                (value.len() > 255).then_some(("at most 255 bytes", "split it into several values"))
            }
        };
        if let Some((expected, fix)) = wrong {
            found.push(Finding::error(here, format!("{value:?} is not {expected}"), fix));
        }
    }
}

/// A name as RFC 1123 (2.1) allows it, underscores tolerated; a closing dot too.
pub fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// One owner for each name and type; a CNAME stands alone (RFC 1034, 3.6.2).
fn beside(record: &DnsRecord, at: &Place, here: &mut Vec<(RecordType, Place)>, found: &mut Vec<Finding>) {
    for (other, place) in here.iter() {
        let message = if *other == record.rtype {
            format!("{} has two sets of this type", record.name)
        } else if *other == RecordType::Cname || record.rtype == RecordType::Cname {
            format!("{} has a CNAME, beside which nothing else may stand (RFC 1034, 3.6.2)", record.name)
        } else {
            continue;
        };
        let fix =
            if *other == record.rtype { "put the values into one record" } else { "keep one of the two" };
        found.push(Finding::error(at.clone(), message, fix).related(place.clone()));
    }
    here.push((record.rtype, at.clone()));
}

fn providers(config: &Config, found: &mut Vec<Finding>) {
    for (name, zone) in &config.zones {
        let at = Place::of(&["dns", "zones", name.as_str()]);
        match &zone.provider {
            DnsProvider::Embedded => {}
            DnsProvider::Rfc2136 { server, authoritative, .. } => {
                if !zone.secondaries.is_empty() {
                    found.push(Finding::error(
                        at.key("secondaries"),
                        format!("{name} is served by {server}, which has to know its own secondaries"),
                        "list them under `authoritative`, so that each is verified",
                    ));
                }
                if !authoritative.contains(server) {
                    found.push(Finding::warning(
                        at.key("authoritative"),
                        format!("{server} takes the updates of {name} but is not among the servers verified"),
                        format!("add {server:?} to `authoritative`"),
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Error, Warning};
    use super::super::example::{at, config, only};
    use super::*;
    use crate::config::{SecretSource, ZoneConfig};

    fn record(config: &mut Config) -> &mut DnsRecord {
        &mut config.services.get_mut(&"app".into()).unwrap().dns[0]
    }

    fn record_place() -> Place {
        Place::of(&["services", "app", "dns"]).index(0)
    }

    #[test]
    fn a_value_for_a_region_that_does_not_host() {
        let mut config = config();
        config.regions[2].services.clear();
        let (severity, message) = at(&config, &record_place().key("values").key("ap"));
        assert_eq!((severity, message.as_str()), (Error, "ap does not host app, so it is no target for it"));
    }

    #[test]
    fn a_value_for_a_region_that_is_not_there() {
        let mut config = config();
        record(&mut config).values.insert("label_uss".into(), vec!["192.0.2.9".to_owned()]);
        let found = super::super::check(&config);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].message, "there is no region \"label_uss\"");
        assert_eq!(found[0].fix, "did you mean \"label_us\"?");
    }

    #[test]
    fn a_host_without_a_value() {
        let mut config = config();
        record(&mut config).values.remove(&"eu".into());
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Error, "services.app.dns[0].values"));
        assert_eq!(message, "app.example.test has no value for eu, where app is hosted");
    }

    #[test]
    fn values_of_the_wrong_kind() {
        for (rtype, value, message) in [
            (RecordType::A, "2001:db8::1", "\"2001:db8::1\" is not an IPv4 address"),
            (RecordType::A, "192.0.2.256", "\"192.0.2.256\" is not an IPv4 address"),
            (RecordType::Aaaa, "192.0.2.1", "\"192.0.2.1\" is not an IPv6 address"),
            (RecordType::Cname, "not a name", "\"not a name\" is not a DNS name"),
        ] {
            let mut config = config();
            let sound = match rtype {
                RecordType::A => "192.0.2.1",
                RecordType::Aaaa => "2001:db8::1",
                RecordType::Cname | RecordType::Txt => "a.example",
            };
            record(&mut config).rtype = rtype;
            record(&mut config).values.values_mut().for_each(|values| *values = vec![sound.to_owned()]);
            assert_eq!(super::super::check(&config), []);
            record(&mut config).values.insert("eu".into(), vec![value.to_owned()]);
            let (severity, place, said) = only(&config);
            assert_eq!((severity, place.as_str()), (Error, "services.app.dns[0].values.eu"));
            assert_eq!(said, message);
        }
    }

    #[test]
    fn a_cname_with_two_targets_or_beside_others() {
        let mut config = config();
        let a = record(&mut config).clone();
        record(&mut config).rtype = RecordType::Cname;
        record(&mut config).values.values_mut().for_each(|values| *values = vec!["a.example".to_owned()]);
        assert_eq!(super::super::check(&config), []);
        config.services.get_mut(&"app".into()).unwrap().dns.push(a.clone());
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Error, "services.app.dns[1]"));
        assert!(message.contains("has a CNAME, beside which"), "{message}");
        config.services.get_mut(&"app".into()).unwrap().dns.pop();
        record(&mut config).values.insert("eu".into(), vec!["a.example".to_owned(), "b.example".to_owned()]);
        assert_eq!(only(&config).2, "a CNAME has one target");
    }

    #[test]
    fn a_cname_at_the_top_of_the_zone() {
        let mut config = config();
        let top = record(&mut config);
        top.name = "example.test".into();
        top.rtype = RecordType::Cname;
        top.values.values_mut().for_each(|values| *values = vec!["a.example".to_owned()]);
        let (severity, place, _) = only(&config);
        assert_eq!((severity, place.as_str()), (Error, "services.app.dns[0].type"));
    }

    #[test]
    fn one_name_and_type_twice() {
        let mut config = config();
        let copy = record(&mut config).clone();
        config.services.get_mut(&"app".into()).unwrap().dns.push(copy);
        let (severity, _, message) = only(&config);
        assert_eq!((severity, message.as_str()), (Error, "app.example.test has two sets of this type"));
    }

    #[test]
    fn a_record_outside_of_its_zone() {
        for outside in ["app.example.com", "appexample.test"] {
            let mut config = config();
            record(&mut config).name = outside.into();
            let (severity, place, _) = only(&config);
            assert_eq!((severity, place.as_str()), (Error, "services.app.dns[0].zone"));
        }
        let mut config = config();
        record(&mut config).zone = "test".into();
        assert_eq!(only(&config).2, "there is no zone test");
    }

    #[test]
    fn weights() {
        let mut config = config();
        let weigh = |us: u8, eu: u8| BTreeMap::from([("us".into(), us), ("eu".into(), eu)]);
        record(&mut config).routing = Routing::Weighted(weigh(10, 0));
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "services.app.dns[0].weights"));
        assert_eq!(message, "app.example.test would never be answered with ap, which has no weight");

        record(&mut config).routing = Routing::Weighted(weigh(0, 0));
        let found = super::super::check(&config);
        assert!(
            found.iter().any(|f| f.severity == Error && f.message.contains("every weight")),
            "{found:#?}"
        );

        record(&mut config).routing = Routing::Weighted(BTreeMap::from([
            ("us".into(), 1),
            ("eu".into(), 1),
            ("ap".into(), 1),
            ("xx".into(), 1),
        ]));
        assert_eq!(only(&config).2, "there is no region \"xx\"");
    }

    #[test]
    fn a_foreign_server_with_secondaries_or_unverified() {
        let mut config = config();
        let provider = DnsProvider::Rfc2136 {
            server: "127.0.0.1:53".to_owned(),
            authoritative: vec!["127.0.0.2:53".to_owned()],
            tsig_name: "regent".to_owned(),
            tsig_algorithm: "hmac-sha256".to_owned(),
            secret: SecretSource::Env("SECRET".to_owned()),
        };
        let zone = ZoneConfig { provider, secondaries: vec!["127.0.0.3:53".to_owned()] };
        config.zones.insert("example.test".into(), zone);
        let zone = Place::of(&["dns", "zones", "example.test"]);
        assert_eq!(at(&config, &zone.key("secondaries")).0, Error);
        assert_eq!(at(&config, &zone.key("authoritative")).0, Warning);
    }
}
