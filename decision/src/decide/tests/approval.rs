//! A person decides: approval, cancelling, pausing, and automation switched off.

use super::told;
use crate::command::Command;
use crate::config::Failback;
use crate::incident::IncidentStatus;
use crate::plan::{PlanId, PlanStatus};
use crate::testing::{World, secs, three_regions};

fn awaiting() -> World {
    let mut config = three_regions();
    config.strategy.manual_approval_required = true;
    let mut world = World::new(config);
    world.kill("us");
    world.run_for(secs(10));
    assert_eq!(world.last_plan().status, PlanStatus::AwaitingApproval);
    assert_eq!(world.answers_for("app.example.test"), ["us=100"], "nothing moves yet");
    world
}

#[test]
fn a_plan_waits_and_moves_once_approved() {
    let mut world = awaiting();
    world.run_for(secs(600));
    assert_eq!(world.conclusion("app"), "plan-1 is open");
    world.must(Command::Approve { plan: PlanId(1) });
    assert_eq!(told(&world.decide().commands)[0], "plan-1 step 1 done");
    world.run_for(secs(1));
    assert_eq!((world.primary("app"), &world.last_plan().status), ("eu", &PlanStatus::Done));
}

#[test]
fn approval_is_moot_when_the_primary_is_back() {
    let mut world = awaiting();
    world.revive("us");
    world.run_for(secs(10));
    let why = "app is healthy in us again".to_owned();
    assert_eq!(world.last_plan().status, PlanStatus::Cancelled(why));
    let incident = world.state.incidents.iter().find(|one| one.opened_at < world.now).unwrap();
    assert_eq!(incident.status, IncidentStatus::Resolved);
    // The next failure is another one.
    world.kill("us");
    world.run_for(secs(10));
    assert_eq!(world.plans().len(), 2);
    assert_eq!(world.last_plan().status, PlanStatus::AwaitingApproval);
}

#[test]
fn what_a_person_cancelled_is_not_opened_again() {
    let mut world = awaiting();
    world.must(Command::Cancel { plan: PlanId(1), why: "it is only a fire drill".into() });
    world.run_for(secs(600));
    assert_eq!(world.plans().len(), 1);
    assert_eq!(world.conclusion("app"), "plan-1 was cancelled: a person decides (`failover switchover`)");
    world.revive("us");
    world.run_for(secs(60));
    world.kill("us");
    world.run_for(secs(10));
    assert_eq!(world.plans().len(), 2, "another failure");
}

#[test]
fn a_plan_of_an_older_configuration_is_made_anew() {
    let mut world = awaiting();
    let outcome = world.reconfigure(|config| config.strategy.min_stay = secs(7));
    assert_eq!(outcome.refusal(), None);
    world.run_for(secs(1));
    let first = &world.state.plans[&PlanId(1)].status;
    assert_eq!(*first, PlanStatus::Stopped("it was made for configuration generation 1".into()));
    assert_eq!(world.plans(), ["failover us->eu", "failover us->eu"]);
    world.must(Command::Approve { plan: PlanId(2) });
    world.run_for(secs(1));
    assert_eq!(world.primary("app"), "eu");
}

#[test]
fn a_plan_whose_target_is_drained_or_dies_gives_way_to_another() {
    let mut world = awaiting();
    world.must(Command::Drain { region: "eu".into(), why: "works".into() });
    world.run_for(secs(1));
    assert_eq!(world.plans(), ["failover us->eu", "failover us->ap"]);

    let mut world = awaiting();
    world.break_service("app", "eu");
    world.run_for(secs(10));
    assert_eq!(world.plans(), ["failover us->eu", "failover us->ap"]);
    assert_eq!(
        world.state.plans[&PlanId(1)].status,
        PlanStatus::Stopped("app died in eu before the move took effect".into())
    );
}

#[test]
fn a_failback_that_waits_for_approval_does_not_keep_a_failover_waiting() {
    let mut config = three_regions();
    config.strategy.failback = Failback::Automatic;
    config.strategy.manual_approval_required = true;
    let mut world = World::new(config);
    world.kill("us");
    world.run_for(secs(10));
    world.must(Command::Approve { plan: PlanId(1) });
    world.run_for(secs(10));
    world.revive("us");
    world.run_for(secs(100));
    assert_eq!(world.plans(), ["failover us->eu", "failback eu->us"]);
    world.kill("eu");
    world.run_for(secs(10));
    assert_eq!(world.plans(), ["failover us->eu", "failback eu->us", "failover eu->us"]);
}

#[test]
fn a_pause_freezes_and_resuming_goes_on() {
    let mut world = World::new(three_regions());
    world.must(Command::Pause { why: "audit".into() });
    world.kill("us");
    world.run_for(secs(60));
    assert_eq!(world.plans(), [""; 0]);
    assert_eq!(world.conclusion("app"), "automation is paused: audit");
    world.must(Command::Resume);
    world.run_for(secs(1));
    assert_eq!(world.plans(), ["failover us->eu"]);
}

#[test]
fn a_pause_does_not_bind_persons() {
    let mut world = World::new(three_regions());
    world.must(Command::Pause { why: "audit".into() });
    let plan =
        crate::decide::switchover(&world.state, world.now, &"app".into(), None, "test".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.run_for(secs(1));
    assert_eq!(world.primary("app"), "eu");
}

#[test]
fn automation_switched_off_says_so() {
    let mut config = three_regions();
    config.strategy.automatic_failover = false;
    let mut world = World::new(config);
    world.kill("us");
    world.run_for(secs(60));
    assert_eq!(world.plans(), [""; 0]);
    assert_eq!(
        world.conclusion("app"),
        "automatic failover is off: a person decides (`failover switchover`)"
    );
    let plan =
        crate::decide::switchover(&world.state, world.now, &"app".into(), None, "lost".into()).unwrap();
    assert_eq!(super::brief(&plan), "failover app us->eu epoch 2", "nothing can be handed over by the dead");
}
