//! From the evidence of several vantages to one verdict on a region, or on a service in it.

mod opinion;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use self::opinion::{Combine, RegionChecks, Votes};
use crate::config::{Config, Region};
use crate::evidence::Condition;
use crate::explain::Opinion;
use crate::goal::may_probe;
use crate::name::{AgentId, RegionName, ServiceName};
use crate::state::State;
use crate::time::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Healthy,
    /// Grey: a minority cannot reach it, or it says so itself. Advice, never a cause for failover.
    Degraded,
    /// Its agent and the other vantages disagree: some see it, some do not.
    Partitioned,
    Dead,
    /// Fewer than a majority of vantages can speak.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Healthy => "healthy",
            Verdict::Degraded => "degraded",
            Verdict::Partitioned => "partitioned",
            Verdict::Dead => "dead",
            Verdict::Unknown => "unknown",
        })
    }
}

const SUSPECT: &str = "every region looks dead from everywhere: the observers are suspect";

/// A verdict with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    pub verdict: Verdict,
    /// For `Dead`: since when a majority has agreed. Otherwise the last change of evidence.
    pub since: Time,
    pub because: String,
    pub opinions: Vec<Opinion>,
}

/// Everything concluded from one look at the evidence.
pub struct Picture<'a> {
    config: &'a Config,
    state: &'a State,
    live: BTreeSet<AgentId>,
    checks: BTreeMap<&'a RegionName, RegionChecks<'a>>,
    /// What every live vantage says of every region that is probed, its own included.
    views: BTreeMap<&'a RegionName, Vec<Opinion>>,
    regions: BTreeMap<&'a RegionName, Assessment>,
    /// Vantages that find all other regions unhealthy: more likely their own network is cut.
    suspects: BTreeSet<AgentId>,
    /// All regions look dead: the observers are suspect, nothing may be concluded.
    all_dead: bool,
    vantages: usize,
}

impl<'a> Picture<'a> {
    pub fn new(config: &'a Config, state: &'a State) -> Self {
        let live = state.live_agents();
        let checks = RegionChecks::of(config);
        let of_region = |region: &'a Region| {
            let checks = checks.get(&region.name)?.of_region();
            let look = |vantage| {
                let found = state.evidence.get(vantage).map(|found| &**found);
                opinion::of_vantage(vantage, &region.name, found, checks, Combine::AnyPasses)
            };
            Some((&region.name, live.iter().map(look).collect::<Vec<_>>()))
        };
        let mut views: BTreeMap<_, _> = config.regions.iter().filter_map(of_region).collect();
        let suspects: BTreeSet<AgentId> =
            live.iter().filter(|vantage| sees_nothing(&views, vantage)).cloned().collect();
        for opinion in views.values_mut().flatten() {
            opinion.counted = !suspects.contains(&opinion.vantage);
        }
        let all_dead = is_everything_dead(&views);
        let vantages = config.regions.iter().map(|region| usize::from(region.agents)).sum();
        let regions = BTreeMap::new();
        let mut picture = Self { config, state, live, checks, views, regions, suspects, all_dead, vantages };
        picture.regions =
            config.regions.iter().map(|region| (&region.name, picture.assess_region(&region.name))).collect();
        picture
    }

    pub fn observers_are_suspect(&self) -> bool {
        self.all_dead
    }

    /// The verdict on a region: dead needs its session gone *and* a majority of the other live
    /// vantages to find its endpoints unhealthy, and a majority of all vantages to speak (S5).
    pub fn region(&self, region: &RegionName) -> Assessment {
        self.regions.get(region).cloned().unwrap_or_else(|| self.assess_region(region))
    }

    fn assess_region(&self, region: &RegionName) -> Assessment {
        let session = self.live.iter().any(|agent| agent.region == *region);
        let views = self.views.get(region).map(Vec::as_slice).unwrap_or_default();
        let opinions: Vec<Opinion> =
            views.iter().filter(|opinion| opinion.vantage.region != *region).cloned().collect();
        let votes = Votes::count(&opinions);
        let (verdict, because) = self.judge_region(region, session, &votes);
        Assessment { verdict, since: votes.since(), because, opinions }
    }

    fn judge_region(&self, region: &RegionName, session: bool, votes: &Votes) -> (Verdict, String) {
        if !self.checks.contains_key(region) {
            return match session {
                true => (Verdict::Healthy, "its agent's session is up; it has no endpoints to probe".into()),
                false => {
                    (Verdict::Unknown, "its agent's session is gone and it has no endpoints to probe".into())
                }
            };
        }
        if self.all_dead {
            return (Verdict::Unknown, SUSPECT.into());
        }
        // A region's own agent speaks for it by its session.
        let speakers = votes.speakers() + usize::from(session);
        if speakers < self.majority() {
            return (Verdict::Unknown, self.too_few(speakers));
        }
        let said =
            format!("{} of {} other vantages find it unhealthy", votes.unhealthy.len(), votes.speakers());
        match (session, votes.unhealthy_majority()) {
            (false, true) => (Verdict::Dead, format!("its agent's session is gone and {said}")),
            (false, false) => (Verdict::Partitioned, format!("its agent's session is gone, but {said}")),
            (true, true) => (Verdict::Partitioned, format!("its agent's session is up, but {said}")),
            (true, false) if !votes.unhealthy.is_empty() => (Verdict::Degraded, said),
            (true, false) => (Verdict::Healthy, format!("its agent's session is up and {said}")),
        }
    }

    /// The verdict on a service in a region. A service can be dead in a living region: then a
    /// majority of all live vantages find it unhealthy and the region's own agent does not reach
    /// it. It can also be alive in a region whose agent and endpoints are dead: then it is
    /// partitioned, because it is still served.
    pub fn service(&self, service: &ServiceName, region: &RegionName) -> Assessment {
        let Some(known) = self.checks.get(region).filter(|_| !self.all_dead) else {
            return self.region(region);
        };
        let Some(of_region) = self.regions.get(region) else { return self.assess_region(region) };
        let opinions = self.of_service(service, region, known);
        let votes = Votes::count(&opinions);
        let speakers = votes.speakers();
        if speakers < self.majority() {
            if of_region.verdict == Verdict::Dead {
                return of_region.clone();
            }
            let because = self.too_few(speakers);
            return Assessment { verdict: Verdict::Unknown, since: votes.since(), because, opinions };
        }
        // Also where its vantage is suspect: a cut network does not blind it to its own region.
        let reached_from_inside = opinions
            .iter()
            .any(|opinion| opinion.vantage.region == *region && opinion.condition == Condition::Healthy);
        let said = format!("{} of {speakers} vantages find it unhealthy", votes.unhealthy.len());
        let (verdict, because) = match (votes.unhealthy_majority(), reached_from_inside) {
            (true, false) => (Verdict::Dead, said),
            (true, true) => (Verdict::Partitioned, format!("{said}, but the region's own agent reaches it")),
            (false, _) if of_region.verdict == Verdict::Dead && votes.healthy == 0 => {
                return of_region.clone();
            }
            (false, _) if of_region.verdict == Verdict::Dead => {
                (Verdict::Partitioned, format!("the region looks dead, but {said}"))
            }
            (false, _) if of_region.verdict == Verdict::Partitioned => {
                (Verdict::Partitioned, of_region.because.clone())
            }
            (false, _) if !votes.unhealthy.is_empty() => (Verdict::Degraded, said),
            (false, _) => (Verdict::Healthy, said),
        };
        Assessment { verdict, since: votes.since(), because, opinions }
    }

    /// Each live vantage by the service's own checks; by the region's where the service has none,
    /// or none that this vantage may run.
    fn of_service(&self, service: &ServiceName, region: &RegionName, known: &RegionChecks) -> Vec<Opinion> {
        let views = self.views.get(region).map(Vec::as_slice).unwrap_or_default();
        let Some(own) = known.of_service(service) else { return views.to_vec() };
        let look = |view: &Opinion| {
            if !own.iter().any(|check| may_probe(&view.vantage, check)) {
                return view.clone();
            }
            let found = self.state.evidence.get(&view.vantage).map(|found| &**found);
            let opinion = opinion::of_vantage(&view.vantage, region, found, own, Combine::EachKindPasses);
            Opinion { counted: view.counted, ..opinion }
        };
        views.iter().map(look).collect()
    }

    /// How many vantages the configuration names.
    pub fn vantages(&self) -> usize {
        self.vantages
    }

    /// How many of them must speak before anything is moved (S5).
    pub fn majority(&self) -> usize {
        self.vantages / 2 + 1
    }

    /// Vantages whose opinion is not counted.
    pub fn suspects(&self) -> &BTreeSet<AgentId> {
        &self.suspects
    }

    fn too_few(&self, speakers: usize) -> String {
        format!("{speakers} of {} vantages can speak, {} are needed", self.vantages, self.majority())
    }

    /// All verdicts at once, owned, so that the state may change meanwhile.
    pub(crate) fn conclude(&self) -> Conclusions {
        let regions =
            self.config.regions.iter().map(|region| (region.name.clone(), self.region(&region.name)));
        let mut services: BTreeMap<ServiceName, BTreeMap<RegionName, Assessment>> = BTreeMap::new();
        for region in self.config.regions.iter().filter(|region| !region.witness) {
            let known = region.services.iter().filter(|service| self.config.services.contains_key(*service));
            for service in known {
                let found = self.service(service, &region.name);
                services.entry(service.clone()).or_default().insert(region.name.clone(), found);
            }
        }
        Conclusions { regions: regions.collect(), services }
    }
}

/// One assessment for each region, and for each service in each region that hosts it.
pub(crate) struct Conclusions {
    pub(crate) regions: BTreeMap<RegionName, Assessment>,
    pub(crate) services: BTreeMap<ServiceName, BTreeMap<RegionName, Assessment>>,
}

impl Conclusions {
    pub(crate) fn service(&self, service: &ServiceName, region: &RegionName) -> Option<&Assessment> {
        self.services.get(service)?.get(region)
    }
}

fn sees_nothing(views: &BTreeMap<&RegionName, Vec<Opinion>>, vantage: &AgentId) -> bool {
    let remote: Vec<Condition> = views
        .iter()
        .filter(|(region, _)| ***region != vantage.region)
        .flat_map(|(_, opinions)| opinions.iter().filter(|opinion| opinion.vantage == *vantage))
        .map(|opinion| opinion.condition)
        .collect();
    // With one other region there is nothing to compare with.
    remote.len() >= 2 && remote.iter().all(|condition| *condition == Condition::Unhealthy)
}

fn is_everything_dead(views: &BTreeMap<&RegionName, Vec<Opinion>>) -> bool {
    let looks_dead = |opinions: &Vec<Opinion>| {
        let mut spoken = opinions.iter().filter(|opinion| opinion.condition != Condition::Unknown).peekable();
        spoken.peek().is_some() && spoken.all(|opinion| opinion.condition == Condition::Unhealthy)
    };
    !views.is_empty() && views.values().all(looks_dead)
}
