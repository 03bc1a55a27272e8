//! Regions, each for itself and against the others.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, list, suggest};
use crate::config::place::Place;
use crate::config::{Config, Region};

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    if config.regions.is_empty() {
        found.push(Finding::error(
            Place::of(&["regions"]),
            "no region is given",
            "name at least two, and a third place to vote",
        ));
    }
    unique_names(config, found);
    for region in &config.regions {
        let at = Place::of(&["regions", &region.label]);
        if region.witness {
            witness(region, &at, found);
        } else {
            host(config, region, &at, found);
        }
    }
    shared_endpoints(config, found);
    known_in_checks(config, found);
}

fn unique_names(config: &Config, found: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, &Region> = BTreeMap::new();
    for region in &config.regions {
        let name = region.name.as_str();
        let at = Place::of(&["regions", &region.label]).key("name");
        if let Some(first) = seen.insert(name, region) {
            found.push(
                Finding::error(
                    at,
                    format!("two regions are named {name}"),
                    "give each region a name of its own",
                )
                .related(Place::of(&["regions", &first.label]).key("name")),
            );
        } else if let Some(other) = config.regions.iter().find(|r| r.label == name && r.name != region.name) {
            found.push(
                Finding::error(
                    at,
                    format!("{name} is this region's name and also the label of region {}", other.name),
                    "rename one, or nobody can tell which is meant",
                )
                .related(Place::of(&["regions", &other.label])),
            );
        }
    }
}

fn witness(region: &Region, at: &Place, found: &mut Vec<Finding>) {
    if !region.services.is_empty() {
        found.push(
            Finding::error(
                at.key("services"),
                format!("{} is a witness and yet hosts {}", region.name, list(&region.services)),
                "remove its services, or its `witness: true`: a witness votes and observes, and hosts nothing",
            )
            .related(at.key("witness")),
        );
    }
    if region.controllers == 0 {
        found.push(
            Finding::error(
                at.key("controllers"),
                format!("{} is a witness without a controller, so it has no vote", region.name),
                "write `controllers: 1`",
            )
            .related(at.key("witness")),
        );
    }
}

fn host(config: &Config, region: &Region, at: &Place, found: &mut Vec<Finding>) {
    if !(1..=100).contains(&region.capacity_percent) {
        found.push(Finding::error(
            at.key("capacity"),
            format!("a capacity of {}% is not a share of the full load", region.capacity_percent),
            "write 1% to 100%",
        ));
    }
    if region.services.is_empty() {
        found.push(Finding::warning(
            at.clone(),
            format!("{} hosts no service, so nothing can move there", region.name),
            "list its services, or write `witness: true` if it is only there to vote and observe",
        ));
        return;
    }
    if region.agents == 0 {
        found.push(Finding::error(
            at.key("agents"),
            format!("{} hosts services but has no agent: nobody could carry out a step there", region.name),
            "write `agents: 1` or more",
        ));
    }
    if !config.checks.iter().any(|check| check.region == region.name) {
        found.push(Finding::warning(
            at.clone(),
            format!("nothing in {} is checked from outside, so it can never be found dead", region.name),
            "add `endpoints`, or health checks to its services",
        ));
    }
    let mut seen = BTreeSet::new();
    for (n, service) in region.services.iter().enumerate().filter(|(_, service)| !seen.insert(*service)) {
        found.push(Finding::error(
            at.key("services").index(n),
            format!("{service} is listed twice in {}", region.name),
            "remove one",
        ));
    }
}

/// Two regions behind one address: losing one would look like losing both.
fn shared_endpoints(config: &Config, found: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, (&Region, Place)> = BTreeMap::new();
    for region in &config.regions {
        for (n, endpoint) in region.endpoints.iter().enumerate() {
            let at = Place::of(&["regions", &region.label, "endpoints"]).index(n);
            match seen.get(endpoint.as_str()) {
                Some((first, place)) => found.push(
                    Finding::warning(
                        at,
                        format!(
                            "{endpoint} is an endpoint of {} too: the health of one would be taken for the other's",
                            first.name
                        ),
                        "give each region an address that only that region answers",
                    )
                    .related(place.clone()),
                ),
                None => {
                    seen.insert(endpoint, (region, at));
                }
            }
        }
    }
}

fn known_in_checks(config: &Config, found: &mut Vec<Finding>) {
    for check in &config.checks {
        let at = Place::of(&["checks", check.id.as_str()]);
        let names = config.regions.iter().map(|region| region.name.as_str());
        match config.region(&check.region) {
            None => found.push(Finding::error(
                at,
                format!("there is no region {:?} to check", check.region.as_str()),
                suggest(check.region.as_str(), "region", names),
            )),
            Some(region) => {
                if let Some(service) = check.service.as_ref().filter(|s| !region.services.contains(s)) {
                    found.push(Finding::error(
                        at,
                        format!("{} does not host {service}, which is to be checked there", region.name),
                        format!("hosted by: {}", list(config.hosts(service).map(|r| &r.name))),
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
    use crate::config::place::Place;

    #[test]
    fn two_of_one_name() {
        let mut config = config();
        config.regions[2].name = "us".into();
        let (severity, message) = at(&config, &Place::of(&["regions", "label_ap", "name"]));
        assert_eq!((severity, message.as_str()), (Error, "two regions are named us"));
    }

    #[test]
    fn a_name_that_is_another_regions_label() {
        let mut config = config();
        config.regions[2].label = "us".to_owned();
        let (severity, message) = at(&config, &Place::of(&["regions", "label_us", "name"]));
        assert_eq!(severity, Error);
        assert_eq!(message, "us is this region's name and also the label of region ap");
    }

    #[test]
    fn a_witness_that_hosts() {
        let mut config = config();
        config.regions[2].witness = true;
        let (severity, message) = at(&config, &Place::of(&["regions", "label_ap", "services"]));
        assert_eq!((severity, message.as_str()), (Error, "ap is a witness and yet hosts app"));
    }

    #[test]
    fn a_witness_without_a_vote() {
        let mut config = config();
        config.regions[2].witness = true;
        config.regions[2].controllers = 0;
        assert_eq!(at(&config, &Place::of(&["regions", "label_ap", "controllers"])).0, Error);
    }

    #[test]
    fn a_region_that_hosts_nothing_and_is_no_witness() {
        let mut config = config();
        config.regions[2].services.clear();
        config.services.get_mut(&"app".into()).unwrap().dns[0].values.remove(&"ap".into());
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "regions.label_ap"));
        assert_eq!(message, "ap hosts no service, so nothing can move there");
    }

    #[test]
    fn a_host_without_an_agent() {
        let mut config = config();
        config.regions[2].agents = 0;
        assert_eq!(at(&config, &Place::of(&["regions", "label_ap", "agents"])).0, Error);
    }

    #[test]
    fn a_region_nobody_checks() {
        let mut config = config();
        config.checks.remove(1);
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "regions.label_eu"));
        assert_eq!(message, "nothing in eu is checked from outside, so it can never be found dead");
    }

    #[test]
    fn a_capacity_out_of_range() {
        for wrong in [0, 101] {
            let mut config = config();
            config.regions[1].capacity_percent = wrong;
            assert_eq!(at(&config, &Place::of(&["regions", "label_eu", "capacity"])).0, Error);
        }
    }

    #[test]
    fn one_address_for_two_regions() {
        let mut config = config();
        config.regions[1].endpoints = config.regions[0].endpoints.clone();
        let (severity, place, _) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "regions.label_eu.endpoints[0]"));
    }

    #[test]
    fn a_service_listed_twice() {
        let mut config = config();
        config.regions[1].services.push("app".into());
        assert_eq!(only(&config).1, "regions.label_eu.services[1]");
    }

    #[test]
    fn checks_of_what_is_not_there() {
        let mut config = config();
        config.checks[0].region = "uss".into();
        let (severity, message) = at(&config, &Place::of(&["checks", "us/endpoint/1"]));
        assert_eq!((severity, message.as_str()), (Error, "there is no region \"uss\" to check"));
        config.checks[0].region = "us".into();
        config.checks[0].service = Some("web".into());
        let (severity, message) = at(&config, &Place::of(&["checks", "us/endpoint/1"]));
        assert_eq!(
            (severity, message.as_str()),
            (Error, "us does not host web, which is to be checked there")
        );
    }

    #[test]
    fn no_region_at_all() {
        let mut config = config();
        config.regions.clear();
        assert_eq!(at(&config, &Place::of(&["regions"])).0, Error);
    }
}
