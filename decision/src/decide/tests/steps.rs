//! Steps that agents carry out: late, repeated, stale, failing, or never answered.

use super::told;
use crate::command::{Command, Outcome};
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

/// The first plan that moves something.
fn id(world: &World) -> PlanId {
    let mut plans = world.state.plans.values();
    plans.find(|record| record.plan.kind.moves_primary()).expect("a move was planned").plan.id
}

fn epoch(world: &World) -> u64 {
    world.state.plans[&id(world)].plan.epoch.0
}

fn status(world: &World) -> &PlanStatus {
    &world.state.plans[&id(world)].status
}

fn result(world: &World, attempt: u32, epoch: u64, result: StepResult) -> Command {
    Command::StepDone { plan: id(world), step: StepId(1), attempt, epoch: Epoch(epoch), result }
}

fn done(world: &World, attempt: u32) -> Command {
    result(world, attempt, epoch(world), StepResult::Done { note: "done".into() })
}

fn failed(world: &World, attempt: u32) -> Command {
    result(world, attempt, epoch(world), StepResult::Failed { why: "SERVFAIL".into() })
}

fn refused(world: &mut World, command: Command) -> String {
    let plan = id(world).to_string();
    world.apply(command).refusal().expect("it is refused").to_string().replace(&plan, "PLAN")
}

#[test]
fn told_twice_it_is_done_once() {
    let mut world = underway();
    let start = Command::StartStep { plan: id(&world), step: StepId(1), attempt: 1 };
    let done = done(&world, 1);
    assert_eq!(world.apply(start.clone()), Outcome::Unchanged);
    world.must(done.clone());
    assert_eq!(world.primary("app"), "eu");
    let moves = world.state.moves.clone();
    assert_eq!(world.apply(done.clone()), Outcome::Unchanged);
    assert_eq!(world.apply(start), Outcome::Unchanged);
    world.answers = Answers::Done;
    world.run_for(secs(1));
    assert_eq!(world.last_plan().status, PlanStatus::Done);
    assert_eq!(world.apply(done), Outcome::Unchanged, "also when the plan has ended");
    assert_eq!(world.state.moves, moves);
}

#[test]
fn a_stale_or_invented_result_is_refused() {
    let mut world = underway();
    let ok = || StepResult::Done { note: "done".into() };
    let current = epoch(&world);
    let stale = result(&world, 1, current - 1, ok());
    let why = format!("epoch {} is stale, app is at epoch {current}", current - 1);
    assert_eq!(refused(&mut world, stale.clone()), why);
    let seq = world.state.journal.last_seq();
    let what = format!("refused: the result of {} step 1 at epoch {}: {why}", id(&world), current - 1);
    assert_eq!(world.journal(seq - 1), [what]);
    world.apply(stale);
    assert_eq!(world.state.journal.last_seq(), seq, "the same refusal fills no journal");
    let future = done(&world, 2);
    assert_eq!(refused(&mut world, future), "attempt 2 at step 1 of PLAN has not begun");
    let second = Command::StepDone {
        plan: id(&world),
        step: StepId(2),
        attempt: 1,
        epoch: Epoch(current),
        result: ok(),
    };
    assert_eq!(refused(&mut world, second), "step 2 of PLAN may not have begun yet");
    assert_eq!(world.primary("app"), "us");
}

#[test]
fn no_answer_is_a_failure_and_tried_again_with_patience() {
    let mut world = underway();
    let before = world.state.journal.last_seq();
    world.run_for(ms(10_000));
    assert_eq!(world.journal(before), [format!("{} step 1: failed: no answer within 10s", id(&world))]);
    assert_eq!(world.decide().wake_at, Some(world.now + ms(250)));
    world.run_for(ms(250));
    assert_eq!(world.last_plan().steps[&StepId(1)].attempt, 2);
    world.run_for(secs(60));
    let why =
        "step 1 (shift DNS in example.test: app.example.test A 192.0.2.2 (eu)) failed: no answer within 10s";
    assert_eq!(*status(&world), PlanStatus::Stopped(why.into()));
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
        format!(
            "no region is eligible (eu: {} to it stopped less than 1m ago; ap: {} to it stopped less than 1m ago)",
            id(&world),
            world.last_plan().plan.id
        )
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
    early.must(done(&world, 1));
    assert_eq!(early.primary("app"), "eu", "between two attempts");

    world.run_for(ms(250));
    let (failed, done) = (failed(&world, 1), done(&world, 1));
    assert_eq!(world.apply(failed), Outcome::Unchanged);
    assert_eq!(world.last_plan().steps[&StepId(1)].status, StepStatus::Running);
    world.must(done);
    assert_eq!(world.primary("app"), "eu", "while another attempt runs");
}

#[test]
fn refused_by_a_safety_rule_is_not_tried_again() {
    let mut world = underway();
    let result =
        result(&world, 1, epoch(&world), StepResult::Refused { why: "the zone holds epoch 7".into() });
    world.must(result);
    let stopped = status(&world).clone();
    let why = "step 1 (shift DNS in example.test: app.example.test A 192.0.2.2 (eu)) failed: the zone holds epoch 7";
    assert_eq!(stopped, PlanStatus::Stopped(why.into()));
}

#[test]
fn past_its_point_of_no_return_a_plan_cannot_be_cancelled() {
    let mut world = underway();
    let plan = id(&world);
    let cancel = Command::Cancel { plan, why: "no".into() };
    assert_eq!(
        refused(&mut world, cancel),
        "PLAN is past its point of no return; when it has ended, `failover failback` goes home"
    );
    let end = |status| Command::EndPlan { plan, status };
    let cancelled = end(PlanStatus::Cancelled("no".into()));
    assert_eq!(refused(&mut world, cancelled), "PLAN is past its point of no return");
    assert_eq!(refused(&mut world, end(PlanStatus::Done)), "PLAN has steps that are not done");
}

#[test]
fn a_result_after_cancelling_is_refused() {
    let mut config = three_regions();
    by_dynamic_update(&mut config);
    let mut world = World::new(config);
    let plan = crate::decide::switchover(&world.state, world.now, &"app".into(), None, "t".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    let plan = id(&world);
    world.must(Command::Cancel { plan, why: "no".into() });
    let done = done(&world, 1);
    assert_eq!(refused(&mut world, done), "PLAN has ended");
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
    assert_eq!(*status(&world), PlanStatus::Stopped("app died in eu before the move took effect".into()));
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
    assert_eq!(*status(&world), PlanStatus::Stopped(why));
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
