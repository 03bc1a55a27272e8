//! Damping: minimum stay, hold-down, and limits on moves.

use crate::config::Failback;
use crate::plan::Kind;
use crate::testing::{World, add_service, region_mut, secs, three_regions};

#[test]
fn a_service_that_moved_stays_a_while() {
    let mut world = World::new(three_regions());
    world.kill("us");
    world.run_for(secs(4));
    assert_eq!(world.primary("app"), "eu");
    world.break_service("app", "eu");
    world.run_for(secs(50));
    assert_eq!(world.conclusion("app"), "it moved less than 1m ago");
    world.run_for(secs(10));
    assert_eq!(world.plans(), ["failover us->eu", "failover eu->ap"]);
}

#[test]
fn what_never_moved_need_not_stay() {
    let mut world = World::new(three_regions());
    // Epochs rise with every plan; only a move counts as one.
    let plan = crate::decide::switchover(&world.state, world.now, &"app".into(), None, "t".into()).unwrap();
    let id = plan.id;
    world.must(crate::command::Command::OpenPlan { plan, explanation: None });
    world.must(crate::command::Command::Cancel { plan: id, why: "no".into() });
    world.kill("us");
    world.run_for(secs(5));
    assert_eq!(world.plans(), ["switchover us->eu", "failover us->eu"]);
}

#[test]
fn a_region_that_flaps_for_five_minutes_causes_at_most_the_allowed_moves() {
    for period in [7, 13, 20, 45, 70] {
        let mut config = three_regions();
        config.strategy.failback = Failback::Automatic;
        config.strategy.hold_down = secs(10);
        config.strategy.min_stay = secs(5);
        let mut world = World::new(config);
        let mut flapped = 0;
        while flapped < 300 {
            world.kill("us");
            world.run_for(secs(period));
            world.revive("us");
            world.run_for(secs(period));
            flapped += 2 * period;
        }
        let moves = world.state.moves.iter().filter(|moved| moved.automatic).count();
        assert!((1..=3).contains(&moves), "{moves} moves at a period of {period} s");
        world.run_for(secs(3_700));
        assert_eq!(world.conclusion("app"), "the primary is healthy");
    }
}

#[test]
fn the_limit_of_a_service_is_said_and_passes() {
    let mut config = three_regions();
    config.strategy.moves.per_service = 1;
    config.strategy.moves.window = secs(600);
    let mut world = World::new(config);
    world.kill("us");
    world.run_for(secs(120));
    world.break_service("app", "eu");
    world.run_for(secs(120));
    assert_eq!(world.conclusion("app"), "app was moved 1 times: the limit is 1 automatic moves in 10m");
    world.run_for(secs(500));
    assert_eq!(world.plans(), ["failover us->eu", "failover eu->ap"]);
}

#[test]
fn services_that_leave_one_region_together_are_one_event() {
    let mut config = three_regions();
    add_service(&mut config, "web");
    add_service(&mut config, "api");
    // `api` lives in eu only at first.
    region_mut(&mut config, "us").services.retain(|service| service.as_str() != "api");
    config.services.get_mut(&"api".into()).unwrap().dns[0].values.remove(&"us".into());
    config.checks.retain(|check| check.id.as_str() != "us/api/http/1");
    config.strategy.moves.overall = 1;
    config.strategy.moves.window = secs(600);
    let mut world = World::new(config);
    world.kill("us");
    world.run_for(secs(10));
    assert_eq!(world.plans(), ["failover us->eu", "failover us->eu"], "app and web, one event");
    world.break_service("api", "eu");
    world.run_for(secs(120));
    assert_eq!(world.conclusion("api"), "1 regions were left: the limit is 1 automatic moves in 10m");
    world.run_for(secs(600));
    assert_eq!(world.primary("api"), "ap");
    assert_eq!(world.moves(Kind::Failover), 1, "older moves are forgotten");
}
