//! Mode `sync` where too few replicas follow.

use super::*;
use crate::config::Mode;
use crate::decide::force;
use crate::testing::{World, secs, three_regions, with_database};

fn world(mode: Mode) -> World {
    let mut config = three_regions();
    with_database(&mut config, "app", mode);
    World::new(config)
}

fn is_alone(world: &World) -> bool {
    world.state.databases[&"app".into()].alone.is_some()
}

/// Both replicas are cut off from their primary for long.
fn without_replicas(mode: Mode) -> World {
    let mut world = world(mode);
    for region in ["eu", "ap"] {
        world.cut(region, "us");
    }
    for _ in 0..15 {
        world.run_for(secs(1));
    }
    world
}

#[test]
fn it_goes_on_alone_after_a_while_and_ends_that_when_they_are_back() {
    let mut world = without_replicas(Mode::Sync { acks: 1 });
    assert!(is_alone(&world));
    let told = world.journal(0);
    assert!(told.iter().any(|line| line.contains("it goes on ALONE")), "{told:#?}");
    world.cut.clear();
    for _ in 0..5 {
        world.run_for(secs(1));
    }
    assert!(!is_alone(&world));
    world.kill("us");
    world.run_for(secs(20));
    assert_eq!(world.writers("app").len(), 1, "{}", world.conclusion("app"));
    assert_ne!(world.writers("app"), ["us"]);
}

#[test]
fn strictly_it_waits() {
    let world = without_replicas(Mode::SyncStrict { acks: 1 });
    assert!(!is_alone(&world));
}

#[test]
fn paused_it_waits_too() {
    let mut world = world(Mode::Sync { acks: 1 });
    world.must(Command::Pause { why: "test".into() });
    for region in ["eu", "ap"] {
        world.cut(region, "us");
    }
    for _ in 0..20 {
        world.run_for(secs(1));
    }
    assert!(!is_alone(&world));
    world.must(Command::Resume);
    world.run_for(secs(1));
    assert!(is_alone(&world));
}

/// S3: what it acknowledged is nowhere else.
#[test]
fn nobody_else_is_promoted_meanwhile_unless_a_person_says_so() {
    let mut world = without_replicas(Mode::Sync { acks: 1 });
    world.kill("us");
    world.run_for(secs(60));
    assert_eq!(world.writers("app"), [""; 0]);
    let conclusion = world.conclusion("app");
    assert!(conclusion.contains("us acknowledged without the others"), "{conclusion}");
    let forced = |allow| force(&world.state, world.now, &"app".into(), None, allow, "test".into());
    let refused = forced(false).unwrap_err().to_string();
    assert!(refused.contains("us acknowledged without the others"), "{refused}");
    let accepted = forced(true).unwrap();
    let mut by_hand = world.clone();
    by_hand.acknowledged_alone.clear();
    by_hand.must(Command::OpenPlan { plan: accepted, explanation: None });
    by_hand.run_for(secs(10));
    assert_eq!(by_hand.writers("app").len(), 1);
    assert!(!is_alone(&by_hand));
    // Or it comes back, and what it has the others get.
    world.revive("us");
    world.cut.clear();
    let seen = world.journal(0).len() as u64;
    for _ in 0..5 {
        world.run_for(secs(2));
    }
    let told = world.journal(seen);
    let granted = told.iter().find(|line| line.contains("may take writes")).unwrap();
    assert!(granted.contains("app: us may"), "{granted}");
    assert!(told.iter().any(|line| line.contains("not alone any more")), "{told:#?}");
    assert_eq!(world.writers("app").len(), 1);
}

/// It restarts at a higher epoch, and the others lack yet what it acknowledged before.
#[test]
fn a_crash_of_the_one_that_is_alone_does_not_make_it_another_s_turn() {
    let mut world = without_replicas(Mode::Sync { acks: 1 });
    world.crash_database("app", "us");
    world.run_for(secs(30));
    assert_eq!(world.writers("app"), ["us"], "{}", world.conclusion("app"));
    assert!(is_alone(&world));
    world.crash_database("app", "us");
    world.kill("us");
    world.run_for(secs(30));
    assert_eq!(world.writers("app"), [""; 0]);
}

/// It is told to end in order: the heir has all of it first.
#[test]
fn a_planned_move_is_possible_as_soon_as_one_follows() {
    let mut world = without_replicas(Mode::Sync { acks: 2 });
    world.cut.remove(&("ap".into(), "us".into()));
    world.run_for(secs(1));
    let plan =
        crate::decide::switchover(&world.state, world.now, &"app".into(), Some(&"ap".into()), "test".into());
    world.must(Command::OpenPlan { plan: plan.unwrap(), explanation: None });
    world.run_for(secs(5));
    assert_eq!(world.writers("app"), ["ap"], "{}", world.conclusion("app"));
}

#[test]
fn the_state_believes_only_the_primary_itself() {
    let mut world = without_replicas(Mode::Sync { acks: 1 });
    let held = world.state.databases[&"app".into()].clone();
    let (service, epoch) = ("app".into(), held.epoch);
    let number = held.alone.unwrap().number;
    let end = Command::EndAlone { service, epoch, number };
    assert!(world.apply(end).refusal().is_some(), "it says that it asks");
    let other = Command::GoAlone { service: "app".into(), epoch, number: number + 1 };
    assert!(world.apply(other).refusal().is_some());
    let stale = Command::GoAlone { service: "app".into(), epoch: crate::plan::Epoch(epoch.0 - 1), number };
    assert!(world.apply(stale).refusal().is_some());
    assert!(is_alone(&world));
}

/// With two acknowledgements, what the old primary handed over in order is not yet where the mode asks for it.
#[test]
fn whoever_is_handed_over_to_says_that_it_is_over() {
    let mut world = without_replicas(Mode::Sync { acks: 2 });
    world.cut.remove(&("ap".into(), "us".into()));
    world.cut("eu", "ap");
    world.run_for(secs(1));
    let app = "app".into();
    let plan = crate::decide::switchover(&world.state, world.now, &app, Some(&"ap".into()), "test".into());
    world.must(Command::OpenPlan { plan: plan.unwrap(), explanation: None });
    world.run_for(secs(5));
    assert_eq!(world.writers("app"), ["ap"]);
    assert!(is_alone(&world), "eu has not got it");
    world.cut.clear();
    for _ in 0..20 {
        world.run_for(secs(1));
    }
    assert!(!is_alone(&world), "{:#?}", world.journal(0));
}

#[test]
fn asynchronous_nobody_is_alone() {
    let mut world = without_replicas(Mode::Sync { acks: 1 });
    world.reconfigure(|config| {
        config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap().mode = Mode::Async;
    });
    assert!(!is_alone(&world));
}

/// S3: an acknowledgement that asked for one other does not ask for two because the mode does now.
#[test]
fn a_change_of_whom_commits_wait_for_is_settled_when_the_primary_says_so() {
    let mut world = world(Mode::Sync { acks: 1 });
    let unsettled = |world: &World| {
        let held = &world.state.databases[&"app".into()];
        assert_eq!(held.before.is_some(), held.unsettled.is_some());
        held.unsettled.is_some()
    };
    world.cut("ap", "us");
    world.reconfigure(|config| {
        config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap().mode =
            Mode::Sync { acks: 2 };
    });
    world.run_for(secs(1));
    assert!(unsettled(&world), "ap does not follow");
    // Also when it begins anew.
    world.crash_database("app", "us");
    world.stubborn.extend(["eu".into(), "ap".into()]);
    world.run_for(secs(3));
    assert!(unsettled(&world));
    world.stubborn.clear();
    world.cut.clear();
    for _ in 0..20 {
        world.run_for(secs(1));
    }
    assert!(!unsettled(&world), "{:#?}", world.state.databases);
}
