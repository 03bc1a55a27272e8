//! The primary is lost, whole or in part.

use super::told;
use crate::command::Command;
use crate::plan::{Action, Executor, PlanStatus};
use crate::testing::{World, five_regions, ms, secs, three_regions, two_and_a_witness};
use crate::verdict::Verdict;

#[test]
fn a_lost_primary_region_is_one_decision_from_verdict_to_changed_zone() {
    let mut world = World::new(three_regions());
    assert_eq!(world.answers_for("app.example.test"), ["us=100"]);
    world.kill("us");
    // Probes failed from the first moment on and are known after 2 s; the session ends after 2.5 s,
    // the detection timeout after 3.5 s. Heard of each, but not of what follows from it:
    world.run_for(ms(3_499));
    assert_eq!(world.primary("app"), "us");
    let waiting = world.decide();
    assert_eq!(told(&waiting.commands), [""; 0]);
    assert_eq!(waiting.wake_at, Some(world.now + ms(1)));
    assert_eq!(world.conclusion("app"), "the detection timeout of 3.5s has not passed yet");

    world.now = world.now + ms(1);
    world.listen();
    let decision = world.decide();
    assert_eq!(
        told(&decision.commands),
        [
            "open failover app us->eu epoch 2",
            "plan-1 step 1 done",
            "start plan-1 step 2 attempt 1",
            "start plan-1 step 3 attempt 1",
        ]
    );
    for command in decision.commands {
        world.must(command);
    }
    assert_eq!(world.primary("app"), "eu");
    assert_eq!(world.epoch("app"), 2);
    assert_eq!(world.answers_for("app.example.test"), ["eu=100"]);
    let steps: Vec<_> = world.last_plan().plan.steps.iter().map(|step| step.executor.clone()).collect();
    assert_eq!(
        steps,
        [Executor::Controllers, Executor::Agent("eu".into()), Executor::Agent("ap".into())],
        "the service is verified from a third region"
    );
    let Action::VerifyDns { servers, .. } = &world.last_plan().plan.steps[1].action else { panic!() };
    assert_eq!(servers.len(), 2, "dead servers are not asked");

    world.run_for(secs(1));
    assert_eq!(world.last_plan().status, PlanStatus::Done);
    assert_eq!(world.conclusion("app"), "the primary is healthy");
}

#[test]
fn all_of_it_in_one_decision_when_the_news_comes_at_once() {
    let mut world = World::new(three_regions());
    world.kill("us");
    world.listen();
    world.now = world.now + secs(4);
    world.listen();
    assert_eq!(
        told(&world.decide().commands),
        [
            "lose us/1",
            "us is dead",
            "app in us is dead",
            "open failover app us->eu epoch 2",
            "plan-1 step 1 done",
            "start plan-1 step 2 attempt 1",
            "start plan-1 step 3 attempt 1",
        ]
    );
}

#[test]
fn a_dead_service_in_a_living_region_is_moved() {
    let mut world = World::new(three_regions());
    world.break_service("app", "us");
    world.run_for(secs(5));
    assert_eq!(world.plans(), ["failover us->eu"]);
    assert_eq!(world.state.region_verdict(&"us".into()), Verdict::Healthy);
    assert_eq!(world.primary("app"), "eu");
}

#[test]
fn with_a_witness_two_regions_fail_over() {
    let mut world = World::new(two_and_a_witness());
    world.kill("us");
    world.run_for(secs(5));
    assert_eq!(world.plans(), ["failover us->eu"]);
    assert_eq!(world.last_plan().status, PlanStatus::Done);
}

#[test]
fn five_regions_survive_two_lost_at_once() {
    let mut world = World::new(five_regions());
    world.kill("us");
    world.kill("eu");
    world.run_for(secs(5));
    assert_eq!(world.plans(), ["failover us->ap"]);
}

#[test]
fn three_lost_of_five_leave_no_majority() {
    let mut world = World::new(five_regions());
    for region in ["us", "eu", "ap"] {
        world.kill(region);
    }
    world.run_for(secs(60));
    assert_eq!(world.plans(), [""; 0]);
    assert_eq!(
        world.conclusion("app"),
        "nothing certain is known of us: 2 of 5 vantages can speak, 3 are needed"
    );
}

#[test]
fn a_lost_agent_alone_moves_nothing() {
    let mut world = World::new(three_regions());
    let before = world.state.journal.last_seq();
    world.silence("us");
    world.run_for(secs(60));
    assert_eq!(world.plans(), [""; 0]);
    let held = "us is partitioned, not dead: its agent's session is gone, but 0 of 2 other vantages find it unhealthy";
    assert_eq!(world.conclusion("app"), held);
    let journal = world.journal(before);
    let holds = journal.iter().filter(|line| line.contains("not moved")).collect::<Vec<_>>();
    assert_eq!(holds, [&format!("app: not moved: {held}")], "told once");
}

#[test]
fn a_region_that_only_its_own_agent_reaches_is_partitioned_not_dead() {
    let mut world = World::new(three_regions());
    world.cut("eu", "us");
    world.cut("ap", "us");
    world.run_for(secs(60));
    assert_eq!(world.plans(), [""; 0]);
    assert_eq!(world.state.region_verdict(&"us".into()), Verdict::Partitioned);
    assert_eq!(
        world.conclusion("app"),
        "us is partitioned, not dead: 2 of 3 vantages find it unhealthy, but the region's own agent reaches it"
    );
}

#[test]
fn a_service_that_is_served_stays_though_agent_and_endpoints_died() {
    let mut world = World::new(three_regions());
    world.silence("us");
    world.listen();
    // The others find the region's endpoint dead, and the service alive.
    for vantage in ["eu", "ap"] {
        let check = "us/endpoint/1".into();
        let finding = crate::evidence::Finding {
            check: crate::name::CheckId::clone(&check),
            condition: crate::evidence::Condition::Unhealthy,
            age: secs(10),
            reason: "refused".into(),
        };
        let vantage = crate::name::AgentId::new(vantage, 1);
        world.must(Command::Evidence { vantage, findings: vec![finding] });
    }
    world.now = world.now + secs(3);
    world.view.heard.insert(crate::name::AgentId::new("eu", 1), world.now);
    world.view.heard.insert(crate::name::AgentId::new("ap", 1), world.now);
    assert_eq!(
        told(&world.decide().commands),
        [
            "lose us/1",
            "us is dead",
            "app in us is partitioned",
            "hold app: us is partitioned, not dead: the region looks dead, but 0 of 2 vantages find it unhealthy",
        ]
    );
}
