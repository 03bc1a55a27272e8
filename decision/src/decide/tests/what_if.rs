//! What is foretold for the loss of a region is what happens when it is lost then.

use crate::command::Command;
use crate::config::Config;
use crate::decide::if_lost;
use crate::plan::Plan;
use crate::testing::{
    World, add_service, by_dynamic_update, five_regions, region_mut, secs, three_regions, two_and_a_witness,
    weighted,
};

fn foretold_is_what_happens(config: Config, prepare: impl Fn(&mut World)) {
    let mut world = World::new(config);
    prepare(&mut world);
    world.run_for(secs(120));
    let known = world.state.plans.len();
    let regions: Vec<_> = world.config().regions.iter().map(|region| region.name.clone()).collect();
    for lost in regions {
        let foretold = if_lost(&world.state, &world.view, world.now, &lost).unwrap();
        let mut world = world.clone();
        world.kill(lost.as_str());
        world.run_for(world.config().strategy.detection_timeout);
        let happened: Vec<&Plan> =
            world.state.plans.values().skip(known).map(|record| &record.plan).collect();
        assert_eq!(foretold.plans.iter().collect::<Vec<_>>(), happened, "when {lost} is lost");
        for explanation in foretold.explanations {
            let moved = happened.iter().any(|plan| plan.service == explanation.service);
            if !moved {
                let actual = world.conclusion(explanation.service.as_str());
                assert_eq!(explanation.conclusion, actual, "when {lost} is lost");
            }
        }
    }
}

#[test]
fn in_a_quiet_world() {
    foretold_is_what_happens(three_regions(), |_| ());
    foretold_is_what_happens(two_and_a_witness(), |_| ());
}

#[test]
fn with_several_services_weights_and_sizes() {
    let mut config = five_regions();
    add_service(&mut config, "web");
    weighted(&mut config, "web");
    add_service(&mut config, "api");
    region_mut(&mut config, "eu").capacity_percent = 25;
    config.services.get_mut(&"api".into()).unwrap().min_capacity_percent = 50;
    foretold_is_what_happens(config, |_| ());
}

#[test]
fn with_dns_elsewhere() {
    let mut config = three_regions();
    by_dynamic_update(&mut config);
    foretold_is_what_happens(config, |_| ());
}

#[test]
fn when_something_stands_in_the_way() {
    foretold_is_what_happens(three_regions(), |world| {
        world.must(Command::Pause { why: "audit".into() });
    });
    foretold_is_what_happens(three_regions(), |world| {
        world.must(Command::Drain { region: "eu".into(), why: "works".into() });
    });
    foretold_is_what_happens(three_regions(), |world| world.silence("ap"));
    foretold_is_what_happens(three_regions(), |world| world.break_service("app", "eu"));
    let mut config = three_regions();
    config.strategy.manual_approval_required = true;
    foretold_is_what_happens(config, |_| ());
    let mut config = three_regions();
    config.strategy.automatic_failover = false;
    foretold_is_what_happens(config, |_| ());
}

#[test]
fn looking_ahead_changes_nothing_and_names_unknown_regions() {
    let world = World::new(three_regions());
    let refused = if_lost(&world.state, &world.view, world.now, &"mars".into()).unwrap_err();
    assert_eq!(refused.to_string(), "there is no region mars");
}
