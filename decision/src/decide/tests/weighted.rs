//! Records spread by weight: regions leave them and come back.

use crate::command::Command;
use crate::config::Config;
use crate::testing::{Answers, World, ms, secs, three_regions, weighted};

fn spread() -> Config {
    let mut config = three_regions();
    weighted(&mut config, "app");
    config
}

#[test]
fn a_dead_region_leaves_and_returns_after_the_hold_down() {
    let mut world = World::new(spread());
    assert_eq!(world.answers_for("app.example.test"), ["ap=100", "eu=100", "us=100"]);
    world.kill("ap");
    world.run_for(ms(3_500));
    assert_eq!(world.answers_for("app.example.test"), ["eu=100", "us=100"]);
    world.revive("ap");
    world.run_for(secs(60));
    assert_eq!(world.answers_for("app.example.test"), ["eu=100", "us=100"]);
    world.run_for(secs(3));
    assert_eq!(world.answers_for("app.example.test"), ["ap=100", "eu=100", "us=100"]);
    assert_eq!(world.plans(), ["withdraw ap->us", "restore us->ap"]);
    assert_eq!(world.primary("app"), "us");
}

#[test]
fn a_lost_primary_leaves_the_weights_too() {
    let mut world = World::new(spread());
    world.kill("us");
    world.run_for(secs(5));
    assert_eq!(world.answers_for("app.example.test"), ["ap=100", "eu=100"]);
    world.revive("us");
    world.run_for(secs(70));
    assert_eq!(world.plans(), ["failover us->eu", "restore eu->us"]);
    assert_eq!(world.answers_for("app.example.test"), ["ap=100", "eu=100", "us=100"]);
}

#[test]
fn a_drained_region_gets_no_share() {
    let mut world = World::new(spread());
    world.must(Command::Drain { region: "ap".into(), why: "works".into() });
    world.run_for(secs(1));
    assert_eq!(world.answers_for("app.example.test"), ["eu=100", "us=100"]);
    world.must(Command::Drain { region: "us".into(), why: "works".into() });
    world.run_for(secs(1));
    assert_eq!(world.answers_for("app.example.test"), ["eu=100"]);
    world.must(Command::Undrain { region: "ap".into() });
    world.run_for(secs(61));
    assert_eq!(world.answers_for("app.example.test"), ["ap=100", "eu=100"]);
}

#[test]
fn a_flapping_share_does_not_use_up_the_moves_of_the_primary() {
    let mut config = spread();
    config.strategy.moves.per_service = 1;
    let mut world = World::new(config);
    for _ in 0..4 {
        world.kill("ap");
        world.run_for(secs(10));
        world.revive("ap");
        world.run_for(secs(70));
    }
    assert_eq!(world.plans(), ["withdraw ap->us"], "its own limit");
    world.kill("us");
    world.run_for(secs(5));
    assert_eq!(world.primary("app"), "eu");
}

#[test]
fn a_dead_primary_does_not_wait_for_a_change_of_weights() {
    let mut world = World::new(spread());
    world.answers = Answers::Never;
    world.break_service("app", "ap");
    world.run_for(secs(5));
    assert_eq!(world.plans(), ["withdraw ap->us"]);
    world.kill("us");
    world.run_for(secs(5));
    assert_eq!(world.plans(), ["withdraw ap->us", "failover us->eu"]);
    assert_eq!(world.answers_for("app.example.test"), ["eu=100"]);
}

#[test]
fn when_none_is_left_all_are_answered() {
    let mut world = World::new(spread());
    world.kill("eu");
    world.run_for(secs(10));
    world.break_service("app", "ap");
    world.run_for(secs(10));
    assert_eq!(world.answers_for("app.example.test"), ["us=100"]);
    world.break_service("app", "us");
    world.run_for(secs(10));
    assert_eq!(world.answers_for("app.example.test"), ["us=100"], "nobody may take over; fail open");
}
