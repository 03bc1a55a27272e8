//! The rules by what they decide, whole: each test is a story of one failure.

mod alone;
mod approval;
mod database;
mod drill;
mod eligible;
mod evidence;
mod flapping;
mod force;
mod loss;
mod many;
mod planned;
mod property;
mod shift;
mod steps;
mod weighted;
mod what_if;

use crate::command::Command;
use crate::plan::{Plan, StepResult};

/// Commands as a reader of the log would tell them.
fn told(commands: &[Command]) -> Vec<String> {
    let one = |command: &Command| match command {
        Command::LoseSession { agent } => format!("lose {agent}"),
        Command::SetVerdict { region, service: None, assessment } => {
            format!("{region} is {}", assessment.verdict)
        }
        Command::SetVerdict { region, service: Some(service), assessment } => {
            format!("{service} in {region} is {}", assessment.verdict)
        }
        Command::Hold { explanation } => format!("hold {}: {}", explanation.service, explanation.conclusion),
        Command::OpenPlan { plan, .. } => format!("open {}", brief(plan)),
        Command::StartStep { plan, step, attempt } => format!("start {plan} step {step} attempt {attempt}"),
        Command::StepDone { plan, step, result, .. } => {
            let how = match result {
                StepResult::Done { .. } => "done",
                StepResult::Failed { .. } => "failed",
                StepResult::Refused { .. } => "refused",
            };
            format!("{plan} step {step} {how}")
        }
        Command::EndPlan { plan, status } => format!("end {plan}: {status:?}"),
        Command::Cancel { plan, why } => format!("cancel {plan}: {why}"),
        other => format!("{other:?}"),
    };
    commands.iter().map(one).collect()
}

fn brief(plan: &Plan) -> String {
    format!("{} {} {}->{} epoch {}", plan.kind, plan.service, plan.from, plan.to, plan.epoch)
}
