//! What only the leader can do: commit, make plans, answer what would happen.

use std::time::Duration;

use decision::command::{Command, Outcome, Refusal};
use decision::config::check::contradictions;
use decision::decide::{self, decide, decide_told, waiting};
use decision::drill::guard;
use decision::explain::Rejected;
use decision::name::RegionName;
use decision::plan::Plan;
use decision::state::State;
use wire::api::{ForwardAnswer, Forwarded, Intent, IntentReply, Query};

use crate::controller::{Attempt, Controller};
use crate::raft::{Member, MembersError};
use crate::telling::Told;
use crate::view;

/// Executed here, by the leader.
pub async fn forwarded(
    controller: &Controller,
    what: Forwarded,
    by: &str,
    within: Duration,
) -> Result<ForwardAnswer, Attempt> {
    match what {
        Forwarded::Command { command } => {
            let state = controller.state();
            let under_way =
                waiting(&state, &command).map(|service| controller.telling.begin(service, &command));
            let then = match &under_way {
                Some(under_way) => what_follows(controller, &state, &under_way.with_those_before()),
                None => Vec::new(),
            };
            let outcome = match (then.is_empty(), &under_way) {
                (false, Some(under_way)) => {
                    commit_with(controller, under_way, *command, then, within).await?
                }
                _ => commit(controller, *command, by, within).await?,
            };
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
    let (heard, now) = controller.heard.view().ok_or(Attempt::NotLeader)?;
    let state = controller.state();
    match query {
        Query::IfLost { region } => Ok(match decide::if_lost(&state, &heard, now, &region) {
            Ok(what_if) => ForwardAnswer::IfLost { what_if: Box::new(what_if) },
            Err(refusal) => ForwardAnswer::Refused { refusal },
        }),
        Query::Explain { service } => {
            let found = decide(&state, &heard, now).explanations.remove(&service);
            Ok(match found {
                Some(explanation) => ForwardAnswer::Explanation { explanation },
                None => ForwardAnswer::Refused {
                    refusal: Refusal::Unknown { what: format!("service {service}") },
                },
            })
        }
        Query::Leases => Ok(ForwardAnswer::Leases { leases: view::leases(&state, &heard, now) }),
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
            let rejected = || decide::movable(&state, now, &service);
            return open(controller, plan, dry_run.then(rejected), by, within).await;
        }
        Intent::Failback { service, reason, dry_run } => {
            let plan = decide::failback(&state, now, &service, reason);
            return open(controller, plan, dry_run.then(Vec::new), by, within).await;
        }
        Intent::Failover { service, to, allow_data_loss, reason, dry_run } => {
            let plan = decide::force(&state, now, &service, to.as_ref(), allow_data_loss, reason);
            let rejected = || decide::forceable(&state, now, &service);
            return open(controller, plan, dry_run.then(rejected), by, within).await;
        }
        Intent::Reinit { service, region } => {
            // No entry of the log has had it, nor will an earlier wish.
            Command::Reinit { service, region, number: state.index + 1 }
        }
        Intent::Approve { plan } => Command::Approve { plan },
        Intent::Cancel { plan, why } => Command::Cancel { plan, why },
        Intent::Pause { why } => Command::Pause { why },
        Intent::Resume => Command::Resume,
        Intent::Drain { region, why } => Command::Drain { region, why },
        Intent::Undrain { region } => Command::Undrain { region },
        Intent::Note { text } => Command::Note { text },
        Intent::BeginDrill { drill, wish, dry_run } => match guard::obstacles(&state, &wish, now) {
            obstacles if !obstacles.is_empty() => return Ok(not_allowed(obstacles.join("; "))),
            _ if dry_run => return Ok(done(Outcome::Unchanged, None)),
            _ => Command::BeginDrill { drill, wish },
        },
        Intent::RenewDrill { drill } => Command::RenewDrill { drill },
        Intent::EndDrill { drill, why } => Command::EndDrill { drill, why, by_guard: false },
        Intent::ReportDrill { drill, report } => Command::ReportDrill { drill, report },
        Intent::AddMember { member, region, grpc, witness } => {
            return add_member(controller, member, region, grpc, witness, by, within).await;
        }
        Intent::RemoveMember { member } => {
            let done = controller.node.remove_member(member, within).await;
            return membership(controller, done, format!("member {member} removed"), by, within).await;
        }
        Intent::TransferLeadership { to } => {
            if to == Some(controller.node.id()) {
                return Ok(done(Outcome::Unchanged, None));
            }
            return Ok(match controller.node.hand_over(to, within).await {
                // Another than was asked for may have been elected meanwhile.
                Some(leader) if to.is_none_or(|to| to == leader) => done(Outcome::Unchanged, None),
                _ => not_allowed(match to {
                    Some(to) => format!("member {to} did not take leadership: is it a voter, and up?"),
                    None => "no other member took leadership".into(),
                }),
            });
        }
    };
    let outcome = commit(controller, command, by, within).await?;
    Ok(match outcome.refusal() {
        Some(refusal) => IntentReply::Refused { refusal: refusal.clone() },
        None => done(outcome, None),
    })
}

fn what_follows(controller: &Controller, state: &State, told: &[Command]) -> Vec<Command> {
    let Some((view, now)) = controller.heard.view() else { return Vec::new() };
    decide_told(state, &view, now, told)
}

/// Commits what an agent told and what follows from it, and gives what became of the former.
async fn commit_with(
    controller: &Controller,
    under_way: &Told<'_>,
    told: Command,
    then: Vec<Command>,
    within: Duration,
) -> Result<Outcome, Attempt> {
    let by = controller.name();
    crate::leader::trace(&then);
    let batch = Command::Batch { commands: std::iter::once(told).chain(then).collect() };
    under_way.becomes(&batch);
    match controller.propose(batch, &by, within).await? {
        Outcome::Batch { outcomes } => {
            let first = outcomes.into_iter().next();
            first.ok_or_else(|| Attempt::Failed("a batch of nothing was committed".into()))
        }
        other => Ok(other),
    }
}

/// Commits what others want, unless it would put a configuration that contradicts itself into the log;
/// then the journal hears of the refusal instead.
async fn commit(
    controller: &Controller,
    command: Command,
    by: &str,
    within: Duration,
) -> Result<Outcome, Attempt> {
    let Some((parent, detail)) = contradictory(&command) else {
        return Ok(controller.propose(command, by, within).await?);
    };
    let what = format!("a configuration after generation {parent}");
    let refusal = Refusal::Contradictory { detail };
    let told = Command::ReportRefusal { what, why: refusal.to_string() };
    controller.propose(told, by, within).await?;
    Ok(Outcome::Refused { refusal })
}

/// The generation that it was to follow, and what is wrong with it.
fn contradictory(command: &Command) -> Option<(u64, String)> {
    match command {
        Command::SetConfig { parent_generation, config } => {
            contradictions(config).map(|detail| (*parent_generation, detail))
        }
        Command::Batch { commands } => commands.iter().find_map(contradictory),
        _ => None,
    }
}

/// `rejected`: of a dry run, which opens nothing.
async fn open(
    controller: &Controller,
    plan: Result<Plan, Refusal>,
    rejected: Option<Vec<Rejected>>,
    by: &str,
    within: Duration,
) -> Result<IntentReply, Attempt> {
    let plan = match plan {
        Ok(plan) => plan,
        Err(refusal) => return Ok(IntentReply::Refused { refusal }),
    };
    if let Some(mut rejected) = rejected {
        rejected.retain(|rejected| rejected.region != plan.to);
        return Ok(IntentReply::Done { outcome: Outcome::Unchanged, plan: Some(Box::new(plan)), rejected });
    }
    let command = Command::OpenPlan { plan: plan.clone(), explanation: None };
    let outcome = controller.propose(command, by, within).await?;
    Ok(match outcome.refusal() {
        Some(refusal) => IntentReply::Refused { refusal: refusal.clone() },
        None => done(outcome, Some(plan)),
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
    changed: Result<(), MembersError>,
    note: String,
    by: &str,
    within: Duration,
) -> Result<IntentReply, Attempt> {
    match changed {
        Ok(()) => {
            let outcome = controller.propose(Command::Note { text: note }, by, within).await?;
            Ok(done(outcome, None))
        }
        Err(MembersError::NotLeader { .. }) => Err(Attempt::NotLeader),
        Err(MembersError::Refused { why }) => Ok(not_allowed(why)),
        Err(error @ MembersError::Unknown { .. }) => Err(Attempt::Unknown(error.to_string())),
        Err(error) => Err(Attempt::Failed(error.to_string())),
    }
}

fn done(outcome: Outcome, plan: Option<Plan>) -> IntentReply {
    IntentReply::Done { outcome, plan: plan.map(Box::new), rejected: Vec::new() }
}

fn not_allowed(detail: String) -> IntentReply {
    IntentReply::Refused { refusal: Refusal::NotAllowed { detail } }
}

#[cfg(test)]
mod tests {
    use decision::testing::three_regions;
    use wire::identity::Identity;
    use wire::proto::regent::v1 as pb;
    use wire::proto::regent::v1::operator_client::OperatorClient;

    use super::*;
    use crate::documents::Faces;
    use crate::http::Backend;
    use crate::testing::{Group, SOON, refused};

    /// Fits no probe.
    fn contradicts_itself() -> Intent {
        let mut config = three_regions();
        config.strategy.detection_timeout = Duration::from_millis(1);
        Intent::SetConfig { parent_generation: 0, config: Box::new(config) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_configuration_that_contradicts_itself_never_gets_into_the_log() {
        let group = Group::formed(3).await;
        let leader = group.leader().await;
        leader.heard.begin(leader.node.status().term, leader.host.clock.now(), leader.state().now);
        let follower = group.until("a follower", |controller| !controller.node.is_leader()).await;
        let ann = Identity::Operator { name: "ann".into() };
        let Intent::SetConfig { parent_generation, config } = contradicts_itself() else { panic!() };

        // By gRPC with an operator's certificate, by the HTTP face, and as another controller forwards it.
        let mut stub = OperatorClient::new(group.channel(&ann, follower.node.id()));
        let json = serde_json::to_vec(&contradicts_itself()).unwrap();
        let document = stub.r#do(pb::DoRequest { json: json.into() }).await.unwrap().into_inner();
        let by_grpc: IntentReply = serde_json::from_slice(&document.json).unwrap();
        let by_http =
            Faces(follower.clone()).intent(contradicts_itself(), "operator/bob".into()).await.unwrap();
        for reply in [by_grpc, by_http] {
            let IntentReply::Refused { refusal: Refusal::Contradictory { detail } } = &reply else {
                panic!("{reply:?}");
            };
            assert!(detail.starts_with("failover_strategy.detection_timeout: "), "{detail}");
        }
        let set = Command::SetConfig { parent_generation, config };
        let command = Command::Batch { commands: vec![set] };
        let outcome = follower.submit(command, "operator/eve", SOON).await.unwrap();
        assert!(matches!(outcome.refusal(), Some(Refusal::Contradictory { .. })), "{outcome:?}");

        let journalled = refused(&leader);
        let by: Vec<&str> = journalled.iter().map(|(by, ..)| by.as_str()).collect();
        assert_eq!(by, ["operator/ann", "operator/bob", "operator/eve"]);
        for (_, what, why) in &journalled {
            assert_eq!(what, "a configuration after generation 0");
            assert!(why.starts_with("the configuration contradicts itself: "), "{why}");
        }
        assert_eq!(leader.state().config_generation, 0);

        // One without contradictions goes the same ways.
        let sound = Intent::SetConfig { parent_generation: 0, config: Box::new(three_regions()) };
        let reply = Faces(follower).intent(sound, "operator/bob".into()).await.unwrap();
        assert!(matches!(reply, IntentReply::Done { .. }), "{reply:?}");
        assert_eq!(leader.state().config_generation, 1);
    }
}
