//! From the evidence of several vantages to one verdict on a region, or on a service in it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{Check, Config};
use crate::evidence::Condition;
use crate::explain::Opinion;
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
    /// Vantages that find all other regions unhealthy: more likely their own network is cut.
    suspects: BTreeSet<AgentId>,
    /// All regions look dead: the observers are suspect, nothing may be concluded.
    all_dead: bool,
}

impl<'a> Picture<'a> {
    pub fn new(config: &'a Config, state: &'a State) -> Self {
        let live = state.live_agents();
        let mut picture = Self { config, state, live, suspects: BTreeSet::new(), all_dead: false };
        picture.suspects =
            picture.live.iter().filter(|vantage| picture.sees_nothing(vantage)).cloned().collect();
        picture.all_dead = picture.is_everything_dead();
        picture
    }

    pub fn observers_are_suspect(&self) -> bool {
        self.all_dead
    }

    /// The verdict on a region: dead needs its session gone *and* a majority of the other live
    /// vantages to find its endpoints unhealthy, and a majority of all vantages to speak (S5).
    pub fn region(&self, region: &RegionName) -> Assessment {
        let checks = self.region_checks(region);
        let opinions: Vec<Opinion> = self
            .live
            .iter()
            .filter(|vantage| vantage.region != *region)
            .map(|vantage| self.opinion(vantage, region, &checks))
            .collect();
        let session = self.live.iter().any(|agent| agent.region == *region);
        let votes = Votes::count(&opinions);
        let since = votes.since();
        let assess = |verdict, because: String| Assessment { verdict, since, because, opinions: opinions.clone() };

        if checks.is_empty() {
            return match session {
                true => assess(Verdict::Healthy, "its agent's session is up; it has no endpoints to probe".into()),
                false => assess(Verdict::Unknown, "its agent's session is gone and it has no endpoints to probe".into()),
            };
        }
        if self.all_dead {
            return assess(
                Verdict::Unknown,
                "every region looks dead from everywhere: the observers are suspect".into(),
            );
        }
        let needed = self.majority();
        // A region's own agent speaks for it by its session.
        let speakers = votes.speakers() + usize::from(session);
        if speakers < needed {
            return assess(
                Verdict::Unknown,
                format!("{speakers} of {} vantages can speak, {needed} are needed", self.vantages()),
            );
        }
        let said = format!("{} of {} other vantages find it unhealthy", votes.unhealthy.len(), votes.speakers());
        match (session, votes.unhealthy_majority()) {
            (false, true) => assess(Verdict::Dead, format!("its agent's session is gone and {said}")),
            (false, false) => assess(Verdict::Partitioned, format!("its agent's session is gone, but {said}")),
            (true, true) => assess(Verdict::Partitioned, format!("its agent's session is up, but {said}")),
            (true, false) if !votes.unhealthy.is_empty() => assess(Verdict::Degraded, said),
            (true, false) => assess(Verdict::Healthy, format!("its agent's session is up and {said}")),
        }
    }

    /// The verdict on a service in a region. A service can be dead in a living region: then a
    /// majority of all live vantages, the region's own agent among them, find it unhealthy.
    pub fn service(&self, service: &ServiceName, region: &RegionName) -> Assessment {
        let of_region = self.region(region);
        let checks = self.service_checks(service, region);
        if of_region.verdict == Verdict::Dead || self.all_dead || checks.is_empty() {
            return of_region;
        }
        let opinions: Vec<Opinion> =
            self.live.iter().map(|vantage| self.opinion(vantage, region, &checks)).collect();
        let votes = Votes::count(&opinions);
        let since = votes.since();
        let assess = |verdict, because: String| Assessment { verdict, since, because, opinions: opinions.clone() };
        let needed = self.majority();
        if votes.speakers() < needed {
            return assess(
                Verdict::Unknown,
                format!("{} of {} vantages can speak, {needed} are needed", votes.speakers(), self.vantages()),
            );
        }
        let own: Vec<&Opinion> = opinions.iter().filter(|opinion| opinion.vantage.region == *region).collect();
        let own_finds_healthy = own.iter().any(|opinion| opinion.condition == Condition::Healthy);
        let said = format!("{} of {} vantages find it unhealthy", votes.unhealthy.len(), votes.speakers());
        match (votes.unhealthy_majority(), own_finds_healthy) {
            (true, false) => assess(Verdict::Dead, said),
            (true, true) => {
                assess(Verdict::Partitioned, format!("{said}, but the region's own agent reaches it"))
            }
            (false, _) if of_region.verdict == Verdict::Partitioned => assess(Verdict::Partitioned, of_region.because),
            (false, _) if !votes.unhealthy.is_empty() => assess(Verdict::Degraded, said),
            (false, _) => assess(Verdict::Healthy, said),
        }
    }

    /// How many vantages the configuration names.
    pub fn vantages(&self) -> usize {
        self.config.regions.iter().map(|region| usize::from(region.agents)).sum()
    }

    /// How many of them must speak before anything is moved (S5).
    pub fn majority(&self) -> usize {
        self.vantages() / 2 + 1
    }

    fn region_checks(&self, region: &RegionName) -> Vec<&'a Check> {
        let of_region = |check: &&Check| check.region == *region;
        let own: Vec<_> =
            self.config.checks.iter().filter(of_region).filter(|check| check.service.is_none()).collect();
        if own.is_empty() { self.config.checks.iter().filter(of_region).collect() } else { own }
    }

    fn service_checks(&self, service: &ServiceName, region: &RegionName) -> Vec<&'a Check> {
        let own: Vec<_> = self
            .config
            .checks
            .iter()
            .filter(|check| check.region == *region && check.service.as_ref() == Some(service))
            .collect();
        if own.is_empty() { self.region_checks(region) } else { own }
    }

    /// Healthy when any check is, unhealthy when all are, else unknown.
    fn opinion(&self, vantage: &AgentId, region: &RegionName, checks: &[&Check]) -> Opinion {
        let found = self.state.evidence.get(vantage);
        let evidence: Vec<_> = checks.iter().filter_map(|check| found?.get(&check.id)).collect();
        let healthy = evidence.iter().find(|evidence| evidence.condition == Condition::Healthy);
        let last_unhealthy = evidence
            .iter()
            .filter(|evidence| evidence.condition == Condition::Unhealthy)
            .max_by_key(|evidence| evidence.since);
        let all_unhealthy = !checks.is_empty()
            && evidence.len() == checks.len()
            && evidence.iter().all(|evidence| evidence.condition == Condition::Unhealthy);
        let (condition, told_by) = match (healthy, last_unhealthy) {
            (Some(evidence), _) => (Condition::Healthy, Some(evidence)),
            (None, Some(evidence)) if all_unhealthy => (Condition::Unhealthy, Some(evidence)),
            (None, evidence) => (Condition::Unknown, evidence),
        };
        Opinion {
            vantage: vantage.clone(),
            region: region.clone(),
            condition,
            since: told_by.map_or(Time(0), |evidence| evidence.since),
            reason: told_by.map_or_else(|| "no evidence yet".to_owned(), |evidence| evidence.reason.clone()),
            counted: !self.suspects.contains(vantage),
        }
    }

    fn sees_nothing(&self, vantage: &AgentId) -> bool {
        let remote: Vec<Condition> = self
            .config
            .regions
            .iter()
            .filter(|region| region.name != vantage.region)
            .map(|region| (region, self.region_checks(&region.name)))
            .filter(|(_, checks)| !checks.is_empty())
            .map(|(region, checks)| self.opinion(vantage, &region.name, &checks).condition)
            .collect();
        // With one other region there is nothing to compare with.
        remote.len() >= 2 && remote.iter().all(|condition| *condition == Condition::Unhealthy)
    }

    fn is_everything_dead(&self) -> bool {
        let probed: Vec<_> = self
            .config
            .regions
            .iter()
            .map(|region| (region, self.region_checks(&region.name)))
            .filter(|(_, checks)| !checks.is_empty())
            .collect();
        !probed.is_empty()
            && probed.iter().all(|(region, checks)| {
                let mut spoken = self
                    .live
                    .iter()
                    .map(|vantage| self.opinion(vantage, &region.name, checks).condition)
                    .filter(|condition| *condition != Condition::Unknown)
                    .peekable();
                spoken.peek().is_some() && spoken.all(|condition| condition == Condition::Unhealthy)
            })
    }
}

/// The counted opinions that say something.
struct Votes {
    healthy: usize,
    /// Since when each that finds it unhealthy does so, earliest first.
    unhealthy: Vec<Time>,
}

impl Votes {
    fn count(opinions: &[Opinion]) -> Self {
        let counted = |wanted| {
            opinions.iter().filter(move |opinion| opinion.counted && opinion.condition == wanted)
        };
        let mut unhealthy: Vec<Time> = counted(Condition::Unhealthy).map(|opinion| opinion.since).collect();
        unhealthy.sort();
        Self { healthy: counted(Condition::Healthy).count(), unhealthy }
    }

    fn speakers(&self) -> usize {
        self.healthy + self.unhealthy.len()
    }

    fn unhealthy_majority(&self) -> bool {
        self.unhealthy.len() * 2 > self.speakers()
    }

    /// When the last vantage that makes the majority joined it.
    fn since(&self) -> Time {
        let needed = self.speakers() / 2 + 1;
        self.unhealthy.get(needed - 1).or(self.unhealthy.last()).copied().unwrap_or_default()
    }
}
