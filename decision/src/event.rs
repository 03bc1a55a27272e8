//! What a journal entry tells.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::database::{InstanceRole, Vacancy};
use crate::dns::RecordSet;
use crate::drill::{self, DrillId, Wish};
use crate::evidence::Condition;
use crate::explain::Explanation;
use crate::name::{AgentId, CheckId, DnsName, RegionName, ServiceName};
use crate::plan::{Epoch, Plan, PlanId, PlanStatus, StepId, StepResult};
use crate::verdict::{Assessment, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    ConfigChanged {
        generation: u64,
    },
    SessionOpened {
        agent: AgentId,
    },
    SessionLost {
        agent: AgentId,
    },
    EvidenceChanged {
        vantage: AgentId,
        check: CheckId,
        from: Condition,
        to: Condition,
        reason: String,
    },
    VerdictChanged {
        region: RegionName,
        service: Option<ServiceName>,
        from: Verdict,
        assessment: Assessment,
    },
    /// Decided not to act, though the primary is not healthy.
    Held {
        explanation: Explanation,
    },
    PlanOpened {
        plan: Plan,
        explanation: Option<Explanation>,
    },
    PlanApproved {
        plan: PlanId,
    },
    StepStarted {
        plan: PlanId,
        step: StepId,
        attempt: u32,
    },
    StepEnded {
        plan: PlanId,
        step: StepId,
        attempt: u32,
        result: StepResult,
    },
    ZoneChanged {
        zone: DnsName,
        generation: u64,
        set: Vec<RecordSet>,
    },
    PlanEnded {
        plan: PlanId,
        status: PlanStatus,
    },
    /// Nobody may write any more.
    LeaseEnded {
        service: ServiceName,
        epoch: Epoch,
        vacancy: Vacancy,
    },
    /// Whoever was granted the lease never wrote under it: what was known before counts again.
    GrantUndone {
        service: ServiceName,
        epoch: Epoch,
        region: RegionName,
        vacancy: Vacancy,
    },
    LeaseGranted {
        service: ServiceName,
        epoch: Epoch,
        region: RegionName,
    },
    /// Too few replicas follow it: it may acknowledge without them, and nobody else is promoted meanwhile.
    WentAlone {
        service: ServiceName,
        epoch: Epoch,
        region: RegionName,
    },
    /// Enough of them have everything again.
    AloneEnded {
        service: ServiceName,
        epoch: Epoch,
        region: RegionName,
    },
    /// An instance is something else than before.
    InstanceChanged {
        service: ServiceName,
        region: RegionName,
        role: InstanceRole,
        problem: Option<String>,
    },
    /// A person wants an instance copied anew.
    ReinitWished {
        service: ServiceName,
        region: RegionName,
        number: u64,
    },
    AutomationPaused {
        why: String,
    },
    AutomationResumed,
    RegionDrained {
        region: RegionName,
        why: String,
    },
    RegionUndrained {
        region: RegionName,
    },
    DrillBegun {
        drill: DrillId,
        wish: Wish,
    },
    DrillEnded {
        drill: DrillId,
        why: String,
    },
    DrillReported {
        drill: DrillId,
        verdict: drill::report::Verdict,
    },
    /// A command, or an actuator elsewhere, was refused by a safety rule.
    Refused {
        what: String,
        why: String,
    },
    Note {
        text: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::ConfigChanged { generation } => {
                write!(f, "configuration generation {generation} is in force")
            }
            Event::SessionOpened { agent } => write!(f, "agent {agent}: session opened"),
            Event::SessionLost { agent } => write!(f, "agent {agent}: session lost"),
            Event::EvidenceChanged { vantage, check, to, reason, .. } => {
                write!(f, "{vantage} finds {check} {}: {reason}", lower(to))
            }
            Event::VerdictChanged { region, service: None, from, assessment } => {
                write!(f, "region {region}: {from} → {}: {}", assessment.verdict, assessment.because)
            }
            Event::VerdictChanged { region, service: Some(service), from, assessment } => {
                write!(f, "{service} in {region}: {from} → {}: {}", assessment.verdict, assessment.because)
            }
            Event::Held { explanation } => {
                write!(f, "{}: not moved: {}", explanation.service, explanation.conclusion)
            }
            Event::PlanOpened { plan, .. } => write!(
                f,
                "{}: {} of {} from {} to {} at epoch {}: {}",
                plan.id, plan.kind, plan.service, plan.from, plan.to, plan.epoch, plan.reason
            ),
            Event::PlanApproved { plan } => write!(f, "{plan}: approved"),
            Event::StepStarted { plan, step, attempt } => {
                write!(f, "{plan} step {step}: attempt {attempt} begun")
            }
            Event::StepEnded { plan, step, result, .. } => match result {
                StepResult::Done { note } => write!(f, "{plan} step {step}: done: {note}"),
                StepResult::Failed { why } => write!(f, "{plan} step {step}: failed: {why}"),
                StepResult::Refused { why } => write!(f, "{plan} step {step}: refused: {why}"),
            },
            Event::ZoneChanged { zone, generation, .. } => write!(f, "zone {zone}: generation {generation}"),
            Event::PlanEnded { plan, status } => match status {
                PlanStatus::Stopped(why) => write!(f, "{plan}: stopped, a person must look: {why}"),
                PlanStatus::Cancelled(why) => write!(f, "{plan}: cancelled: {why}"),
                status => write!(f, "{plan}: {}", format!("{status:?}").to_lowercase()),
            },
            Event::LeaseEnded { service, epoch, vacancy } => {
                write!(f, "{service}: the lease of epoch {epoch} is over: {}", vacancy.why)
            }
            Event::GrantUndone { service, epoch, region, vacancy } => {
                write!(f, "{service}: {region} wrote nothing at epoch {epoch}: {}", vacancy.why)
            }
            Event::LeaseGranted { service, epoch, region } => {
                write!(f, "{service}: {region} may take writes at epoch {epoch}")
            }
            Event::WentAlone { service, epoch, region } => write!(
                f,
                "{service}: too few replicas follow {region}: it goes on ALONE at epoch {epoch}, and nobody else is promoted meanwhile"
            ),
            Event::AloneEnded { service, epoch, region } => {
                write!(
                    f,
                    "{service}: enough replicas have all that {region} wrote at epoch {epoch}: it is not alone any more"
                )
            }
            Event::InstanceChanged { service, region, role, problem } => {
                write!(f, "{service}: the instance in {region} is {role}")?;
                match problem {
                    Some(problem) => write!(f, ": {problem}"),
                    None => Ok(()),
                }
            }
            Event::ReinitWished { service, region, .. } => {
                write!(f, "{service}: the instance in {region} is to be copied anew")
            }
            Event::AutomationPaused { why } => write!(f, "automation paused: {why}"),
            Event::AutomationResumed => f.write_str("automation resumed"),
            Event::RegionDrained { region, why } => write!(f, "region {region} drained: {why}"),
            Event::RegionUndrained { region } => write!(f, "region {region} no longer drained"),
            Event::DrillBegun { drill, wish } => {
                let Wish { scenario, service, region, fault, .. } = wish;
                write!(f, "{drill}: {scenario} begun, to see {service} recover: {fault} of {region}")
            }
            Event::DrillEnded { drill, why } => write!(f, "{drill}: over: {why}"),
            Event::DrillReported { drill, verdict } => write!(f, "{drill}: {verdict}"),
            Event::Refused { what, why } => write!(f, "refused: {what}: {why}"),
            Event::Note { text } => write!(f, "note: {text}"),
        }
    }
}

fn lower(condition: &Condition) -> &'static str {
    match condition {
        Condition::Healthy => "healthy",
        Condition::Unhealthy => "unhealthy",
        Condition::Unknown => "unknown",
    }
}
