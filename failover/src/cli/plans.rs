//! Plans and explanations.

use decision::decide::WhatIf;
use decision::explain::{Explanation, Rejected};
use decision::plan::{Executor, Plan, PlanId, PlanRecord, PlanStatus, StepStatus};
use decision::time::rfc3339;
use serde::Serialize;
use wire::api::{Intent, IntentReply, Query};

use super::args::PlanArgs;
use super::client::{Answer, Client};
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, Table, print};

pub async fn plan(client: &Client, format: Format, args: PlanArgs) -> Outcome {
    if let Some(region) = args.if_lost {
        let answer: Answer<WhatIf> = client.read(&Query::IfLost { region: region.as_str().into() }).await?;
        let what_if = answer.document;
        print(format, &what_if, |_| what_if_text(&what_if))?;
    } else if let (Some(service), Some(to)) = (&args.id, &args.to) {
        return rehearse(client, format, service, to, args.forced).await;
    } else if let Some(id) = args.id {
        let answer: Answer<PlanRecord> = client.read(&Query::Plan { id: parse_id(&id)? }).await?;
        let record = answer.document;
        print(format, &record, |_| record_text(&record))?;
    } else {
        let answer: Answer<Vec<PlanRecord>> = client.read(&Query::Plans).await?;
        let records = answer.document;
        print(format, &records, |_| list_text(&records))?;
    }
    Ok(Exit::Done)
}

/// What a move would do, without opening it.
async fn rehearse(client: &Client, format: Format, service: &str, to: &str, forced: bool) -> Outcome {
    let (service, to, reason) = (service.into(), Some(to.into()), "asked by an operator".to_owned());
    let intent = match forced {
        // What may be lost is shown, and not asked about.
        true => Intent::Failover { service, to, allow_data_loss: true, reason, dry_run: true },
        false => Intent::Switchover { service, to, reason, dry_run: true },
    };
    let planned = planned(client.intent(&intent).await?)?;
    print(format, &planned, |_| planned_text(&planned))?;
    Ok(Exit::Pending)
}

/// A plan that is not open yet.
#[derive(Serialize)]
pub struct Planned {
    #[serde(flatten)]
    pub plan: Plan,
    /// Why it leads to no other region.
    pub rejected: Vec<Rejected>,
}

pub fn planned(reply: IntentReply) -> Result<Planned, Failure> {
    match reply {
        IntentReply::Done { plan: Some(plan), rejected, .. } => Ok(Planned { plan: *plan, rejected }),
        IntentReply::Done { plan: None, .. } => Err(Failure::error("the controller made no plan")),
        IntentReply::Refused { refusal } => Err(refusal.into()),
    }
}

pub fn planned_text(planned: &Planned) -> String {
    planned.rejected.iter().fold(plan_text(&planned.plan), |text, rejected| {
        text + &format!("  not {}: {}\n", rejected.region, rejected.why)
    })
}

pub async fn explain(client: &Client, format: Format, service: String) -> Outcome {
    let answer: Answer<Explanation> =
        client.read(&Query::Explain { service: service.as_str().into() }).await?;
    let explanation = answer.document;
    print(format, &explanation, |_| explanation_text(&explanation))?;
    Ok(Exit::Done)
}

/// `plan-3` or `3`.
pub fn parse_id(text: &str) -> Result<PlanId, Failure> {
    text.strip_prefix("plan-")
        .unwrap_or(text)
        .parse()
        .map(PlanId)
        .map_err(|_| Failure::error(format!("{text:?} is no plan's name, which reads plan-3 or 3")))
}

fn list_text(records: &[PlanRecord]) -> String {
    if records.is_empty() {
        return "no plan was made yet\n".into();
    }
    let mut table = Table::new(["PLAN", "KIND", "SERVICE", "FROM", "TO", "EPOCH", "OPENED", "STATUS"]);
    for record in records {
        let plan = &record.plan;
        table.row([
            plan.id.to_string(),
            plan.kind.to_string(),
            plan.service.to_string(),
            plan.from.to_string(),
            plan.to.to_string(),
            plan.epoch.to_string(),
            rfc3339(record.opened_at),
            status_text(&record.status),
        ]);
    }
    table.render()
}

pub fn status_text(status: &PlanStatus) -> String {
    match status {
        PlanStatus::AwaitingApproval => "waits for approval".into(),
        PlanStatus::Running => "running".into(),
        PlanStatus::Done => "done".into(),
        PlanStatus::Stopped(why) => format!("stopped, a person must look: {why}"),
        PlanStatus::Cancelled(why) => format!("cancelled: {why}"),
    }
}

pub fn plan_text(plan: &Plan) -> String {
    let mut text = format!(
        "{} of {} from {} to {} at epoch {}: {}\n",
        plan.kind, plan.service, plan.from, plan.to, plan.epoch, plan.reason
    );
    for step in &plan.steps {
        let executor = match &step.executor {
            Executor::Controllers => "controllers".to_owned(),
            Executor::Agent(region) => format!("agent in {region}"),
        };
        let mark = if step.point_of_no_return { "  (point of no return)" } else { "" };
        text += &format!("  {}. {} [{executor}]{mark}\n", step.id, step.action);
    }
    if let Some(loss) = &plan.loss {
        let accepted = if plan.accepts_loss { ", which a person accepts" } else { "" };
        text += &format!("  what may be lost, by the last reports: {loss}{accepted}\n");
    }
    if plan.needs_approval {
        text += "  it waits for approval first: `failover approve PLAN`\n";
    }
    text
}

fn record_text(record: &PlanRecord) -> String {
    let mut text =
        format!("{} opened {}: {}\n", record.plan.id, rfc3339(record.opened_at), status_text(&record.status));
    text += &plan_text(&record.plan);
    text += "\n";
    let mut table = Table::new(["STEP", "STATUS", "ATTEMPT", "TOOK", "NOTE"]);
    for step in &record.plan.steps {
        let Some(done) = record.steps.get(&step.id) else {
            table.row([step.id.to_string(), "waiting".into(), "-".into(), "-".into(), String::new()]);
            continue;
        };
        let status = match done.status {
            StepStatus::Running => "running",
            StepStatus::Done => "done",
            StepStatus::Failed => "FAILED",
            StepStatus::Skipped => "SKIPPED",
        };
        let took = done
            .ended_at
            .map_or_else(|| "-".into(), |end| format!("{}ms", end.since(done.started_at).as_millis()));
        table.row([step.id.to_string(), status.into(), done.attempt.to_string(), took, done.note.clone()]);
    }
    text + &table.render()
}

fn what_if_text(what_if: &WhatIf) -> String {
    let mut text = format!("If {} were lost now:\n\n", what_if.lost);
    for explanation in &what_if.explanations {
        match what_if.plans.iter().find(|plan| plan.service == explanation.service) {
            Some(plan) => text += &plan_text(plan),
            None => {
                text +=
                    &format!("{}: nothing would be moved: {}\n", explanation.service, explanation.conclusion)
            }
        }
        for rejected in &explanation.rejected {
            text += &format!("  not {}: {}\n", rejected.region, rejected.why);
        }
        text += "\n";
    }
    text
}

pub fn explanation_text(explanation: &Explanation) -> String {
    let mut text = format!("{}: {}\n", explanation.service, explanation.conclusion);
    if !explanation.rules.is_empty() {
        text += "\nrules, in order:\n";
        for rule in &explanation.rules {
            let mark = if rule.passed { "yes" } else { "NO " };
            text += &format!("  {mark}  {}: {}\n", rule.name, rule.detail);
        }
    }
    if !explanation.opinions.is_empty() {
        text += "\nevidence:\n";
        for opinion in &explanation.opinions {
            let condition = format!("{:?}", opinion.condition).to_lowercase();
            let suspect = if opinion.counted { "" } else { " (not counted: it finds everything unhealthy)" };
            text += &format!(
                "  {} finds {} {condition}: {}{suspect}\n",
                opinion.vantage, opinion.region, opinion.reason
            );
        }
    }
    if !explanation.rejected.is_empty() {
        text += "\nalternatives rejected:\n";
        for rejected in &explanation.rejected {
            text += &format!("  {}: {}\n", rejected.region, rejected.why);
        }
    }
    text
}
