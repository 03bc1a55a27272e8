//! What only the leader can do: commit, make plans, answer what would happen.

use std::time::Duration;

use decision::command::{Command, Refusal};
use decision::decide::{self, decide};
use decision::name::RegionName;
use decision::plan::Plan;
use wire::api::{ForwardAnswer, Forwarded, Intent, IntentReply, Query};

use crate::controller::{Attempt, Controller};
use crate::raft::{Member, MembersError};

/// Executed here, by the leader.
pub async fn forwarded(
    controller: &Controller,
    what: Forwarded,
    by: &str,
    within: Duration,
) -> Result<ForwardAnswer, Attempt> {
    match what {
        Forwarded::Command { command } => {
            let outcome = controller.propose(command, by, within).await?;
            Ok(ForwardAnswer::Outcome { outcome })
        }
        Forwarded::Intent { intent } => {
            let reply = self::intent(controller, intent, by, within).await?;
            Ok(ForwardAnswer::Intent { reply })
        }
        Forwarded::Query { query } => self::query(controller, query),
    }
}

/// Questions whose answer needs the leader's memory.
fn query(controller: &Controller, query: Query) -> Result<ForwardAnswer, Attempt> {
    let (view, now) = controller.heard.view().ok_or(Attempt::NotLeader)?;
    let state = controller.state();
    match query {
        Query::IfLost { region } => Ok(match decide::if_lost(&state, &view, now, &region) {
            Ok(what_if) => ForwardAnswer::IfLost { what_if: Box::new(what_if) },
            Err(refusal) => ForwardAnswer::Refused { refusal },
        }),
        Query::Explain { service } => {
            let found = decide(&state, &view, now).explanations.remove(&service);
            Ok(match found {
                Some(explanation) => ForwardAnswer::Explanation { explanation },
                None => ForwardAnswer::Refused {
                    refusal: Refusal::Unknown { what: format!("service {service}") },
                },
            })
        }
        query => Err(Attempt::Failed(format!("any controller answers {query:?}"))),
    }
}

async fn intent(
    controller: &Controller,
    intent: Intent,
    by: &str,
    within: Duration,
) -> Result<IntentReply, Attempt> {
    let now = controller.heard.now().ok_or(Attempt::NotLeader)?;
    let state = controller.state();
    let command = match intent {
        Intent::SetConfig { parent_generation, config } => Command::SetConfig { parent_generation, config },
        Intent::Switchover { service, to, reason, dry_run } => {
            let plan = decide::switchover(&state, now, &service, to.as_ref(), reason);
            return open(controller, plan, dry_run, by, within).await;
        }
        Intent::Failback { service, reason, dry_run } => {
            let plan = decide::failback(&state, now, &service, reason);
            return open(controller, plan, dry_run, by, within).await;
        }
        Intent::Approve { plan } => Command::Approve { plan },
        Intent::Cancel { plan, why } => Command::Cancel { plan, why },
        Intent::Pause { why } => Command::Pause { why },
        Intent::Resume => Command::Resume,
        Intent::Drain { region, why } => Command::Drain { region, why },
        Intent::Undrain { region } => Command::Undrain { region },
        Intent::Note { text } => Command::Note { text },
        Intent::AddMember { member, region, grpc, witness } => {
            return add_member(controller, member, region, grpc, witness, by, within).await;
        }
        Intent::RemoveMember { member } => {
            let done = controller.node.remove_member(member, within).await;
            return membership(controller, done, format!("member {member} removed"), by, within).await;
        }
        Intent::TransferLeadership { .. } => {
            return Ok(match controller.node.hand_over(within).await {
                Some(_) => IntentReply::Done { outcome: decision::command::Outcome::Unchanged, plan: None },
                None => not_allowed("no other member took leadership".into()),
            });
        }
    };
    let outcome = controller.propose(command, by, within).await?;
    Ok(match outcome.refusal() {
        Some(refusal) => IntentReply::Refused { refusal: refusal.clone() },
        None => IntentReply::Done { outcome, plan: None },
    })
}

async fn open(
    controller: &Controller,
    plan: Result<Plan, Refusal>,
    dry_run: bool,
    by: &str,
    within: Duration,
) -> Result<IntentReply, Attempt> {
    let plan = match plan {
        Ok(plan) => plan,
        Err(refusal) => return Ok(IntentReply::Refused { refusal }),
    };
    if dry_run {
        let outcome = decision::command::Outcome::Unchanged;
        return Ok(IntentReply::Done { outcome, plan: Some(plan) });
    }
    let command = Command::OpenPlan { plan: plan.clone(), explanation: None };
    let outcome = controller.propose(command, by, within).await?;
    Ok(match outcome.refusal() {
        Some(refusal) => IntentReply::Refused { refusal: refusal.clone() },
        None => IntentReply::Done { outcome, plan: Some(plan) },
    })
}

async fn add_member(
    controller: &Controller,
    id: u64,
    region: RegionName,
    grpc: String,
    witness: bool,
    by: &str,
    within: Duration,
) -> Result<IntentReply, Attempt> {
    let member = Member { region: region.0.clone(), grpc, witness };
    let note = format!("member {id} added in {region} at {}", member.grpc);
    let done = controller.node.add_voter(id, member, within).await;
    membership(controller, done, note, by, within).await
}

/// Changes of members are Raft's own entries; the journal hears of them by a note.
async fn membership(
    controller: &Controller,
    done: Result<(), MembersError>,
    note: String,
    by: &str,
    within: Duration,
) -> Result<IntentReply, Attempt> {
    match done {
        Ok(()) => {
            let outcome = controller.propose(Command::Note { text: note }, by, within).await?;
            Ok(IntentReply::Done { outcome, plan: None })
        }
        Err(MembersError::NotLeader { .. }) => Err(Attempt::NotLeader),
        Err(MembersError::Refused { why }) => Ok(not_allowed(why)),
        Err(error @ MembersError::Unknown { .. }) => Err(Attempt::Unknown(error.to_string())),
        Err(error) => Err(Attempt::Failed(error.to_string())),
    }
}

fn not_allowed(detail: String) -> IntentReply {
    IntentReply::Refused { refusal: Refusal::NotAllowed { detail } }
}
