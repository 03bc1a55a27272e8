use decision::command::AgentInfo;
use decision::event::Event;
use decision::evidence::{Condition, Finding};
use decision::name::AgentId;
use decision::testing::{World, secs, three_regions};
use tokio::time::timeout;

use super::*;
use crate::testing::{Group, SOON, refused};

const US_IS_LOST: &str = "failover of app to eu at epoch 2";

async fn commit(controller: &Controller, command: Command) {
    let outcome = controller.propose(command, "test", SOON).await.unwrap();
    assert_eq!(outcome.refusal(), None);
}

/// All that a leader needs to move `app` out of `us`, committed; nobody has decided yet.
async fn lose_us(leader: &Controller) {
    let config = three_regions();
    let findings = config.checks.iter().map(|check| Finding {
        check: check.id.clone(),
        condition: if check.region == "us".into() { Condition::Unhealthy } else { Condition::Healthy },
        age: secs(60),
        reason: "looked".into(),
    });
    let findings: Vec<Finding> = findings.collect();
    commit(leader, Command::SetConfig { parent_generation: 0, config: Box::new(config) }).await;
    for region in ["us", "eu", "ap"] {
        let agent = AgentId::new(region, 1);
        commit(leader, Command::OpenSession { agent, info: AgentInfo::default() }).await;
    }
    for region in ["eu", "ap"] {
        let (vantage, findings) = (AgentId::new(region, 1), findings.clone());
        commit(leader, Command::Evidence { vantage, findings }).await;
    }
    commit(leader, Command::LoseSession { agent: AgentId::new("us", 1) }).await;
}

/// What the rules say on the loss of `us`, from the opening of the plan on.
fn decided() -> Vec<Command> {
    let mut world = World::new(three_regions());
    world.kill("us");
    world.listen();
    world.now = world.now + secs(4);
    world.listen();
    world.decide().commands
}

/// To whom, what and why it was refused, of a stale decision of `stale`.
fn told_of(stale: &Controller, term: u64) -> (String, String, String) {
    let (id, region) = (stale.node.id(), &stale.region);
    let why = format!("member {id} no longer leads: its term {term} is over");
    (format!("controller/{region}/{id}"), US_IS_LOST.into(), why)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stale_leader_decided_is_journalled_as_refused_and_not_done() {
    let group = Group::formed(3).await;
    let stale = group.leader().await;
    let term = stale.node.status().term;
    stale.heard.begin(term, stale.host.clock.now(), stale.state().now);
    lose_us(&stale).await;
    // It was away meanwhile: its memory is that of a leader, and it looks once more.
    stale.node.hand_over(None, SOON).await.expect("another takes over");
    let shutdown = CancellationToken::new();
    let lost =
        timeout(SOON, lead(&stale, term, &shutdown)).await.expect("it finds out").expect("what it decided");
    assert!(lost.iter().any(|command| matches!(command, Command::OpenPlan { .. })), "{lost:?}");

    report(&stale, term, &lost).await;
    let expected = vec![told_of(&stale, term)];
    for controller in group.controllers.values() {
        let id = controller.node.id();
        group.until("word of it everywhere", |at| at.node.id() == id && refused(at) == expected).await;
        let state = controller.state();
        assert!(state.plans.is_empty());
        assert!(!state.journal.entries().any(|entry| matches!(entry.event, Event::PlanOpened { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_decision_is_told_as_soon_as_a_leader_is_known() {
    let group = Group::start(3).await;
    let stale = group.controllers[&2].clone();
    let telling = tokio::spawn({
        let stale = stale.clone();
        async move { report(&stale, 7, &decided()).await }
    });
    assert!(stale.node.leader().is_none() && !telling.is_finished());
    group.form().await;
    timeout(SOON, telling).await.expect("somebody leads").unwrap();
    assert_eq!(refused(&*group.leader().await), [told_of(&stale, 7)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_a_step_is_told_and_what_moves_nothing_is_not() {
    let group = Group::formed(1).await;
    let leader = group.leader().await;
    let quiet = [Command::LoseSession { agent: AgentId::new("us", 1) }, Command::Note { text: "x".into() }];
    report(&leader, 3, &quiet).await;
    assert_eq!(refused(&leader), []);
    let steps: Vec<Command> =
        decided().into_iter().filter(|command| matches!(command, Command::StepDone { .. })).collect();
    report(&leader, 3, &steps).await;
    let [(_, what, why)] = &refused(&leader)[..] else { panic!("{:?}", refused(&leader)) };
    assert_eq!(what, "plan-1 step 1 at epoch 2");
    assert_eq!(why, "member 1 no longer leads: its term 3 is over");
}
