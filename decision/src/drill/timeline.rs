//! What the journal tells of a drill: the way from the fault to the service being served again.

use std::collections::BTreeMap;

use super::report::{Moment, Phase, Told};
use super::{Drill, DrillId};
use crate::event::Event;
use crate::evidence::Condition;
use crate::journal::Entry;
use crate::name::DnsName;
use crate::plan::{Action, Plan, PlanId, PlanStatus, StepId, StepResult};
use crate::time::Time;
use crate::verdict::Verdict;

/// Of one event; fewer than a report keeps, whatever they are.
const MOST_CHARS: usize = 140;

/// Of the entries after the drill began, oldest first.
pub fn of_journal<'a>(drill: &Drill, entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Moment> {
    let mut reader = Reader { drill, plans: Vec::new(), moments: Vec::new(), is_begun: false };
    for entry in entries {
        reader.read(entry);
    }
    reader.moments
}

/// How DNS servers of others heard that the service had moved, where they could not be told while the drill lasted. Of
/// plans that go home nothing counts.
pub fn told<'a>(drill: &Drill, entries: impl IntoIterator<Item = &'a Entry>) -> Told {
    let mut plans: BTreeMap<PlanId, &Plan> = BTreeMap::new();
    // By zone that was missed: when it was told.
    let mut zones: BTreeMap<&DnsName, Option<Time>> = BTreeMap::new();
    let is_over = |at: Time| drill.ended.as_ref().is_some_and(|ended| at >= ended.at);
    for entry in entries {
        match &entry.event {
            Event::PlanOpened { plan, .. }
                if plan.service == drill.wish.service && plan.to != drill.wish.region =>
            {
                plans.insert(plan.id, plan);
            }
            Event::StepEnded { plan, step, result, .. } => {
                let Some(zone) = zone_of_others(plans.get(plan), *step) else { continue };
                match (result, zones.get_mut(zone)) {
                    (StepResult::Done { .. }, Some(told)) => *told = told.or(Some(entry.at)),
                    (StepResult::Done { .. }, None) => {}
                    (_, None) if !is_over(entry.at) => drop(zones.insert(zone, None)),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let back_at = drill.ended.as_ref().map_or(drill.begun_at, |ended| ended.at);
    let all: Option<Vec<Time>> = zones.values().copied().collect();
    let last = all.and_then(|told| told.into_iter().max());
    Told { was_missed: !zones.is_empty(), after: last.map(|at| at.since(back_at)) }
}

fn zone_of_others<'a>(plan: Option<&&'a Plan>, step: StepId) -> Option<&'a DnsName> {
    plan?.steps.iter().find(|known| known.id == step)?.action.zone_of_others()
}

struct Reader<'a> {
    drill: &'a Drill,
    plans: Vec<&'a Plan>,
    moments: Vec<Moment>,
    is_begun: bool,
}

impl<'a> Reader<'a> {
    fn read(&mut self, entry: &'a Entry) {
        let wish = &self.drill.wish;
        if let Event::DrillBegun { drill, .. } = &entry.event
            && *drill == self.drill.id
        {
            self.is_begun = true;
            return self.tell(entry, Phase::Fault);
        }
        if !self.is_begun {
            return;
        }
        match &entry.event {
            Event::DrillEnded { drill: DrillId(id), .. } if *id == self.drill.id.0 => {
                self.tell(entry, Phase::Healed)
            }
            Event::SessionLost { agent } if agent.region == wish.region => {
                self.tell_first(entry, Phase::FirstFailingVantage);
            }
            Event::EvidenceChanged { check, to: Condition::Unhealthy, .. }
                if check.as_str().starts_with(&format!("{}/", wish.region)) =>
            {
                self.tell_first(entry, Phase::FirstFailingVantage);
            }
            Event::VerdictChanged { region, assessment, .. }
                if *region == wish.region
                    && matches!(assessment.verdict, Verdict::Dead | Verdict::Partitioned) =>
            {
                self.tell(entry, Phase::Verdict);
            }
            Event::PlanOpened { plan, .. } if plan.service == wish.service => {
                self.plans.push(plan);
                self.tell(entry, Phase::Decision);
            }
            Event::LeaseEnded { service, .. } if *service == wish.service => self.tell(entry, Phase::Fence),
            Event::LeaseGranted { service, .. } if *service == wish.service => {
                self.tell(entry, Phase::Promotion)
            }
            Event::StepEnded { plan, step, result: StepResult::Done { .. }, .. } => {
                if let Some(phase) = self.phase(*plan, *step) {
                    self.tell(entry, phase);
                }
            }
            Event::PlanEnded { plan, status: PlanStatus::Done } if self.is_home(*plan) => {
                self.tell(entry, Phase::Failback);
            }
            _ => {}
        }
    }

    fn phase(&self, plan: PlanId, step: StepId) -> Option<Phase> {
        let plan = self.plans.iter().find(|known| known.id == plan)?;
        match &plan.steps.iter().find(|known| known.id == step)?.action {
            Action::Fence { .. } => Some(Phase::Fence),
            Action::Promote { .. } => Some(Phase::Promotion),
            Action::ShiftDns { .. } => Some(Phase::Dns),
            _ => None,
        }
    }

    fn is_home(&self, plan: PlanId) -> bool {
        self.plans.iter().any(|known| known.id == plan && known.to == self.drill.wish.region)
    }

    fn tell_first(&mut self, entry: &Entry, phase: Phase) {
        if !self.moments.iter().any(|moment| moment.phase == phase) {
            self.tell(entry, phase);
        }
    }

    fn tell(&mut self, entry: &Entry, phase: Phase) {
        let text = entry.event.to_string().chars().take(MOST_CHARS).collect();
        self.moments.push(Moment { at: entry.at, phase, text });
    }
}
