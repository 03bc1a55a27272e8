//! Many services at once.

use crate::command::Command;
use crate::testing::{World, add_service, secs, three_regions};

#[test]
fn all_services_of_a_lost_region_move_in_one_decision() {
    let mut config = three_regions();
    for n in 0..40 {
        add_service(&mut config, &format!("s{n:02}"));
    }
    let mut world = World::new(config);
    world.kill("us");
    world.listen();
    world.now = world.now + secs(4);
    world.listen();
    let commands = world.decide().commands;
    let opened = commands.iter().filter(|command| matches!(command, Command::OpenPlan { .. })).count();
    assert_eq!(opened, 41);
    for command in commands {
        world.must(command);
    }
    assert!(world.state.services.values().all(|placement| placement.primary.as_str() == "eu"));
}
