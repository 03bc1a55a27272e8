//! What one vantage says of a region, or of a service there, from its evidence on single checks.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};

use crate::config::{Check, Config, Probe};
use crate::evidence::{Condition, Evidence};
use crate::explain::Opinion;
use crate::goal::may_probe;
use crate::name::{AgentId, CheckId, RegionName, ServiceName};
use crate::planted::{self, Bug};
use crate::time::Time;

/// The checks of one region, found once: a configuration may hold ten thousand.
#[derive(Default)]
pub(super) struct RegionChecks<'a> {
    endpoints: Vec<&'a Check>,
    all: Vec<&'a Check>,
    services: BTreeMap<&'a ServiceName, Vec<&'a Check>>,
}

impl<'a> RegionChecks<'a> {
    pub(super) fn of(config: &'a Config) -> BTreeMap<&'a RegionName, RegionChecks<'a>> {
        let mut regions: BTreeMap<&RegionName, RegionChecks> = BTreeMap::new();
        for check in &config.checks {
            let region = regions.entry(&check.region).or_default();
            region.all.push(check);
            match &check.service {
                None => region.endpoints.push(check),
                Some(service) => region.services.entry(service).or_default().push(check),
            }
        }
        regions
    }

    /// Those of its endpoints; of everything in it where it has none.
    pub(super) fn of_region(&self) -> &[&'a Check] {
        if self.endpoints.is_empty() { &self.all } else { &self.endpoints }
    }

    pub(super) fn of_service(&self, service: &ServiceName) -> Option<&[&'a Check]> {
        self.services.get(service).map(Vec::as_slice)
    }
}

/// Which checks must agree for a vantage to call its subject unhealthy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Combine {
    /// One that passes is enough: a region with a living endpoint lives.
    AnyPasses,
    /// Checks of one kind are alternatives, such as two endpoints; of each kind one must pass, so
    /// that an open port does not hide a failing health page.
    EachKindPasses,
}

/// What the vantage makes of these checks. It is silent on what it may not probe itself.
pub(super) fn of_vantage(
    vantage: &AgentId,
    region: &RegionName,
    found: Option<&BTreeMap<CheckId, Evidence>>,
    checks: &[&Check],
    combine: Combine,
) -> Opinion {
    let mut kinds: Vec<(Option<Discriminant<Probe>>, Kind)> = Vec::new();
    for check in checks.iter().filter(|check| may_probe(vantage, check)) {
        let key = (combine == Combine::EachKindPasses).then(|| discriminant(&check.probe));
        let at = kinds.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            kinds.push((key, Kind::default()));
            kinds.len() - 1
        });
        kinds[at].1.take(found.and_then(|found| found.get(&check.id)));
    }
    // Unhealthy since the first kind failed whole; healthy since the last one passed.
    let failed = kinds.iter().filter_map(|(_, kind)| kind.failed()).min_by_key(|told| told.since);
    let all_pass = !kinds.is_empty() && kinds.iter().all(|(_, kind)| kind.healthy.is_some());
    let passed = kinds.iter().filter_map(|(_, kind)| kind.healthy).max_by_key(|told| told.since);
    let (condition, told) = match (failed, all_pass) {
        (Some(told), _) => (Condition::Unhealthy, Some(told)),
        (None, true) => (Condition::Healthy, passed),
        (None, false) => (Condition::Unknown, kinds.iter().find_map(|(_, kind)| kind.last_unhealthy)),
    };
    Opinion {
        vantage: vantage.clone(),
        region: region.clone(),
        condition,
        since: told.map_or(Time(0), |evidence| evidence.since),
        reason: told.map_or_else(|| "no evidence yet".to_owned(), |evidence| evidence.reason.clone()),
        counted: true,
    }
}

#[derive(Default)]
struct Kind<'a> {
    healthy: Option<&'a Evidence>,
    last_unhealthy: Option<&'a Evidence>,
    /// A check of which nothing certain is known.
    open: bool,
}

impl<'a> Kind<'a> {
    fn take(&mut self, evidence: Option<&'a Evidence>) {
        match evidence {
            Some(evidence) if evidence.condition == Condition::Healthy => {
                self.healthy = self.healthy.or(Some(evidence));
            }
            Some(evidence) if evidence.condition == Condition::Unhealthy => {
                let later = self.last_unhealthy.is_none_or(|last| evidence.since >= last.since);
                self.last_unhealthy = if later { Some(evidence) } else { self.last_unhealthy };
            }
            _ => self.open = true,
        }
    }

    /// Every check of this kind fails: since the last of them does.
    fn failed(&self) -> Option<&'a Evidence> {
        if self.open || self.healthy.is_some() { None } else { self.last_unhealthy }
    }
}

/// The opinions that count, by what they say.
pub(super) struct Votes {
    pub(super) healthy: usize,
    /// Since when each that finds it unhealthy does so, earliest first.
    pub(super) unhealthy: Vec<Time>,
    silent: usize,
    newest: Time,
}

impl Votes {
    pub(super) fn count(opinions: &[Opinion]) -> Self {
        let counted =
            |wanted| opinions.iter().filter(move |opinion| opinion.counted && opinion.condition == wanted);
        let mut unhealthy: Vec<Time> = counted(Condition::Unhealthy).map(|opinion| opinion.since).collect();
        unhealthy.sort();
        Self {
            healthy: counted(Condition::Healthy).count(),
            unhealthy,
            silent: counted(Condition::Unknown).count(),
            newest: opinions.iter().map(|opinion| opinion.since).max().unwrap_or_default(),
        }
    }

    pub(super) fn speakers(&self) -> usize {
        self.healthy + self.unhealthy.len()
    }

    /// Most of those that are live and trusted, also counting those that say nothing.
    pub(super) fn unhealthy_majority(&self) -> bool {
        self.unhealthy.len() >= self.needed()
    }

    /// When the last vantage that makes the majority joined it; else the newest change.
    pub(super) fn since(&self) -> Time {
        self.unhealthy.get(self.needed() - 1).copied().unwrap_or(self.newest)
    }

    fn needed(&self) -> usize {
        if planted::has(Bug::OneVantageBelieved) {
            return 1;
        }
        (self.speakers() + self.silent) / 2 + 1
    }
}
