//! Failures on purpose: where they may begin, and what ends them.

use crate::command::{Command, Outcome};
use crate::config::{Mode, Window};
use crate::decide::switchover;
use crate::drill::report::{Measured, Objective, Report, Told, Verdict};
use crate::drill::{Drill, DrillId, Fault, HEARD_WITHIN, Wish, guard, timeline};
use crate::goal;
use crate::name::AgentId;
use crate::testing::{Answers, World, by_dynamic_update, ms, secs, three_regions, with_database};

const FIRST: DrillId = DrillId(1);

fn world() -> World {
    let mut config = three_regions();
    with_database(&mut config, "app", Mode::Async);
    World::new(config)
}

fn wish(fault: Fault) -> Wish {
    Wish { scenario: fault.to_string(), service: "app".into(), region: "us".into(), fault, lasts: secs(120) }
}

/// As the leader begins it: what is in the way is looked for first.
fn begin(world: &mut World, wish: Wish) -> Result<(), String> {
    let obstacles = guard::obstacles(&world.state, &wish, world.now);
    if !obstacles.is_empty() {
        return Err(obstacles.join("; "));
    }
    let drill = DrillId(world.state.last_drill + 1);
    world.must(Command::BeginDrill { drill, wish });
    Ok(())
}

fn drill(world: &World) -> &Drill {
    &world.state.drills[&FIRST]
}

fn renewed_for(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        if drill(world).is_running() {
            world.must(Command::RenewDrill { drill: FIRST });
        }
        world.run_for(secs(1));
    }
}

#[test]
fn none_begins_that_would_reach_into_a_time_without() {
    let mut world = world();
    let mut config = world.state.config.as_deref().unwrap().clone();
    config.strategy.no_drills = vec![Window::parse("mon-sun 00:00-24:00").unwrap()];
    let parent_generation = world.state.config_generation;
    world.must(Command::SetConfig { parent_generation, config: Box::new(config) });
    let refused = begin(&mut world, wish(Fault::RegionLoss)).unwrap_err();
    assert!(refused.contains("no_drills in regions.yml says that there is none from"), "{refused}");
}

#[test]
fn one_begins_where_all_is_well_and_everybody_hears_of_it() {
    let mut world = world();
    begin(&mut world, wish(Fault::RegionLoss)).unwrap();
    for region in ["us", "eu", "ap"] {
        let told = goal::of_agent(&world.state, &AgentId::new(region, 1)).fault.unwrap();
        assert_eq!((told.drill, told.region, told.lasts), (FIRST, "us".into(), secs(120)));
    }
    let twice = begin(&mut world, wish(Fault::DatabaseCrash)).unwrap_err();
    assert!(twice.contains("drill-1 is running: one fault at a time"), "{twice}");
    world.must(Command::EndDrill { drill: FIRST, why: "seen".into(), by_guard: false });
    assert_eq!(goal::of_agent(&world.state, &AgentId::new("eu", 1)).fault, None);
    let late = Command::BeginDrill { drill: FIRST, wish: wish(Fault::RegionLoss) };
    assert!(world.apply(late).refusal().is_some(), "a wish that comes once more begins nothing");
    // The state itself knows only the plainest of what is in the way.
    world.must(Command::Pause { why: "x".into() });
    let paused = Command::BeginDrill { drill: DrillId(2), wish: wish(Fault::RegionLoss) };
    assert!(world.apply(paused).refusal().is_some());
    assert_eq!(
        world.apply(Command::EndDrill { drill: FIRST, why: "again".into(), by_guard: false }),
        Outcome::Unchanged
    );
    assert!(world.apply(Command::RenewDrill { drill: FIRST }).refusal().is_some());
}

#[test]
fn none_begins_where_anything_is_wrong_already() {
    let refused = |why: &str, prepare: fn(&mut World), change: fn(&mut Wish)| {
        let mut world = world();
        prepare(&mut world);
        let mut wish = wish(Fault::RegionLoss);
        change(&mut wish);
        let found = begin(&mut world, wish).unwrap_err();
        assert!(found.contains(why), "{why:?}: {found}");
        assert!(world.state.drills.is_empty());
    };
    let as_it_is = |_: &mut World| ();
    let same = |_: &mut Wish| ();
    refused("would show nothing of it", as_it_is, |wish| wish.region = "eu".into());
    refused("there is no service web", as_it_is, |wish| wish.service = "web".into());
    refused("at most 15m", as_it_is, |wish| wish.lasts = secs(901));
    refused("automation is paused", |world| drop(world.must(Command::Pause { why: "x".into() })), same);
    let drained =
        |world: &mut World| drop(world.must(Command::Drain { region: "ap".into(), why: "x".into() }));
    refused("region ap is drained", drained, same);
    let lost = |world: &mut World| {
        world.kill("ap");
        world.run_for(secs(20));
    };
    refused("region ap is", lost, same);
    // Of three controllers two must be left.
    let few = |world: &mut World| {
        drop(world.reconfigure(|config| {
            config.regions[0].controllers = 3;
            config.regions[1].controllers = 1;
            config.regions[2].controllers = 1;
        }));
        world.run_for(secs(5));
    };
    refused("2 of 5 controllers would be left", few, same);
}

#[test]
fn one_whose_process_is_gone_is_over() {
    let mut world = world();
    begin(&mut world, wish(Fault::Partition)).unwrap();
    renewed_for(&mut world, 30);
    assert!(drill(&world).is_running());
    world.run_for(HEARD_WITHIN + secs(1));
    assert_eq!(drill(&world).ended.as_ref().unwrap().why, "its process was not heard of any more");
}

#[test]
fn one_that_lasts_too_long_is_over_though_its_process_lives() {
    let mut world = world();
    begin(&mut world, Wish { lasts: secs(20), ..wish(Fault::Partition) }).unwrap();
    renewed_for(&mut world, 22);
    assert_eq!(drill(&world).ended.as_ref().unwrap().why, "its longest duration was over");
}

#[test]
fn one_is_over_as_soon_as_another_region_is_hurt() {
    let mut world = world();
    begin(&mut world, wish(Fault::RegionLoss)).unwrap();
    world.kill("us");
    renewed_for(&mut world, 10);
    assert!(drill(&world).is_running(), "the one that is meant is no reason");
    assert_eq!(world.primary("app"), "eu");
    world.kill("ap");
    renewed_for(&mut world, 30);
    let ended = drill(&world).ended.as_ref().unwrap();
    assert!(ended.by_guard && ended.why.starts_with("region ap is"), "{ended:?}");
}

#[test]
fn the_journal_tells_the_way_from_the_fault_to_service() {
    let mut world = world();
    begin(&mut world, wish(Fault::RegionLoss)).unwrap();
    world.kill("us");
    renewed_for(&mut world, 20);
    world.must(Command::EndDrill { drill: FIRST, why: "seen".into(), by_guard: false });
    let entries = world.state.journal.entries().map(|entry| &**entry);
    let moments = timeline::of_journal(drill(&world), entries);
    let phases: Vec<String> = moments.iter().map(|moment| moment.phase.to_string()).collect();
    let first = |phase: &str| {
        phases.iter().position(|known| known == phase).unwrap_or_else(|| panic!("{phase}: {phases:?}"))
    };
    let way = ["fault", "first failing vantage", "decision", "promotion", "healed"].map(first);
    assert!(way.is_sorted(), "{phases:?}");
}

#[test]
fn a_report_is_kept_once_and_of_what_is_over() {
    let mut world = world();
    begin(&mut world, wish(Fault::DatabaseCrash)).unwrap();
    let report = |world: &World, verdict| {
        let drill = drill(world);
        Box::new(Report {
            drill: FIRST,
            wish: drill.wish.clone(),
            by: drill.by.clone(),
            version: "0".into(),
            seed: "0".into(),
            guards: Vec::new(),
            config_generation: 1,
            begun_at: drill.begun_at,
            ended: drill.ended.clone().unwrap_or(crate::drill::Ended {
                at: world.now,
                why: String::new(),
                by_guard: false,
            }),
            objective: Objective { rto: ms(1), rpo_ms: None },
            measured: Measured::default(),
            timeline: Vec::new(),
            checks: Vec::new(),
            verdict,
            before: None,
            is_practice: false,
        })
    };
    let early = Command::ReportDrill { drill: FIRST, report: report(&world, Verdict::Passed) };
    assert!(world.apply(early).refusal().is_some());
    world.must(Command::EndDrill { drill: FIRST, why: "seen".into(), by_guard: false });
    let told = report(&world, Verdict::Passed);
    world.must(Command::ReportDrill { drill: FIRST, report: told });
    let other = report(&world, Verdict::Inconclusive);
    assert_eq!(world.apply(Command::ReportDrill { drill: FIRST, report: other }), Outcome::Unchanged);
    assert_eq!(drill(&world).report.as_ref().unwrap().verdict, Verdict::Passed);
}

/// What is tried in vain meanwhile is told once the servers of others are back, and only that counts.
#[test]
fn names_in_dns_servers_of_others_follow_once_they_can_be_told() {
    let outage = Wish { lasts: secs(20), ..wish(Fault::ProviderOutage) };
    let refused = begin(&mut world(), outage.clone()).unwrap_err();
    assert!(refused.contains("app has no name in DNS servers of others"), "{refused}");
    let mut config = three_regions();
    by_dynamic_update(&mut config);
    let refused = begin(&mut World::new(config.clone()), outage.clone()).unwrap_err();
    assert!(refused.contains("it moves with its names alone"), "{refused}");
    with_database(&mut config, "app", Mode::Async);
    let mut world = World::new(config);
    world.run_for(secs(60));
    begin(&mut world, outage).unwrap();
    let told = |world: &World| {
        let entries = world.state.journal.entries().map(|entry| &**entry);
        timeline::told(drill(world), entries)
    };
    let plan = switchover(&world.state, world.now, &"app".into(), None, "drill-1".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.answers = Answers::Fail;
    renewed_for(&mut world, 21);
    assert!(!drill(&world).is_running());
    assert_eq!((world.primary("app"), told(&world)), ("eu", Told { was_missed: true, after: None }));
    world.answers = Answers::Done;
    world.run_for(secs(15));
    let found = told(&world);
    assert!(found.after.is_some_and(|after| after <= secs(15)), "{found:?}");
    assert!(world.names_elsewhere_are_right());
}

#[test]
fn all_controllers_are_cut_off_where_the_quorum_is_lost_and_not_for_long() {
    let mut world = world();
    let lost = Wish { lasts: secs(61), ..wish(Fault::QuorumLoss) };
    let refused = begin(&mut world, lost.clone()).unwrap_err();
    assert!(refused.contains("nobody can end it before its time"), "{refused}");
    begin(&mut world, Wish { lasts: secs(20), ..lost }).unwrap();
    let cut_off = |world: &World| ["us", "eu", "ap"].map(|region| drill(world).cuts_off_controllers(region));
    assert_eq!(cut_off(&world), [true; 3]);
    renewed_for(&mut world, 21);
    assert_eq!(drill(&world).ended.as_ref().unwrap().why, "its longest duration was over");
}
