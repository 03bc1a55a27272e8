//! Steps that agents carry out: late, repeated, stale, failing, or never answered.

use super::told;
use crate::command::{Command, Outcome, Refusal};
use crate::plan::{Epoch, PlanId, PlanStatus, StepId, StepResult, StepStatus};
use crate::testing::{Answers, World, by_dynamic_update, ms, secs, three_regions};

/// `us` was just lost, and the agent of `eu` has been given the change of DNS.
fn underway() -> World {
    let mut config = three_regions();
    by_dynamic_update(&mut config);
    let mut world = World::new(config);
    world.answers = Answers::Never;
    world.kill("us");
    world.run_for(ms(3_500));
    assert_eq!(world.plans(), ["failover us->eu"]);
    assert_eq!(world.primary("app"), "us", "not before its agent has done it");
    world
}

fn result(attempt: u32, epoch: u64, result: StepResult) -> Command {
    Command::StepDone { plan: PlanId(1), step: StepId(1), attempt, epoch: Epoch(epoch), result }
}

fn done(attempt: u32) -> Command {
    result(attempt, 2, StepResult::Done { note: "done".into() })
}

fn failed(attempt: u32) -> Command {
    result(attempt, 2, StepResult::Failed { why: "SERVFAIL".into() })
}

#[test]
fn told_twice_it_is_done_once() {
    let mut world = underway();
    let start = Command::StartStep { plan: PlanId(1), step: StepId(1), attempt: 1 };
    assert_eq!(world.apply(start.clone()), Outcome::Unchanged);
    world.must(done(1));
    assert_eq!(world.primary("app"), "eu");
    let moves = world.state.moves.clone();
    assert_eq!(world.apply(done(1)), Outcome::Unchanged);
    assert_eq!(world.apply(start), Outcome::Unchanged);
    world.answers = Answers::Done;
    world.run_for(secs(1));
    assert_eq!(world.last_plan().status, PlanStatus::Done);
    assert_eq!(world.apply(done(1)), Outcome::Unchanged, "also when the plan has ended");
    assert_eq!(world.state.moves, moves);
}

#[test]
fn a_stale_or_invented_result_is_refused() {
    let mut world = underway();
    let ok = || StepResult::Done { note: "done".into() };
    let stale = Refusal::StaleEpoch { service: "app".into(), given: Epoch(1), current: Epoch(2) };
    assert_eq!(world.apply(result(1, 1, ok())).refusal(), Some(&stale));
    let seq = world.state.journal.last_seq();
    assert_eq!(
        world.journal(seq - 1),
        ["refused: the result of plan-1 step 1 at epoch 1: epoch 1 is stale, app is at epoch 2"]
    );
    world.apply(result(1, 1, ok()));
    assert_eq!(world.state.journal.last_seq(), seq, "the same refusal fills no journal");
    let future = world.apply(done(2));
    let detail = "attempt 2 at step 1 of plan-1 has not begun".to_owned();
    assert_eq!(future.refusal(), Some(&Refusal::NotAllowed { detail }));
    let second =
        Command::StepDone { plan: PlanId(1), step: StepId(2), attempt: 1, epoch: Epoch(2), result: ok() };
    let detail = "step 2 of plan-1 may not have begun yet".to_owned();
    assert_eq!(world.apply(second).refusal(), Some(&Refusal::NotAllowed { detail }));
    assert_eq!(world.primary("app"), "us");
}

#[test]
fn no_answer_is_a_failure_and_tried_again_with_patience() {
    let mut world = underway();
    let before = world.state.journal.last_seq();
    world.run_for(ms(10_000));
    assert_eq!(world.journal(before), ["plan-1 step 1: failed: no answer within 10s"]);
    assert_eq!(world.decide().wake_at, Some(world.now + ms(250)));
    world.run_for(ms(250));
    assert_eq!(world.last_plan().steps[&StepId(1)].attempt, 2);
    world.run_for(secs(60));
    let why =
        "step 1 (shift DNS in example.test: app.example.test A 192.0.2.2 (eu)) failed: no answer within 10s";
    assert_eq!(world.state.plans[&PlanId(1)].status, PlanStatus::Stopped(why.into()));
    assert_eq!(world.plans(), ["failover us->eu", "failover us->ap"], "another region may do better");
}

#[test]
fn a_move_that_failed_everywhere_is_tried_again_after_the_hold_down() {
    let mut world = underway();
    world.answers = Answers::Fail;
    world.run_for(secs(10));
    assert_eq!(world.plans().len(), 2);
    assert_eq!(
        world.conclusion("app"),
        "no region is eligible (eu: plan-1 to it stopped less than 1m ago; ap: plan-2 to it stopped less than 1m ago)"
    );
    world.answers = Answers::Done;
    world.run_for(secs(60));
    assert_eq!(world.primary("app"), "eu");
}

#[test]
fn a_late_success_counts_and_a_late_failure_does_not() {
    let mut world = underway();
    world.run_for(ms(10_000));
    assert_eq!(world.last_plan().steps[&StepId(1)].status, StepStatus::Failed);
    let mut early = world.clone();
    early.must(done(1));
    assert_eq!(early.primary("app"), "eu", "between two attempts");

    world.run_for(ms(250));
    assert_eq!(world.apply(failed(1)), Outcome::Unchanged);
    assert_eq!(world.last_plan().steps[&StepId(1)].status, StepStatus::Running);
    world.must(done(1));
    assert_eq!(world.primary("app"), "eu", "while another attempt runs");
}

#[test]
fn refused_by_a_safety_rule_is_not_tried_again() {
    let mut world = underway();
    world.must(result(1, 2, StepResult::Refused { why: "the zone holds epoch 7".into() }));
    let stopped = world.state.plans[&PlanId(1)].status.clone();
    let why = "step 1 (shift DNS in example.test: app.example.test A 192.0.2.2 (eu)) failed: the zone holds epoch 7";
    assert_eq!(stopped, PlanStatus::Stopped(why.into()));
}

#[test]
fn past_its_point_of_no_return_a_plan_cannot_be_cancelled() {
    let mut world = underway();
    let outcome = world.apply(Command::Cancel { plan: PlanId(1), why: "no".into() });
    let detail = "plan-1 is past its point of no return; when it has ended, `failover failback` goes home";
    assert_eq!(outcome.refusal(), Some(&Refusal::NotAllowed { detail: detail.into() }));
    let status = PlanStatus::Cancelled("no".into());
    assert!(world.apply(Command::EndPlan { plan: PlanId(1), status }).refusal().is_some());
    let early = world.apply(Command::EndPlan { plan: PlanId(1), status: PlanStatus::Done });
    let detail = "plan-1 has steps that are not done".to_owned();
    assert_eq!(early.refusal(), Some(&Refusal::NotAllowed { detail }));
}

#[test]
fn a_result_after_cancelling_is_refused() {
    let mut config = three_regions();
    by_dynamic_update(&mut config);
    let mut world = World::new(config);
    let plan = crate::decide::switchover(&world.state, world.now, &"app".into(), None, "t".into()).unwrap();
    let epoch = plan.epoch.0;
    world.must(Command::OpenPlan { plan, explanation: None });
    world.must(Command::Cancel { plan: PlanId(1), why: "no".into() });
    let outcome = world.apply(result(1, epoch, StepResult::Done { note: "done".into() }));
    assert_eq!(outcome.refusal(), Some(&Refusal::NotAllowed { detail: "plan-1 has ended".into() }));
    assert_eq!(world.primary("app"), "us");
}

#[test]
fn a_target_that_dies_midway_gives_way_to_the_next() {
    let mut world = underway();
    world.kill("eu");
    world.now = world.now + secs(1);
    // With two of three regions gone nobody may conclude anything.
    world.run_for(secs(9));
    assert_eq!(world.plans(), ["failover us->eu"]);

    let mut world = underway();
    world.break_service("app", "eu");
    world.answers = Answers::Done;
    world.answers = Answers::Never;
    world.run_for(secs(4));
    assert_eq!(
        world.state.plans[&PlanId(1)].status,
        PlanStatus::Stopped("app died in eu before the move took effect".into())
    );
    assert_eq!(world.plans(), ["failover us->eu", "failover us->ap"]);
}

#[test]
fn a_plan_has_only_so_much_time() {
    let mut config = three_regions();
    by_dynamic_update(&mut config);
    config.strategy.recovery_timeout = secs(15);
    let mut world = World::new(config);
    world.answers = Answers::Never;
    world.kill("us");
    world.run_for(ms(3_500));
    world.run_for(ms(15_000));
    let why = "it was not done within the recovery timeout of 15s".to_owned();
    assert_eq!(world.state.plans[&PlanId(1)].status, PlanStatus::Stopped(why));
}

/// Crash before, during and after: whatever part of a decision was committed, the next leader's
/// decision completes it to the same end.
#[test]
fn a_decision_cut_off_anywhere_is_completed_by_the_next_leader() {
    let mut world = World::new(three_regions());
    world.kill("us");
    world.listen();
    world.now = world.now + secs(4);
    world.listen();
    let whole = world.decide().commands;
    let mut ends = Vec::new();
    for committed in 0..=whole.len() {
        let mut cut = world.clone();
        for command in &whole[..committed] {
            cut.must(command.clone());
        }
        // The next leader has heard of nobody but begins its own memory.
        cut.view.heard.clear();
        cut.view.since = cut.now;
        cut.run_for(secs(10));
        assert_eq!(cut.plans(), ["failover us->eu"], "after {committed} of {:?}", told(&whole));
        ends.push((cut.primary("app").to_owned(), cut.epoch("app"), cut.last_plan().status.clone()));
    }
    assert!(ends.iter().all(|end| *end == ("eu".into(), 2, PlanStatus::Done)), "{ends:?}");
}
