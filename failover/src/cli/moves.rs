//! Moves that a person asks for, followed to their end.

use std::collections::BTreeSet;
use std::time::Duration;

use decision::plan::{Action, Plan, PlanId, PlanRecord, PlanStatus, StepStatus};
use tokio::time::Instant;
use wire::api::{Intent, Query};

use super::args::{Confirm, FailbackArgs, FailoverArgs, PlanVerb, SwitchoverArgs};
use super::client::{Answer, Client};
use super::confirm::confirm;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, print};
use super::plans::{parse_id, planned, planned_text, status_text};

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

pub async fn failover(client: &Client, format: Format, args: FailoverArgs) -> Outcome {
    let FailoverArgs { service, to, allow_data_loss, reason, confirm } = args;
    let intent = |dry_run| Intent::Failover {
        service: service.as_str().into(),
        to: to.as_deref().map(Into::into),
        allow_data_loss,
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
    let planned = planned(client.intent(&intent(true)).await?)?;
    if how.dry_run {
        print(format, &planned, |_| planned_text(&planned))?;
        return Ok(Exit::Pending);
    }
    eprint!("{}", planned_text(&planned));
    confirm(how.yes, &question(&planned.plan), service)?;
    let opened = self::planned(client.intent(&intent(false)).await?)?.plan;
    if how.no_wait {
        print(format, &opened, |_| format!("{} is open\n", opened.id))?;
        return Ok(Exit::Pending);
    }
    follow(client, opened.id, Duration::from_secs(how.timeout)).await
}

fn question(plan: &Plan) -> String {
    let Plan { service, from, to, .. } = plan;
    let loss = match (plan.accepts_loss, &plan.loss) {
        (true, Some(loss)) => format!(", and gives up what {to} lacks ({loss})"),
        (true, None) => format!(", and gives up whatever {to} lacks"),
        (false, _) => String::new(),
    };
    match from == to {
        true => format!("this has the database of {service} go on in {to}{loss}"),
        false => format!("this moves {service} from {from} to {to}{loss}"),
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
        matches!(
            step.action,
            Action::VerifyDns { .. } | Action::VerifyService { .. } | Action::VerifyWrite { .. }
        ) && record.steps.get(&step.id).is_some_and(|done| done.status == StepStatus::Failed)
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
