//! Who may take over, and what is said of those that may not.

use crate::command::Command;
use crate::config::Config;
use crate::testing::{World, config, region_mut, secs, three_regions, two_and_a_witness};

/// What is concluded when `us` is lost and neither of the others may take over.
fn concluded(config: Config, prepare: impl FnOnce(&mut World)) -> String {
    let mut world = World::new(config);
    prepare(&mut world);
    world.run_for(secs(10));
    world.kill("us");
    world.run_for(secs(10));
    assert_eq!(world.plans(), [""; 0]);
    assert_eq!(world.primary("app"), "us");
    let conclusion = world.conclusion("app");
    assert_eq!(world.state.held[&"app".into()], conclusion);
    conclusion
}

#[test]
fn a_region_that_does_not_host_it() {
    let mut config = three_regions();
    region_mut(&mut config, "eu").services.clear();
    region_mut(&mut config, "ap").services.clear();
    assert_eq!(
        concluded(config, |_| ()),
        "no region is eligible (eu: it does not host app; ap: it does not host app)"
    );
}

#[test]
fn a_region_too_small() {
    let mut config = three_regions();
    config.services.get_mut(&"app".into()).unwrap().min_capacity_percent = 60;
    region_mut(&mut config, "eu").capacity_percent = 50;
    region_mut(&mut config, "ap").services.clear();
    assert_eq!(
        concluded(config, |_| ()),
        "no region is eligible (eu: its capacity 50 % is less than the 60 % the service needs; ap: it does not host app)"
    );
}

#[test]
fn a_region_under_other_laws() {
    let mut config = three_regions();
    config.services.get_mut(&"app".into()).unwrap().jurisdictions = vec!["US".into(), "CA".into()];
    region_mut(&mut config, "us").jurisdiction = Some("US".into());
    region_mut(&mut config, "eu").jurisdiction = Some("EU".into());
    assert_eq!(
        concluded(config, |_| ()),
        "no region is eligible (eu: its jurisdiction EU is not among US, CA; ap: its jurisdiction (none) is not among US, CA)"
    );
}

#[test]
fn a_drained_region() {
    let drain = |world: &mut World| {
        for region in ["eu", "ap"] {
            world.must(Command::Drain { region: region.into(), why: "works".into() });
        }
    };
    assert_eq!(
        concluded(three_regions(), drain),
        "no region is eligible (eu: it is drained: works; ap: it is drained: works)"
    );
}

#[test]
fn a_witness_and_a_region_without_a_session() {
    let mut config = two_and_a_witness();
    region_mut(&mut config, "wit").agents = 3;
    assert_eq!(
        concluded(config, |world| world.silence("eu")),
        "no region is eligible (eu: its agent has no session; wit: it is a witness: it votes and observes but hosts nothing)"
    );
}

#[test]
fn a_region_where_the_service_is_dead_too() {
    let broken = |world: &mut World| {
        world.break_service("app", "eu");
        world.break_service("app", "ap");
    };
    assert_eq!(
        concluded(three_regions(), broken),
        "no region is eligible (eu: app is dead there; ap: app is dead there)"
    );
}

#[test]
fn a_region_that_keeps_falling_is_held_down_until_it_was_up_long_enough() {
    let mut config = three_regions();
    region_mut(&mut config, "ap").services.clear();
    let mut world = World::new(config);
    for _ in 0..2 {
        world.silence("eu");
        world.run_for(secs(10));
        world.hear("eu");
        world.run_for(secs(10));
    }
    world.kill("us");
    world.run_for(secs(10));
    assert_eq!(
        world.conclusion("app"),
        "no region is eligible (eu: it fell 2 times within 1h and is held down until it was up for 1m; ap: it does not host app)"
    );
    // Nothing else happens, and it is looked at again when the hold-down has passed.
    world.run_for(secs(60));
    assert_eq!(world.plans(), ["failover us->eu"]);
}

#[test]
fn healthy_goes_before_grey_and_both_in_the_configured_order() {
    let mut world = World::new(config(&["us", "eu", "ap", "sa", "af"]));
    world.cut("sa", "eu");
    world.run_for(secs(10));
    world.kill("us");
    world.run_for(secs(10));
    assert_eq!(world.plans(), ["failover us->ap"]);
}
