//! A failover that a person forces: whoever writes is ended at once, and what may be lost by that
//! is shown first, and accepted or not.

use std::cmp::Reverse;

use super::make::{Wish, plan};
use super::{database, eligible, operator};
use crate::command::Refusal;
use crate::config::{Config, Database, Region};
use crate::database::branch::Branch;
use crate::database::{InstanceReport, InstanceRole, Loss, Owner, Ownership, Position, Vacancy};
use crate::explain::Rejected;
use crate::name::{RegionName, ServiceName};
use crate::plan::{Kind, Plan};
use crate::state::{Placement, State};
use crate::time::{Human, Time};
use crate::verdict::Verdict;

/// To `to`, or to whoever would lose least. `allow_data_loss`: the person takes what is lost.
pub fn force(
    state: &State,
    now: Time,
    service: &ServiceName,
    to: Option<&RegionName>,
    allow_data_loss: bool,
    reason: String,
) -> Result<Plan, Refusal> {
    let config = state.config.as_deref().ok_or(Refusal::NotConfigured)?;
    let unknown = |what: String| Refusal::Unknown { what };
    let placement = state.services.get(service).ok_or_else(|| unknown(format!("service {service}")))?;
    if let Some(open) = state.open_plan(service) {
        return Err(Refusal::PlanOpen { service: service.clone(), open: open.plan.id });
    }
    if let Some(name) = to.filter(|name| config.region(name).is_none()) {
        return Err(unknown(format!("region {name}")));
    }
    let Some((wished, held)) = state.database(service) else {
        return operator::forced(state, now, service, to, reason);
    };
    let case = Case { config, state, service, placement, wished, held, now };
    let best = match to {
        Some(name) => case.candidate(name).map_err(|why| case.cannot_take(name, &why))?,
        None => case.best()?,
    };
    if let (Some(risk), false) = (&best.risk, allow_data_loss) {
        return Err(case.not_without_a_word(best.region, risk));
    }
    let from = &placement.primary;
    let wish = Wish {
        kind: if best.region == from { Kind::Recover } else { Kind::Failover },
        service,
        from,
        to: best.region,
        automatic: false,
        needs_approval: false,
        reason,
        loss: best.loss,
        accepts_loss: allow_data_loss,
        at_once: true,
    };
    plan(config, state, wish).ok_or_else(|| unknown(format!("service {service}")))
}

/// Why the other regions could not be forced to take over, or would not be chosen.
pub fn forceable(state: &State, now: Time, service: &ServiceName) -> Vec<Rejected> {
    let (Some(config), Some(placement)) = (state.config.as_deref(), state.services.get(service)) else {
        return Vec::new();
    };
    let Some((wished, held)) = state.database(service) else {
        return operator::movable(state, now, service);
    };
    Case { config, state, service, placement, wished, held, now }.ranked().1
}

struct Case<'a> {
    config: &'a Config,
    state: &'a State,
    service: &'a ServiceName,
    placement: &'a Placement,
    wished: &'a Database,
    held: &'a Ownership,
    /// As if the leader's term began now: whoever asks is not always the leader.
    now: Time,
}

struct Candidate<'a> {
    region: &'a RegionName,
    position: Option<Position>,
    /// By the last reports, at most.
    loss: Option<Loss>,
    /// What a person must accept.
    risk: Option<String>,
}

impl<'a> Case<'a> {
    fn best(&self) -> Result<Candidate<'a>, Refusal> {
        let (candidates, rejected) = self.ranked();
        candidates.into_iter().next().ok_or_else(|| {
            let why: Vec<String> =
                rejected.iter().map(|rejected| format!("{}: {}", rejected.region, rejected.why)).collect();
            let detail =
                format!("no region can take over the database of {} ({})", self.service, why.join("; "));
            Refusal::NotAllowed { detail }
        })
    }

    /// Who would take over, best first: whoever loses nothing, then as the rules rank.
    fn ranked(&self) -> (Vec<Candidate<'a>>, Vec<Rejected>) {
        let (mut candidates, mut rejected) = (Vec::new(), Vec::new());
        for (n, region) in self.config.hosts(self.service).enumerate() {
            let name = &region.name;
            let found = match self.wished.instances.get(name) {
                Some(instance) if instance.nofailover && *name != self.placement.primary => {
                    Err("it is marked nofailover: only `--to` chooses it".to_owned())
                }
                Some(instance) => self.candidate(name).map(|found| (found, instance.priority)),
                None => Err("it has no instance of the database".to_owned()),
            };
            match found {
                Ok((found, priority)) => {
                    let stays = *name == self.placement.primary;
                    let rank = (found.risk.is_none(), found.position, stays, priority, Reverse(n));
                    candidates.push((rank, found));
                }
                Err(why) => rejected.push(Rejected { region: name.clone(), why }),
            }
        }
        candidates.sort_by(|(a, _), (b, _)| b.cmp(a));
        (candidates.into_iter().map(|(_, found)| found).collect(), rejected)
    }

    /// What it has, and what would be lost; or why it cannot take over whatever a person accepts.
    fn candidate(&self, name: &RegionName) -> Result<Candidate<'a>, String> {
        let region = self.config.region(name).ok_or("it is not configured")?;
        self.check_region(region)?;
        let name = &region.name;
        let report = self.held.instances.get(name).ok_or("nothing is known of its database")?;
        self.check_instance(report)?;
        match &self.held.owner {
            Owner::Held(holder) if holder == name => Err(format!("{holder} writes already")),
            Owner::Held(holder) => self.instead_of(holder, name, report),
            Owner::Vacant(vacancy) => self.after(vacancy, name),
        }
    }

    fn check_region(&self, region: &Region) -> Result<(), String> {
        let name = &region.name;
        if let Some(why) = eligible::misfit(self.config, self.service, region) {
            return Err(why);
        }
        if !self.wished.instances.contains_key(name) {
            return Err("it has no instance of the database".into());
        }
        if !self.state.has_live_agent(name) {
            return Err("its agent has no session, so that nobody there could promote it".into());
        }
        // To go on where names lead needs no move of them.
        if *name == self.placement.primary {
            return Ok(());
        }
        if let Some(why) = self.state.drained.get(name) {
            return Err(format!("it is drained: {why}; `failover undrain {name}` first"));
        }
        if self.state.region_verdict(name) == Verdict::Dead {
            return Err("the region is held dead".into());
        }
        Ok(())
    }

    fn check_instance(&self, report: &InstanceReport) -> Result<(), String> {
        if let Some(problem) = &report.problem {
            return Err(format!("its database: {problem}"));
        }
        if let (Some(ours), Some(its)) = (&self.held.system, &report.system)
            && ours != its
        {
            return Err(format!("its data folder is of another database: system {its}, not {ours}"));
        }
        match report.role {
            InstanceRole::Broken => Err("its instance cannot be used".into()),
            InstanceRole::Absent if self.held.system.is_some() => {
                Err("it has no copy of the data yet".into())
            }
            InstanceRole::Starting => {
                Err("its database is on its way: being copied, rewound or recovered".into())
            }
            _ => Ok(()),
        }
    }

    /// While another may still write: nothing proves that all is there, whatever the reports say.
    fn instead_of(
        &self,
        holder: &RegionName,
        name: &'a RegionName,
        report: &InstanceReport,
    ) -> Result<Candidate<'a>, String> {
        let position = report.position.ok_or("it does not know its position")?;
        let bytes = self.held.furthest().unwrap_or(position).lsn.ahead_of(position.lsn);
        let loss = Loss { bytes, time: report.silent };
        let risk = format!(
            "by the last reports it lacks {loss}, and so it does whatever {holder} may write until it is fenced"
        );
        let risk = Some(
            self.left_behind(name, position, false).map_or(risk.clone(), |left| format!("{left}; {risk}")),
        );
        Ok(Candidate { region: name, position: Some(position), loss: Some(loss), risk })
    }

    /// When surely nobody writes: as the rules count, but past their limits.
    fn after(&self, vacancy: &Vacancy, name: &'a RegionName) -> Result<Candidate<'a>, String> {
        let held = self.held;
        let report = held.settled(name).ok_or(
            "it has not come to rest and told its position since nobody writes; it does within seconds, if it can",
        )?;
        let has_all = |position| Candidate { region: name, position, loss: None, risk: None };
        if held.system.is_none() {
            return Ok(has_all(report.position));
        }
        if vacancy.last.as_ref() == Some(name) {
            return Ok(Candidate {
                risk: database::lost(self.wished, held, name),
                ..has_all(report.position)
            });
        }
        let position = report.position.ok_or("it does not know its position")?;
        let loss = database::loss(held, vacancy, report, position, self.now);
        let shown = (loss != Loss::default()).then_some(loss);
        let is_counted = database::is_counted(self.wished, held, vacancy);
        let risk = if let Some(only) = held.only_in() {
            Some(format!("{only} acknowledged without the others; it lacks {loss}"))
        } else if let Some(left) = self.left_behind(name, position, is_counted) {
            Some(format!("{left}; it lacks {loss}"))
        } else if let Some(lacks) = database::lacks_acknowledged(self.wished, held, position)
            .or_else(|| database::lost(self.wished, held, name))
        {
            Some(format!("{lacks}; it lacks {loss}"))
        } else if held.is_synchronous(self.wished) {
            database::unseen_acknowledgements(self.service, self.wished, held, vacancy).or_else(|| {
                let beside = vacancy.last.as_ref().filter(|_| is_counted);
                let other = database::ahead_of(self.wished, held, position, beside)?;
                Some(format!("rows that were acknowledged may be in {other} alone; it lacks {loss}"))
            })
        } else {
            let limit = self.wished.max_data_loss;
            (loss.bytes > limit.bytes || loss.time > limit.time).then(|| {
                let (bytes, time) = (limit.bytes, Human(limit.time));
                format!("it lacks {loss}, and max_data_loss allows {bytes} bytes and {time}")
            })
        };
        let is_sure = risk.is_none() && held.is_synchronous(self.wished);
        Ok(Candidate { region: name, position: Some(position), loss: shown.filter(|_| !is_sure), risk })
    }

    /// What was written since another history began is not in it, however its position compares.
    /// `is_counted`: what was acknowledged on another is on others.
    fn left_behind(&self, name: &RegionName, position: Position, is_counted: bool) -> Option<String> {
        if let Some(Branch { timeline, epoch }) = self.held.stranger(name) {
            return Some(format!(
                "its timeline {timeline} was begun at epoch {epoch} and given up: what was written instead goes"
            ));
        }
        let furthest = self.held.furthest()?;
        (!is_counted && database::is_on_old_timeline(self.held, position)).then(|| {
            format!(
                "it is on an old timeline, {}, and the newest known is {}",
                position.timeline, furthest.timeline
            )
        })
    }

    fn cannot_take(&self, name: &RegionName, why: &str) -> Refusal {
        Refusal::NotAllowed {
            detail: format!("{name} cannot take over the database of {}: {why}", self.service),
        }
    }

    fn not_without_a_word(&self, to: &RegionName, risk: &str) -> Refusal {
        let service = self.service;
        let is_orderly = database::no_hand_over(self.state, service).is_none()
            && database::unfit_heir(self.state, service, to).is_none();
        let orderly = match is_orderly {
            true => format!("; `failover switchover {service} --to {to}` moves it without loss"),
            false => String::new(),
        };
        let detail = format!(
            "{to} can take over the database of {service} only with loss: {risk}; `failover failover {service} --to {to} --allow-data-loss` takes it all the same{orderly}"
        );
        Refusal::NotAllowed { detail }
    }
}
