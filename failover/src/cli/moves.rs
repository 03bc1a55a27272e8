//! Moves that a person asks for, followed to their end.

use std::collections::BTreeSet;
use std::time::Duration;

use decision::plan::{Action, Plan, PlanId, PlanRecord, PlanStatus, StepStatus};
use tokio::time::Instant;
use wire::api::{Intent, IntentReply, Query};

use super::args::{Confirm, FailbackArgs, PlanVerb, SwitchoverArgs};
use super::client::{Answer, Client};
use super::confirm::confirm;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, print};
use super::plans::{parse_id, plan_text, status_text};

const LOOK_EVERY: Duration = Duration::from_millis(200);

pub async fn switchover(client: &Client, format: Format, args: SwitchoverArgs) -> Outcome {
    let SwitchoverArgs { service, to, reason, confirm } = args;
    let intent = |dry_run| Intent::Switchover {
        service: service.as_str().into(),
        to: to.as_deref().map(Into::into),
        reason: reason.clone(),
        dry_run,
    };
    go(client, format, &service, confirm, intent).await
}

pub async fn failback(client: &Client, format: Format, args: FailbackArgs) -> Outcome {
    let FailbackArgs { service, reason, confirm } = args;
    let intent =
        |dry_run| Intent::Failback { service: service.as_str().into(), reason: reason.clone(), dry_run };
    go(client, format, &service, confirm, intent).await
}

async fn go(
    client: &Client,
    format: Format,
    service: &str,
    how: Confirm,
    intent: impl Fn(bool) -> Intent,
) -> Outcome {
    let planned = plan_of(client.intent(&intent(true)).await?)?;
    if how.dry_run {
        print(format, &planned, |_| plan_text(&planned))?;
        return Ok(Exit::Pending);
    }
    eprint!("{}", plan_text(&planned));
    confirm(how.yes, &format!("this moves {service} from {} to {}", planned.from, planned.to), service)?;
    let opened = plan_of(client.intent(&intent(false)).await?)?;
    if how.no_wait {
        print(format, &opened, |_| format!("{} is open\n", opened.id))?;
        return Ok(Exit::Pending);
    }
    follow(client, opened.id, Duration::from_secs(how.timeout)).await
}

fn plan_of(reply: IntentReply) -> Result<Plan, Failure> {
    match reply {
        IntentReply::Done { plan: Some(plan), .. } => Ok(plan),
        IntentReply::Done { plan: None, .. } => Err(Failure::error("the controller made no plan")),
        IntentReply::Refused { refusal } => Err(refusal.into()),
    }
}

/// Tells of each step as it ends.
async fn follow(client: &Client, id: PlanId, within: Duration) -> Outcome {
    let deadline = Instant::now() + within;
    let mut told = BTreeSet::new();
    loop {
        let answer: Answer<PlanRecord> = client.read(&Query::Plan { id }).await?;
        let record = answer.document;
        for (step, done) in record.steps.iter().filter(|(_, done)| done.status != StepStatus::Running) {
            if told.insert((*step, done.attempt)) {
                eprintln!("step {step}: {}: {}", format!("{:?}", done.status).to_lowercase(), done.note);
            }
        }
        if !record.is_open() {
            println!("{id}: {}", status_text(&record.status));
            return Ok(exit(&record));
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(
                Exit::TimedOut,
                format!("{id} did not end within {within:?} and goes on: `failover plan {id}`"),
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn exit(record: &PlanRecord) -> Exit {
    let failed_to_verify = record.plan.steps.iter().any(|step| {
        matches!(step.action, Action::VerifyDns { .. } | Action::VerifyService { .. })
            && record.steps.get(&step.id).is_some_and(|done| done.status == StepStatus::Failed)
    });
    match record.status {
        PlanStatus::Done => Exit::Done,
        _ if failed_to_verify => Exit::VerificationFailed,
        PlanStatus::Stopped(_) if record.is_committed() => Exit::Partly,
        _ => Exit::Error,
    }
}

pub async fn approve(client: &Client, args: PlanVerb) -> Outcome {
    let plan = parse_id(&args.id)?;
    client.intent(&Intent::Approve { plan }).await?;
    println!("{plan} goes on");
    Ok(Exit::Done)
}

pub async fn cancel(client: &Client, args: PlanVerb) -> Outcome {
    let plan = parse_id(&args.id)?;
    client.intent(&Intent::Cancel { plan, why: args.why }).await?;
    println!("{plan} is cancelled");
    Ok(Exit::Done)
}
