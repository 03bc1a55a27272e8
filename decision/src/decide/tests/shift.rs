//! A planned move to a smaller region goes in stages.

use crate::command::{AgentInfo, Command};
use crate::config::{Config, Failback};
use crate::decide::switchover;
use crate::name::AgentId;
use crate::plan::{PlanId, PlanStatus};
use crate::testing::{World, add_service, by_dynamic_update, region_mut, secs, three_regions};

fn smaller() -> Config {
    let mut config = three_regions();
    region_mut(&mut config, "eu").capacity_percent = 50;
    config
}

fn shifting(config: Config) -> World {
    let mut world = World::new(config);
    let plan = switchover(&world.state, world.now, &"app".into(), None, "test".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.run_for(secs(1));
    assert_eq!(world.answers_for("app.example.test"), ["us=75", "eu=25"]);
    world
}

#[test]
fn stage_by_stage_to_the_whole() {
    let mut world = shifting(smaller());
    world.run_for(secs(30));
    assert_eq!(world.answers_for("app.example.test"), ["us=50", "eu=50"]);
    assert_eq!(world.primary("app"), "us", "it moves with the last stage");
    world.run_for(secs(30));
    assert_eq!(world.answers_for("app.example.test"), ["eu=100"]);
    assert_eq!(world.primary("app"), "eu");
    assert_eq!(world.last_plan().status, PlanStatus::Done);
}

#[test]
fn cancelled_midway_the_names_are_as_before() {
    let mut world = shifting(smaller());
    world.must(Command::Cancel { plan: PlanId(1), why: "errors rise".into() });
    assert_eq!(world.answers_for("app.example.test"), ["us=100"]);
    world.run_for(secs(100));
    assert_eq!(world.primary("app"), "us");
}

#[test]
fn a_stage_outlives_what_else_changes_the_zone() {
    let mut config = smaller();
    add_service(&mut config, "web");
    let mut world = shifting(config);
    // An agent comes back elsewhere, and so the zone has another name server.
    let info = AgentInfo { dns: Some("127.0.9.9:53".into()), version: "test".into(), peer: None };
    world.must(Command::OpenSession { agent: AgentId::new("ap", 1), info });
    assert_eq!(world.answers_for("app.example.test"), ["us=75", "eu=25"]);
    // Another service of the zone moves.
    let to = "ap".into();
    let plan = switchover(&world.state, world.now, &"web".into(), Some(&to), "test".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.run_for(secs(1));
    assert_eq!(world.answers_for("web.example.test"), ["ap=100"]);
    assert_eq!(world.answers_for("app.example.test"), ["us=75", "eu=25"]);
}

#[test]
fn nobody_waits_for_the_dead() {
    let mut world = shifting(smaller());
    world.kill("us");
    world.run_for(secs(4));
    assert_eq!(world.answers_for("app.example.test"), ["eu=100"]);
    assert_eq!(world.plans(), ["switchover us->eu"]);
    world.run_for(secs(1));
    assert_eq!(world.last_plan().status, PlanStatus::Done);
}

#[test]
fn a_target_that_dies_midway_gets_no_more_clients() {
    let mut world = shifting(smaller());
    world.kill("eu");
    world.run_for(secs(4));
    assert_eq!(world.answers_for("app.example.test"), ["us=100"]);
    let why = "app died in eu before the move took effect".to_owned();
    assert_eq!(world.last_plan().status, PlanStatus::Stopped(why));
}

#[test]
fn a_pause_holds_an_automatic_shift_at_its_stage_and_lets_a_persons_go_on() {
    let mut world = shifting(smaller());
    world.must(Command::Pause { why: "watch".into() });
    world.run_for(secs(60));
    assert_eq!(world.primary("app"), "eu", "a person's goes on");

    let mut config = three_regions();
    region_mut(&mut config, "us").capacity_percent = 50;
    config.strategy.failback = Failback::Automatic;
    let mut world = World::new(config);
    world.kill("us");
    world.run_for(secs(10));
    world.revive("us");
    world.run_for(secs(65));
    assert_eq!(world.answers_for("app.example.test"), ["eu=75", "us=25"]);
    world.must(Command::Pause { why: "watch".into() });
    world.run_for(secs(300));
    assert_eq!(world.answers_for("app.example.test"), ["eu=75", "us=25"]);
    assert_eq!(world.conclusion("app"), "plan-2 is open, and waits while automation is paused");
}

#[test]
fn where_servers_cannot_draw_there_are_no_stages() {
    let mut config = smaller();
    by_dynamic_update(&mut config);
    let world = World::new(config);
    let plan = switchover(&world.state, world.now, &"app".into(), None, "test".into()).unwrap();
    assert_eq!(plan.steps.len(), 3, "shift, verify DNS, verify the service: {:#?}", plan.steps);
}
