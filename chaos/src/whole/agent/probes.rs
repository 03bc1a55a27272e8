//! What an agent sees of the others: the truth, after as many looks as its thresholds ask for.

use std::collections::BTreeMap;
use std::time::Duration;

use decision::config::Check;
use decision::evidence::{Condition, Finding};
use decision::goal::Goal;
use decision::name::CheckId;

use super::Life;
use crate::sim::queue::Moment;
use crate::sim::setup::REGIONS;

const INTERVAL_FIRST: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Probes(BTreeMap<CheckId, Seen>);

struct Seen {
    is_well: bool,
    /// So often in a row, since then.
    times: u32,
    since: Moment,
    held: Condition,
    told: Option<Condition>,
}

impl Probes {
    pub fn interval(&self, goal: &Goal) -> Duration {
        goal.checks.iter().map(|check| check.interval).min().unwrap_or(INTERVAL_FIRST)
    }

    /// A session that begins says everything.
    pub fn forget_told(&mut self) {
        self.0.values_mut().for_each(|seen| seen.told = None);
    }

    /// Gives what is to be told.
    pub fn look(&mut self, life: &Life) -> Vec<Finding> {
        let now = life.ground.now();
        let checks = life.goal.borrow().checks.clone();
        let mut findings = Vec::new();
        for check in checks {
            let is_well = is_well(life, &check);
            let fresh = Seen { is_well, times: 0, since: now, held: Condition::Unknown, told: None };
            let seen = self.0.entry(check.id.clone()).or_insert(fresh);
            if seen.is_well != is_well {
                (seen.is_well, seen.times, seen.since) = (is_well, 0, now);
            }
            seen.times += 1;
            let (wanted, condition) = match is_well {
                true => (check.healthy_threshold, Condition::Healthy),
                false => (check.unhealthy_threshold, Condition::Unhealthy),
            };
            if seen.times >= wanted {
                seen.held = condition;
            }
            if seen.held != Condition::Unknown && seen.told != Some(seen.held) {
                seen.told = Some(seen.held);
                let (check, condition, age) = (check.id.clone(), seen.held, now.since(seen.since));
                findings.push(Finding { check, condition, age, reason: "played".into() });
            }
        }
        findings
    }
}

fn is_well(life: &Life, check: &Check) -> bool {
    let truth = life.ground.truth();
    let Some(region) = REGIONS.iter().position(|name| *name == check.region.as_str()) else { return false };
    let target = truth.layout.agent(region);
    let both = truth.reaches(life.machine, target) && truth.reaches(target, life.machine);
    both && (check.service.is_none() || truth.broken_services[target] == 0)
}
