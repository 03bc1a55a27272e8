//! Drains, switchovers by persons, and the way home.

use crate::command::{Command, Refusal};
use crate::config::{Config, Failback};
use crate::decide::{failback, switchover};
use crate::plan::{Kind, PlanId, PlanStatus};
use crate::testing::{World, region_mut, secs, three_regions};

fn automatic_failback() -> Config {
    let mut config = three_regions();
    config.strategy.failback = Failback::Automatic;
    config
}

#[test]
fn a_drained_region_is_left_and_is_no_target() {
    let mut world = World::new(three_regions());
    world.must(Command::Drain { region: "us".into(), why: "works".into() });
    world.run_for(secs(1));
    assert_eq!(world.plans(), ["switchover us->eu"]);
    assert_eq!(world.last_plan().status, PlanStatus::Done);
    let refused = switchover(&world.state, world.now, &"app".into(), Some(&"us".into()), "back".into());
    let detail = "us cannot take app: it is drained: works".to_owned();
    assert_eq!(refused, Err(Refusal::NotAllowed { detail }));
    world.run_for(secs(70));
    world.kill("eu");
    world.run_for(secs(10));
    assert_eq!(world.plans(), ["switchover us->eu", "failover eu->ap"]);
}

#[test]
fn a_drain_that_cannot_be_carried_out_says_why_once() {
    let mut config = three_regions();
    region_mut(&mut config, "eu").services.clear();
    region_mut(&mut config, "ap").services.clear();
    let mut world = World::new(config);
    let before = world.state.journal.last_seq();
    world.must(Command::Drain { region: "us".into(), why: "works".into() });
    world.run_for(secs(60));
    let held = "app: not moved: us is drained, but no region is eligible (eu: it does not host app; ap: it does not host app)";
    assert_eq!(world.journal(before), ["region us drained: works", held]);
    world.must(Command::Undrain { region: "us".into() });
    world.run_for(secs(60));
    assert_eq!(world.conclusion("app"), "the primary is healthy");
    world.must(Command::Drain { region: "us".into(), why: "works".into() });
    world.run_for(secs(60));
    assert_eq!(world.journal(before).iter().filter(|line| *line == held).count(), 2, "news again");
}

#[test]
fn a_drain_waits_for_the_first_look_at_a_better_region() {
    let mut config = three_regions();
    region_mut(&mut config, "eu").services.clear();
    config.checks.retain(|check| check.service.is_none() || check.region != "eu".into());
    let mut world = World::new(config);
    world.reconfigure(|config| *config = three_regions());
    world.must(Command::Drain { region: "us".into(), why: "works".into() });
    world.settle();
    assert_eq!(world.plans(), Vec::<String>::new());
    assert_eq!(world.conclusion("app"), "us is drained, but nobody has yet looked at app in eu");
    world.run_for(secs(10));
    assert_eq!(world.plans(), ["switchover us->eu"]);
}

#[test]
fn a_cancelled_evacuation_is_left_to_the_person_who_cancelled_it() {
    let mut config = three_regions();
    region_mut(&mut config, "eu").capacity_percent = 50;
    let mut world = World::new(config);
    world.must(Command::Drain { region: "us".into(), why: "works".into() });
    world.run_for(secs(10));
    world.must(Command::Cancel { plan: PlanId(1), why: "not now".into() });
    world.run_for(secs(600));
    assert_eq!(world.plans().len(), 1);
    assert_eq!(world.conclusion("app"), "us is drained, but plan-1 was cancelled: a person decides");
}

#[test]
fn a_switchover_is_refused_with_the_reason() {
    let world = World::new(three_regions());
    let to = |region: &str| {
        let refused = switchover(&world.state, world.now, &"app".into(), Some(&region.into()), "test".into());
        refused.map(|_| ()).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(to("us"), Err("app is in us already".into()));
    assert_eq!(to("mars"), Err("there is no region mars".into()));
    assert_eq!(to("ap"), Ok(()));
    let none = switchover(&world.state, world.now, &"web".into(), None, "test".into());
    assert_eq!(none.unwrap_err().to_string(), "there is no service web");
}

#[test]
fn it_goes_home_when_home_was_up_for_the_hold_down() {
    let mut world = World::new(automatic_failback());
    world.kill("us");
    world.run_for(secs(300));
    world.revive("us");
    world.run_for(secs(60));
    assert_eq!(world.primary("app"), "eu");
    world.run_for(secs(3));
    assert_eq!(world.plans(), ["failover us->eu", "failback eu->us"]);
    assert_eq!(world.answers_for("app.example.test"), ["us=100"]);
}

#[test]
fn the_service_itself_must_have_been_up_for_the_hold_down() {
    let mut world = World::new(automatic_failback());
    world.break_service("app", "us");
    world.run_for(secs(300));
    assert_eq!(world.primary("app"), "eu");
    world.mend_service("app", "us");
    world.run_for(secs(60));
    assert_eq!(world.primary("app"), "eu");
    world.run_for(secs(3));
    assert_eq!(world.primary("app"), "us");
}

#[test]
fn the_way_home_leaves_one_move_for_a_failure() {
    let mut config = automatic_failback();
    config.strategy.moves.per_service = 2;
    let mut world = World::new(config);
    world.kill("us");
    world.run_for(secs(10));
    world.revive("us");
    world.run_for(secs(300));
    assert_eq!(world.plans(), ["failover us->eu"]);
    world.kill("eu");
    world.run_for(secs(10));
    assert_eq!(world.plans(), ["failover us->eu", "failover eu->us"]);
    // The window passes, and nothing else happens: it is looked at again by itself.
    world.revive("eu");
    world.run_for(secs(3_600));
    assert_eq!(world.primary("app"), "us");
}

#[test]
fn a_failback_by_a_person_is_a_failover_when_nothing_can_be_handed_over() {
    let mut world = World::new(three_regions());
    world.kill("us");
    world.run_for(secs(10));
    world.revive("us");
    world.run_for(secs(10));
    let plan = failback(&world.state, world.now, &"app".into(), "home".into()).unwrap();
    assert_eq!(plan.kind, Kind::Failback);
    world.must(Command::Pause { why: "watch".into() });
    world.kill("eu");
    world.run_for(secs(10));
    let plan = failback(&world.state, world.now, &"app".into(), "home".into()).unwrap();
    assert_eq!(plan.kind, Kind::Failover);
}
