//! DNS that others serve: shifted by dynamic update, verified by asking.

use std::time::Duration;

use decision::config::DnsProvider;
use decision::dns::RecordSet;
use decision::name::DnsName;
use decision::plan::StepResult;
use failover::dns::rfc2136::{Rfc2136, Settings};
use failover::dns::tsig::{TsigKey, read_secret};
use failover::dns::{Change, Class, DnsActuator, DnsError, Outcome};
use tokio::time::Instant;

use super::{Actor, Task};

/// Between two rounds of questions, while secondaries follow.
const PAUSE: Duration = Duration::from_millis(250);
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn shift(
    actor: &Actor,
    task: &Task,
    zone: &DnsName,
    provider: &DnsProvider,
    set: &[RecordSet],
    within: Duration,
) -> StepResult {
    let DnsProvider::Rfc2136 { server, authoritative, tsig_name, tsig_algorithm, secret } = provider else {
        return StepResult::Refused {
            why: format!("zone {zone} is Regent's own: the log entry itself shifts it"),
        };
    };
    let assignment = &task.assignment;
    if actor.outage.is_of(&assignment.service) {
        return StepResult::Failed { why: format!("{server} is not asked: a drill takes it for lost") };
    }
    let key = match read_secret(secret, |name| std::env::var(name).ok())
        .await
        .and_then(|secret| TsigKey::new(tsig_name, tsig_algorithm, &secret))
    {
        Ok(key) => key,
        // A person may put it right before the next attempt.
        Err(error) => return StepResult::Failed { why: error.to_string() },
    };
    let settings = Settings { deadline: within, ..Settings::new(server, authoritative.clone(), key) };
    let change = Change {
        zone: zone.clone(),
        cluster: actor.cluster.clone(),
        service: assignment.service.clone(),
        epoch: assignment.epoch,
        generation: task.generation,
        operation: format!("{}/{}", assignment.plan, assignment.step),
        set: set.to_vec(),
    };
    match Rfc2136::new(settings, actor.host.clone()).shift(&change).await {
        Ok(shifted) => {
            let how = match shifted.outcome {
                Outcome::Applied => "shifted",
                Outcome::AlreadySo => "was so already",
            };
            StepResult::Done {
                note: format!("{how}; caches may keep the old answers for {} s", shifted.ttl_tail_s),
            }
        }
        Err(error) => failure(actor, &change, error),
    }
}

fn failure(actor: &Actor, change: &Change, error: DnsError) -> StepResult {
    let why = error.to_string();
    match error.class() {
        Class::Retry => StepResult::Failed { why },
        Class::Person => StepResult::Refused { why },
        Class::Refused => {
            // S2, S8: the journal must know, also when the plan itself is no longer open.
            actor
                .outbox
                .refuse(format!("shift of DNS in {} by {}", change.zone, change.operation), why.clone());
            StepResult::Refused { why }
        }
    }
}

/// Until every server says so, or no time is left.
pub(super) async fn verify(
    zone: &DnsName,
    servers: &[String],
    set: &[RecordSet],
    within: Duration,
) -> StepResult {
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = ASK_TIMEOUT.min(left / 2).max(Duration::from_millis(10));
        let verification = match failover::dns::verify::verify(servers, zone, set, timeout).await {
            Ok(verification) => verification,
            Err(error) => return StepResult::Refused { why: error.to_string() },
        };
        if verification.is_complete() {
            return StepResult::Done { note: format!("{} authoritative servers say so", servers.len()) };
        }
        if Instant::now() + PAUSE + timeout >= deadline {
            let reports: Vec<String> = verification
                .servers
                .iter()
                .filter(|report| report.finding != failover::dns::verify::Finding::Matches)
                .take(3)
                .map(ToString::to_string)
                .collect();
            return StepResult::Failed { why: reports.join("; ") };
        }
        tokio::time::sleep(PAUSE).await;
    }
}
