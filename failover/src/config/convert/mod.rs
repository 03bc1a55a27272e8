//! From the file's model to `decision`'s configuration: names resolved, defaults filled in, checks
//! expanded. What cannot be resolved is left as it was written, and the pure check names it.

mod checks;
mod database;
mod records;
mod zones;

use std::collections::BTreeMap;
use std::time::Duration;

use decision::config::check::{Finding, suggest};
use decision::config::place::{Place, Step};
use decision::config::{
    Config, Failback, GradualShift, MoveLimits, Profile, Region, Service, StatusPage, Strategy, Tier, Timings,
};
use decision::name::{CheckId, RegionName, ServiceName};

use super::collection::{Ordered, TierRef};
use super::model;

/// Beyond, an agent could not keep its intervals, nor the log its entries small.
const REGIONS_MAX: usize = 64;

pub(super) struct Converted {
    pub(super) config: Config,
    pub(super) findings: Vec<Finding>,
    pub(super) origins: Origins,
}

/// Where things of the configuration came from in the file.
#[derive(Default)]
pub(super) struct Origins {
    checks: BTreeMap<CheckId, Origin>,
    /// Label and name of each region.
    regions: Vec<(String, RegionName)>,
}

struct Origin {
    /// Where its settings stand.
    check: Place,
    /// Where its region and address stand.
    target: Place,
}

impl Origins {
    /// The other names a key of the file may have: a region's label for its name, and the reverse.
    pub(super) fn names_of(&self, key: &str) -> Vec<String> {
        let mut names = Vec::new();
        for (label, name) in &self.regions {
            if key == name.as_str() {
                names.push(label.clone());
            } else if key == label {
                names.push(name.as_str().to_owned());
            }
        }
        // A zone or name may be written in upper case or with a closing dot.
        names.push(format!("{key}."));
        names
    }

    /// The places in the file that a place in the configuration may stand for, the nearest first.
    pub(super) fn places_of(&self, place: &Place) -> Vec<Place> {
        let [Step::Key(checks), Step::Key(id), rest @ ..] = place.0.as_slice() else {
            return vec![place.clone()];
        };
        let Some(origin) = self.checks.get(&CheckId::new(id.as_str())).filter(|_| checks == "checks") else {
            return vec![place.clone()];
        };
        match rest {
            [Step::Key(key)] => vec![
                origin.check.key(key),
                Place::of(&["health_checks", key]),
                Place::of(&["failover_strategy", "profile"]),
            ],
            _ => vec![origin.target.clone(), origin.check.clone()],
        }
    }
}

pub(super) fn convert(file: model::File, profile: Option<Profile>) -> Converted {
    let mut findings = Vec::new();
    if file.regions.0.len() > REGIONS_MAX {
        findings.push(Finding::error(
            Place::of(&["regions"]),
            format!("{} regions are more than {REGIONS_MAX}", file.regions.0.len()),
            "split the estate into several configurations",
        ));
    }
    let regions: Vec<Region> = file
        .regions
        .0
        .into_iter()
        .take(REGIONS_MAX)
        .map(|(label, region)| convert_region(label, region))
        .collect();
    let mut origins = Origins {
        regions: regions.iter().map(|region| (region.label.clone(), region.name.clone())).collect(),
        ..Origins::default()
    };
    let strategy = convert_strategy(file.failover_strategy.unwrap_or_default(), profile);
    let timings = strategy.profile.timings();
    let defaults = checks::Defaults::new(file.health_checks.unwrap_or_default(), &timings);
    let tiers = tiers(file.tiers.unwrap_or_default());
    let zones = zones::convert(file.dns.unwrap_or_default(), &mut findings);

    let mut written: BTreeMap<ServiceName, model::Service> = BTreeMap::new();
    for (name, service) in file.services.unwrap_or_default().0 {
        if let Err(fault) = <super::scalar::ServiceWord as super::scalar::Scalar>::parse(&name) {
            findings.push(Finding::error(Place::of(&["services", &name]), fault.message, fault.fix));
        }
        written.insert(ServiceName::new(name), service.unwrap_or_default());
    }
    for name in regions.iter().flat_map(|region| &region.services) {
        written.entry(name.clone()).or_default();
    }

    let mut config = Config {
        regions,
        services: BTreeMap::new(),
        strategy,
        checks: Vec::new(),
        zones,
        status_page: status_page(file.status_page.unwrap_or_default()),
    };
    checks::endpoints(&mut config, &defaults, &mut origins);
    for (name, service) in written {
        let at = Place::of(&["services", name.as_str()]);
        checks::service(
            &mut config,
            &name,
            service.health_checks.unwrap_or_default(),
            &defaults,
            &mut origins,
            &mut findings,
        );
        let dns = records::convert(&config, service.dns.unwrap_or_default(), &at.key("dns"), &mut findings);
        let tier = tier(service.tier, &tiers, &at.key("tier"), &mut findings);
        let database = service
            .database
            .map(|written| database::convert(&config, written, &tier, &at.key("database"), &mut findings));
        config.services.insert(
            name,
            Service {
                tier,
                jurisdictions: service.jurisdictions.map(|many| many.0).unwrap_or_default(),
                min_capacity_percent: service.min_capacity.map_or(0, |percent| percent.0),
                dns,
                database,
            },
        );
    }
    zones::implied(&mut config);
    Converted { config, findings, origins }
}

fn convert_region(label: String, region: model::Region) -> Region {
    let witness = region.witness.unwrap_or(false);
    Region {
        name: region.name.map_or_else(|| RegionName::new(label.as_str()), |name| RegionName::new(name.0)),
        provider: region.provider.unwrap_or_else(|| "unspecified".to_owned()),
        endpoints: region.endpoints.unwrap_or_default().into_iter().map(|endpoint| endpoint.0).collect(),
        services: region
            .services
            .unwrap_or_default()
            .into_iter()
            .map(|name| ServiceName::new(name.0))
            .collect(),
        capacity_percent: region.capacity.map_or(100, |percent| percent.0),
        jurisdiction: region.jurisdiction,
        controllers: region.controllers.unwrap_or(1),
        agents: region.agents.unwrap_or(1),
        witness,
        label,
    }
}

fn convert_strategy(strategy: model::Strategy, instead: Option<Profile>) -> Strategy {
    let written = match strategy.profile {
        Some(model::Profile::Safe) => Profile::Safe,
        Some(model::Profile::Balanced) | None => Profile::Balanced,
        Some(model::Profile::Fast) => Profile::Fast,
    };
    let profile = instead.unwrap_or(written);
    let Timings { detection_timeout, session_timeout, min_stay, hold_down, .. } = profile.timings();
    let moves = strategy.moves.unwrap_or_default();
    let shift = strategy.gradual_shift.unwrap_or_default();
    Strategy {
        profile,
        detection_timeout: strategy.detection_timeout.map_or(detection_timeout, |time| time.0),
        recovery_timeout: strategy.recovery_timeout.map_or(Duration::from_secs(300), |time| time.0),
        session_timeout: strategy.session_timeout.map_or(session_timeout, |time| time.0),
        automatic_failover: strategy.automatic_failover.unwrap_or(true),
        manual_approval_required: strategy.manual_approval_required.unwrap_or(false),
        failback: match strategy.failback {
            Some(model::Failback::Automatic) => Failback::Automatic,
            Some(model::Failback::Manual) | None => Failback::Manual,
        },
        min_stay: strategy.min_stay.map_or(min_stay, |time| time.0),
        hold_down: strategy.hold_down.map_or(hold_down, |time| time.0),
        moves: MoveLimits {
            per_service: moves.per_service.unwrap_or(3),
            overall: moves.overall.unwrap_or(6),
            window: moves.window.map_or(Duration::from_secs(600), |time| time.0),
        },
        gradual_shift: GradualShift {
            stages_percent: shift.stages.map_or_else(
                || vec![25, 50, 100],
                |stages| stages.into_iter().map(|percent| percent.0).collect(),
            ),
            pause: shift.pause.map_or(Duration::from_secs(30), |time| time.0),
        },
        no_drills: strategy.no_drills.unwrap_or_default().into_iter().map(|window| window.0).collect(),
    }
}

const STANDARD: &str = "standard";

fn tiers(written: Ordered<model::Tier>) -> BTreeMap<String, Tier> {
    let standard =
        Tier { name: STANDARD.to_owned(), rto: Duration::from_secs(300), rpo: Duration::from_secs(60) };
    let mut tiers = BTreeMap::from([(STANDARD.to_owned(), standard)]);
    for (name, tier) in written.0 {
        tiers.insert(name.clone(), Tier { name, rto: tier.rto.0, rpo: tier.rpo.0 });
    }
    tiers
}

fn tier(
    written: Option<TierRef>,
    tiers: &BTreeMap<String, Tier>,
    at: &Place,
    findings: &mut Vec<Finding>,
) -> Tier {
    let name = match written {
        Some(TierRef::Own(tier)) => {
            return Tier { name: "own".to_owned(), rto: tier.rto.0, rpo: tier.rpo.0 };
        }
        Some(TierRef::Named(name)) => name,
        None => STANDARD.to_owned(),
    };
    if let Some(tier) = tiers.get(&name) {
        return tier.clone();
    }
    findings.push(Finding::error(
        at.clone(),
        format!("there is no tier {name:?}"),
        suggest(&name, "tier", tiers.keys().map(String::as_str)),
    ));
    tiers[STANDARD].clone()
}

fn status_page(written: model::StatusPage) -> StatusPage {
    StatusPage {
        name: written.name.unwrap_or_else(|| "Regent".to_owned()),
        url: written.url.map_or_else(|| "http://localhost/".to_owned(), |url| url.0),
    }
}

/// A region's name, for its name or its label; what is neither stays as it is.
fn resolve(regions: &[Region], word: &str) -> RegionName {
    let by_name = regions.iter().find(|region| region.name.as_str() == word);
    let region = by_name.or_else(|| regions.iter().find(|region| region.label == word));
    region.map_or_else(|| RegionName::new(word), |region| region.name.clone())
}

/// Resolves the keys of a mapping, and says so when a region stands there under both its names.
fn by_region<T>(
    regions: &[Region],
    written: Ordered<T>,
    at: &Place,
    findings: &mut Vec<Finding>,
) -> BTreeMap<RegionName, T> {
    let mut resolved = BTreeMap::new();
    for (word, value) in written.0 {
        let name = resolve(regions, &word);
        if resolved.insert(name.clone(), value).is_some() {
            findings.push(
                Finding::error(
                    at.key(&word),
                    format!("{name} stands here twice, by its name and by its label"),
                    "keep one of the two",
                )
                .of_key(),
            );
        }
    }
    resolved
}
