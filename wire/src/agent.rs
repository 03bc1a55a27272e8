//! Conversions between the agents' messages and `decision`'s types, both ways.

use std::time::Duration;

use decision::command::AgentInfo;
use decision::evidence::{Condition, Finding};
use decision::goal::Goal;
use decision::name::{AgentId, CheckId};
use decision::plan::{Epoch, PlanId, StepId, StepResult};

use crate::proto::regent::v1 as pb;

/// What came over the wire makes no sense. The message was dropped, nothing was changed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct Malformed {
    pub field: &'static str,
    pub problem: String,
}

fn malformed(field: &'static str, problem: impl ToString) -> Malformed {
    Malformed { field, problem: problem.to_string() }
}

/// What an agent says, inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromAgent {
    Hello { agent: AgentId, info: AgentInfo, held_generation: u64 },
    Heartbeat { sequence: u64 },
    Evidence { findings: Vec<Finding> },
    Step(StepReport),
    Refusal { what: String, why: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReport {
    pub plan: PlanId,
    pub step: StepId,
    pub attempt: u32,
    pub epoch: Epoch,
    pub result: StepResult,
}

/// What a controller says to an agent, inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToAgent {
    Welcome { member: u64, region: String },
    Goal(Box<Goal>),
    HeartbeatAck { sequence: u64 },
    StepAck { plan: PlanId, step: StepId, attempt: u32 },
}

impl From<FromAgent> for pb::AgentMessage {
    fn from(message: FromAgent) -> Self {
        use pb::agent_message::Message;
        let message = match message {
            FromAgent::Hello { agent, info, held_generation } => Message::Hello(pb::Hello {
                agent: agent.to_string(),
                version: info.version,
                peer: info.peer.unwrap_or_default(),
                dns: info.dns.unwrap_or_default(),
                held_generation,
            }),
            FromAgent::Heartbeat { sequence } => Message::Heartbeat(pb::Heartbeat { sequence }),
            FromAgent::Evidence { findings } => Message::Evidence(pb::Evidence {
                findings: findings.into_iter().map(finding_to_wire).collect(),
            }),
            FromAgent::Step(report) => Message::Step(step_to_wire(report)),
            FromAgent::Refusal { what, why } => Message::Refusal(pb::Refusal { what, why }),
        };
        pb::AgentMessage { message: Some(message) }
    }
}

impl TryFrom<pb::AgentMessage> for FromAgent {
    type Error = Malformed;
    fn try_from(message: pb::AgentMessage) -> Result<Self, Malformed> {
        use pb::agent_message::Message;
        Ok(match message.message.ok_or_else(|| malformed("message", "missing, or of a newer version"))? {
            Message::Hello(hello) => FromAgent::Hello {
                agent: hello.agent.try_into().map_err(|problem: String| malformed("hello.agent", problem))?,
                info: AgentInfo {
                    dns: Some(hello.dns).filter(|dns| !dns.is_empty()),
                    version: hello.version,
                    peer: Some(hello.peer).filter(|peer| !peer.is_empty()),
                },
                held_generation: hello.held_generation,
            },
            Message::Heartbeat(heartbeat) => FromAgent::Heartbeat { sequence: heartbeat.sequence },
            Message::Evidence(evidence) => FromAgent::Evidence {
                findings: evidence.findings.into_iter().map(finding_from_wire).collect::<Result<_, _>>()?,
            },
            Message::Step(report) => FromAgent::Step(step_from_wire(report)?),
            Message::Refusal(refusal) => FromAgent::Refusal { what: refusal.what, why: refusal.why },
        })
    }
}

fn finding_to_wire(finding: Finding) -> pb::Finding {
    let condition = match finding.condition {
        Condition::Healthy => pb::Condition::Healthy,
        Condition::Unhealthy => pb::Condition::Unhealthy,
        Condition::Unknown => pb::Condition::Unknown,
    };
    pb::Finding {
        check: finding.check.0,
        condition: condition.into(),
        age_ms: finding.age.as_millis() as u64,
        reason: finding.reason,
    }
}

fn finding_from_wire(finding: pb::Finding) -> Result<Finding, Malformed> {
    let condition = match finding.condition() {
        pb::Condition::Healthy => Condition::Healthy,
        pb::Condition::Unhealthy => Condition::Unhealthy,
        pb::Condition::Unknown => Condition::Unknown,
        pb::Condition::Unspecified => return Err(malformed("finding.condition", finding.condition)),
    };
    Ok(Finding {
        check: CheckId(finding.check),
        condition,
        age: Duration::from_millis(finding.age_ms),
        reason: finding.reason,
    })
}

fn step_to_wire(report: StepReport) -> pb::StepReport {
    use pb::step_report::Result as Wire;
    let (result, note) = match report.result {
        StepResult::Done { note } => (Wire::Done, note),
        StepResult::Failed { why } => (Wire::Failed, why),
        StepResult::Refused { why } => (Wire::Refused, why),
    };
    pb::StepReport {
        plan: report.plan.0,
        step: u32::from(report.step.0),
        attempt: report.attempt,
        epoch: report.epoch.0,
        result: result.into(),
        note,
    }
}

fn step_from_wire(report: pb::StepReport) -> Result<StepReport, Malformed> {
    use pb::step_report::Result as Wire;
    let result = match report.result() {
        Wire::Done => StepResult::Done { note: report.note },
        Wire::Failed => StepResult::Failed { why: report.note },
        Wire::Refused => StepResult::Refused { why: report.note },
        Wire::Unspecified => return Err(malformed("step.result", report.result)),
    };
    Ok(StepReport {
        plan: PlanId(report.plan),
        step: step_id("step.step", report.step)?,
        attempt: report.attempt,
        epoch: Epoch(report.epoch),
        result,
    })
}

fn step_id(field: &'static str, step: u32) -> Result<StepId, Malformed> {
    u16::try_from(step).map(StepId).map_err(|error| malformed(field, error))
}

impl From<ToAgent> for pb::ControllerMessage {
    fn from(message: ToAgent) -> Self {
        use pb::controller_message::Message;
        let message = match message {
            ToAgent::Welcome { member, region } => Message::Welcome(pb::Welcome { member, region }),
            ToAgent::Goal(goal) => Message::Goal(pb::Goal {
                generation: goal.generation,
                json: serde_json::to_vec(&goal).expect("a goal has only string keys").into(),
            }),
            ToAgent::HeartbeatAck { sequence } => Message::Heartbeat(pb::HeartbeatAck { sequence }),
            ToAgent::StepAck { plan, step, attempt } => {
                Message::Step(pb::StepAck { plan: plan.0, step: u32::from(step.0), attempt })
            }
        };
        pb::ControllerMessage { message: Some(message) }
    }
}

impl TryFrom<pb::ControllerMessage> for ToAgent {
    type Error = Malformed;
    fn try_from(message: pb::ControllerMessage) -> Result<Self, Malformed> {
        use pb::controller_message::Message;
        Ok(match message.message.ok_or_else(|| malformed("message", "missing, or of a newer version"))? {
            Message::Welcome(welcome) => ToAgent::Welcome { member: welcome.member, region: welcome.region },
            Message::Goal(goal) => ToAgent::Goal(
                serde_json::from_slice(&goal.json).map_err(|error| malformed("goal.json", error))?,
            ),
            Message::Heartbeat(ack) => ToAgent::HeartbeatAck { sequence: ack.sequence },
            Message::Step(ack) => ToAgent::StepAck {
                plan: PlanId(ack.plan),
                step: step_id("step.step", ack.step)?,
                attempt: ack.attempt,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_says_survives_the_wire() {
        let messages = [
            FromAgent::Hello {
                agent: AgentId::new("eu", 2),
                info: AgentInfo {
                    dns: Some("127.0.0.1:53".into()),
                    version: "1".into(),
                    peer: Some("127.0.0.1:7".into()),
                },
                held_generation: 7,
            },
            FromAgent::Heartbeat { sequence: 3 },
            FromAgent::Evidence {
                findings: vec![Finding {
                    check: "eu/endpoint/1".into(),
                    condition: Condition::Unhealthy,
                    age: Duration::from_millis(1_500),
                    reason: "connection refused".into(),
                }],
            },
            FromAgent::Step(StepReport {
                plan: PlanId(4),
                step: StepId(2),
                attempt: 1,
                epoch: Epoch(9),
                result: StepResult::Refused { why: "stale".into() },
            }),
            FromAgent::Refusal { what: "goal 3".into(), why: "older than 5".into() },
        ];
        for message in messages {
            let wire: pb::AgentMessage = message.clone().into();
            assert_eq!(FromAgent::try_from(wire), Ok(message));
        }
    }

    #[test]
    fn nonsense_is_named() {
        let empty = pb::AgentMessage { message: None };
        assert_eq!(FromAgent::try_from(empty).map_err(|error| error.field), Err("message"));
        let report = pb::StepReport { step: 70_000, result: 1, ..Default::default() };
        let wire = pb::AgentMessage { message: Some(pb::agent_message::Message::Step(report)) };
        assert_eq!(FromAgent::try_from(wire).map_err(|error| error.field), Err("step.step"));
        let hello = pb::Hello { agent: "eu".into(), ..Default::default() };
        let wire = pb::AgentMessage { message: Some(pb::agent_message::Message::Hello(hello)) };
        assert_eq!(FromAgent::try_from(wire).map_err(|error| error.field), Err("hello.agent"));
    }
}
