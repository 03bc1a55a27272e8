//! Where a service can run, and whether its objective can be met.

use super::{Finding, list, region_place, service_place, suggest};
use crate::config::place::Place;
use crate::config::{Config, Region, Service};
use crate::name::ServiceName;
use crate::time::Human;

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    for region in &config.regions {
        for (n, name) in region.services.iter().enumerate() {
            if !config.services.contains_key(name) {
                found.push(Finding::error(
                    Place::of(&["regions", &region.label, "services"]).index(n),
                    format!("there is no service {:?}", name.as_str()),
                    suggest(name.as_str(), "service", config.services.keys().map(ServiceName::as_str)),
                ));
            }
        }
    }
    for (name, service) in &config.services {
        let hosts: Vec<&Region> = config.hosts(name).collect();
        hosting(config, name, &hosts, found);
        jurisdictions(config, name, service, &hosts, found);
        capacity(name, service, &hosts, found);
        objective(config, name, service, found);
    }
}

fn hosting(config: &Config, name: &ServiceName, hosts: &[&Region], found: &mut Vec<Finding>) {
    let at = service_place(name);
    match hosts {
        [] => {
            let elsewhere = config
                .regions
                .iter()
                .flat_map(|region| region.services.iter().map(ServiceName::as_str))
                .filter(|other| *other != name.as_str());
            let fix = match super::nearest(name.as_str(), elsewhere) {
                Some(near) => format!("did you mean {near:?}, which is hosted?"),
                None => format!("add {name} to the `services` of two regions, or remove it here"),
            };
            found.push(Finding::error(at, format!("no region hosts {name}"), fix));
        }
        [only] if config.regions.len() > 1 => {
            let others = config.services.keys().filter(|other| *other != name).map(ServiceName::as_str);
            let fix = match super::nearest(name.as_str(), others) {
                Some(near) => format!("add it to a second region; or did you mean {near:?}?"),
                None => "add it to the `services` of a second region, or live with it".to_owned(),
            };
            let here = only.services.iter().position(|service| service == name).unwrap_or_default();
            found.push(
                Finding::warning(
                    at,
                    format!("only {} hosts {name}: it cannot be failed over", only.name),
                    fix,
                )
                .related(region_place(config, &only.name).key("services").index(here)),
            );
        }
        _ => {}
    }
}

fn jurisdictions(
    config: &Config,
    name: &ServiceName,
    service: &Service,
    hosts: &[&Region],
    found: &mut Vec<Finding>,
) {
    if service.jurisdictions.is_empty() {
        return;
    }
    let at = service_place(name).key("jurisdictions");
    let known: Vec<&str> =
        config.regions.iter().filter_map(|region| region.jurisdiction.as_deref()).collect();
    let mut all_known = true;
    for (n, wanted) in service.jurisdictions.iter().enumerate() {
        if !known.contains(&wanted.as_str()) {
            all_known = false;
            found.push(Finding::error(
                at.index(n),
                format!("no region has the jurisdiction {wanted:?}"),
                suggest(wanted, "jurisdiction", known.iter().copied()),
            ));
        }
    }
    let allowed: Vec<&Region> = hosts.iter().copied().filter(|region| allows(service, region)).collect();
    if !all_known || hosts.len() < 2 {
        return; // said already
    }
    let wanted = list(&service.jurisdictions);
    match allowed.as_slice() {
        [] => found.push(Finding::error(
            at,
            format!("{name} may run only in {wanted}, and none of its regions lies there"),
            "widen `jurisdictions`, or set `jurisdiction` on the regions that host it",
        )),
        [only] => found.push(Finding::warning(
            at,
            format!("{name} may run only in {wanted}, and only {} of its regions lies there: it has nowhere to go", only.name),
            "host it in a second region there, or widen `jurisdictions`",
        )),
        _ => {}
    }
}

fn allows(service: &Service, region: &Region) -> bool {
    region.jurisdiction.as_ref().is_some_and(|jurisdiction| service.jurisdictions.contains(jurisdiction))
}

fn capacity(name: &ServiceName, service: &Service, hosts: &[&Region], found: &mut Vec<Finding>) {
    let least = service.min_capacity_percent;
    let enough: Vec<&Region> =
        hosts.iter().copied().filter(|region| region.capacity_percent >= least).collect();
    if hosts.len() < 2 || enough.len() >= 2 {
        return;
    }
    let at = service_place(name).key("min_capacity");
    let message = match enough.as_slice() {
        [] => format!("none of the regions that host {name} has a capacity of {least}%"),
        _ => format!(
            "only {} has a capacity of {least}%: {name} has nowhere to go",
            list(enough.iter().map(|r| &r.name))
        ),
    };
    let next = hosts.iter().map(|region| region.capacity_percent).filter(|have| *have < least).max();
    let fix = format!("write `min_capacity: {}%` or less, or a region with more", next.unwrap_or_default());
    found.push(if enough.is_empty() {
        Finding::error(at, message, fix)
    } else {
        Finding::warning(at, message, fix)
    });
}

/// What is spent before anybody is served again: finding out, and every cache's TTL.
fn objective(config: &Config, name: &ServiceName, service: &Service, found: &mut Vec<Finding>) {
    let rto = service.tier.rto;
    let detection = config.strategy.detection_timeout;
    let slow = Place::of(&["failover_strategy", "detection_timeout"]);
    if rto < detection {
        found.push(
            Finding::warning(
                service_place(name).key("tier"),
                format!(
                    "the objective of {name} cannot be met: its RTO is {}, and a failure is not even acted on for {}",
                    Human(rto),
                    Human(detection)
                ),
                "shorten detection_timeout (or take a faster profile), or allow a longer RTO",
            )
            .related(Place::of(&["tiers", &service.tier.name, "rto"]))
            .related(slow),
        );
        return;
    }
    for (n, record) in service.dns.iter().enumerate() {
        let ttl = std::time::Duration::from_secs(u64::from(record.ttl_s));
        let at = service_place(name).key("dns").index(n).key("ttl");
        let tier = Place::of(&["tiers", &service.tier.name, "rto"]);
        if ttl > rto {
            found.push(
                Finding::warning(
                    at,
                    format!(
                        "resolvers may keep the old answer for {}, longer than the RTO of {}",
                        Human(ttl),
                        Human(rto)
                    ),
                    format!("write a TTL of at most {}", (rto - detection).as_secs()),
                )
                .related(tier),
            );
        } else if ttl + detection > rto {
            found.push(
                Finding::warning(
                    at,
                    format!(
                        "detection ({}) and this TTL ({}) together exceed the RTO of {}",
                        Human(detection),
                        Human(ttl),
                        Human(rto)
                    ),
                    format!("write a TTL of at most {}", (rto - detection).as_secs()),
                )
                .related(slow.clone())
                .related(tier),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Severity::{Error, Warning};
    use super::super::example::{at, config, only};
    use super::*;

    fn app(config: &mut Config) -> &mut Service {
        config.services.get_mut(&"app".into()).unwrap()
    }

    #[test]
    fn a_service_no_region_hosts() {
        let mut config = config();
        let copy = Service { dns: Vec::new(), ..app(&mut config).clone() };
        config.services.insert("apps".into(), copy);
        let found = super::super::check(&config);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].severity, found[0].message.as_str()), (Error, "no region hosts apps"));
        assert_eq!(found[0].fix, "did you mean \"app\", which is hosted?");
    }

    #[test]
    fn a_service_in_one_region_only() {
        let mut config = config();
        let copy = Service { dns: Vec::new(), ..app(&mut config).clone() };
        config.services.insert("backup".into(), copy);
        config.regions[1].services.push("backup".into());
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "services.backup"));
        assert_eq!(message, "only eu hosts backup: it cannot be failed over");
    }

    #[test]
    fn a_region_with_a_service_nobody_defined() {
        let mut config = config();
        config.regions[1].services.push("aap".into());
        let (severity, place, _) = only(&config);
        assert_eq!((severity, place.as_str()), (Error, "regions.label_eu.services[1]"));
    }

    #[test]
    fn a_jurisdiction_nobody_has() {
        let mut config = config();
        config.regions[0].jurisdiction = Some("US".to_owned());
        app(&mut config).jurisdictions = vec!["EU".to_owned()];
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Error, "services.app.jurisdictions[0]"));
        assert_eq!(message, "no region has the jurisdiction \"EU\"");
    }

    #[test]
    fn a_jurisdiction_with_one_region() {
        let mut config = config();
        config.regions[0].jurisdiction = Some("US".to_owned());
        app(&mut config).jurisdictions = vec!["US".to_owned()];
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "services.app.jurisdictions"));
        assert!(message.contains("only us of its regions lies there"), "{message}");
        config.regions[1].jurisdiction = Some("US".to_owned());
        assert_eq!(super::super::check(&config), []);
    }

    #[test]
    fn capacity_for_one_region_or_none() {
        let mut config = config();
        config.regions[1].capacity_percent = 50;
        config.regions[2].capacity_percent = 25;
        app(&mut config).min_capacity_percent = 80;
        let found = super::super::check(&config);
        assert_eq!(found[0].severity, Warning);
        assert_eq!(found[0].message, "only us has a capacity of 80%: app has nowhere to go");
        assert_eq!(found[0].fix, "write `min_capacity: 50%` or less, or a region with more");
        config.regions[0].capacity_percent = 70;
        assert_eq!(only(&config).0, Error);
    }

    #[test]
    fn an_rto_shorter_than_detection() {
        let mut config = config();
        app(&mut config).tier.rto = Duration::from_secs(3);
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "services.app.tier"));
        assert!(message.contains("cannot be met"), "{message}");
    }

    #[test]
    fn a_ttl_longer_than_the_rto() {
        let mut config = config();
        app(&mut config).dns[0].ttl_s = 301;
        let (severity, message) = at(&config, &service_place(&"app".into()).key("dns").index(0).key("ttl"));
        assert_eq!(severity, Warning);
        assert_eq!(message, "resolvers may keep the old answer for 301s, longer than the RTO of 5m");
        app(&mut config).dns[0].ttl_s = 298;
        assert!(only(&config).2.contains("together exceed the RTO"));
        app(&mut config).dns[0].ttl_s = 296;
        assert_eq!(super::super::check(&config), []);
    }
}
