//! Who writes to a database: first, after a loss, and by plan.

use crate::command::{Command, Outcome, Refusal};
use crate::config::{Config, Database, MaxDataLoss, Mode, Profile};
use crate::database::branch::Branch;
use crate::database::{
    InstanceReport, InstanceRole, Owner, Ownership, Position, Proof, SILENT_UNKNOWN, Sequence, Vacancy, lease,
};
use crate::decide::database::{lacks_acknowledged, loss, unfit_heir, unseen_acknowledgements};
use crate::decide::{decide, decide_told, force, switchover, too_few_vantages};
use crate::event::Event;
use crate::goal::{self, DatabaseRole};
use crate::lsn::Lsn;
use crate::name::{AgentId, ServiceName};
use crate::plan::{Action, Epoch, Executor, PlanStatus, StepResult};
use crate::testing::{World, ms, secs, three_regions, with_database};
use crate::time::Time;

fn world(mode: Mode) -> World {
    World::new(config(mode))
}

fn config(mode: Mode) -> Config {
    let mut config = three_regions();
    with_database(&mut config, "app", mode);
    config
}

fn holder(world: &World) -> Option<&str> {
    world.state.databases[&"app".into()].holder().map(|region| region.as_str())
}

fn steps(world: &World) -> Vec<String> {
    world.last_plan().plan.steps.iter().map(|step| step.action.to_string()).collect()
}

#[test]
fn the_first_primary_is_made_where_the_service_is_and_the_others_follow() {
    let world = world(Mode::Async);
    assert_eq!(holder(&world), Some("us"));
    assert_eq!(world.writers("app"), ["us"]);
    assert_eq!(world.last_plan().plan.kind.to_string(), "recover");
    assert_eq!(world.last_plan().status, PlanStatus::Done);
    assert_eq!(steps(&world)[0], "promote the database in us");
    for region in ["eu", "ap"] {
        let role = world.instance("app", region).unwrap().role;
        assert_eq!(role, InstanceRole::Replica { streaming: true }, "{region}");
    }
    assert_eq!(world.state.databases[&"app".into()].system.as_deref(), Some("7"));
    assert_eq!(world.conclusion("app"), "the primary is healthy");
}

/// As `region` tells it now, but for what `change` does.
fn tell(world: &mut World, region: &str, change: impl FnOnce(&mut InstanceReport)) {
    let mut report = world.state.databases[&"app".into()].instances[&region.into()].clone();
    change(&mut report);
    world.must(Command::ReportInstance { agent: AgentId::new(region, 1), service: "app".into(), report });
}

#[test]
fn an_heir_of_another_history_is_not_chosen_and_one_that_turns_out_so_gives_way() {
    let mut world = world(Mode::Async);
    let (app, eu) = ("app".into(), "eu".into());
    let plan = switchover(&world.state, world.now, &app, Some(&eu), "test".into()).unwrap();
    let held = world.state.databases[&app].clone();
    let position = held.instances[&"us".into()].position;
    let stranger = held.history.last().map(|last| Branch { epoch: Epoch(last.epoch.0 + 70), ..*last });
    assert!(stranger.is_some());
    // It was fenced for an heir that then says whose log it holds.
    world.must(Command::OpenPlan { plan: plan.clone(), explanation: None });
    tell(&mut world, "eu", |report| report.heir = Some(held.epoch));
    world.must(Command::StartStep { plan: plan.id, step: plan.steps[0].id, attempt: 1 });
    world.must(Command::ReleaseLease {
        agent: AgentId::new("us", 1),
        service: app.clone(),
        epoch: held.epoch,
        clean: position,
        last_known: None,
        unwritten: false,
        why: "it was shut down in order".into(),
    });
    tell(&mut world, "us", |report| {
        (report.role, report.settled) = (InstanceRole::Stopped { clean: true }, Some(held.epoch));
    });
    tell(&mut world, "eu", |report| (report.branch, report.settled) = (stranger, Some(held.epoch)));
    world.settle();
    assert_eq!(world.last_plan().status, PlanStatus::Running, "what it says may be on its way");
    world.now = world.now + secs(2);
    world.settle();
    let status = world.state.plans[&plan.id].status.clone();
    assert!(matches!(&status, PlanStatus::Stopped(why) if why.contains("began")), "{status:?}");
    assert_eq!(holder(&world), Some("us"), "who ended in order goes on");
    let why = unfit_heir(&world.state, &app, &eu).unwrap();
    assert!(why.contains("another of that number counts"), "{why}");
}

#[test]
fn a_timeline_that_nobody_went_on_with_counts_no_more() {
    let mut world = world(Mode::Async);
    let epoch = world.epoch("app");
    let stranger =
        |world: &World, region: &str| world.state.databases[&"app".into()].stranger(&region.into());
    // It was promoted once, and lost; us has gone on without it since.
    let old = Branch { timeline: 9, epoch: Epoch(epoch - 1) };
    tell(&mut world, "eu", |report| report.branch = Some(old));
    assert_eq!(stranger(&world, "eu"), None, "PostgreSQL itself tells, as long as somebody writes");
    world.crash_database("app", "us");
    assert_eq!(stranger(&world, "eu"), Some(old));
    assert_eq!(stranger(&world, "ap"), None);
    let begun = Branch { timeline: 9, epoch: Epoch(epoch) };
    tell(&mut world, "ap", |report| report.branch = Some(begun));
    assert_eq!(stranger(&world, "ap"), None, "by the last holder, who may not have told of it");
}

#[test]
fn names_follow_a_writer_only_where_anything_moves_by_itself() {
    let mut world = world(Mode::Async);
    world.state.databases.get_mut(&"app".into()).unwrap().owner = Owner::Held("eu".into());
    let moves = |world: &World| {
        let decision = decide(&world.state, &world.view, world.now);
        assert_eq!(decision.refused, [], "the rules want what the state would refuse");
        decision.commands.iter().any(|command| matches!(command, Command::OpenPlan { .. }))
    };
    assert!(moves(&world));
    world.state.paused = Some("a look at it".into());
    assert!(!moves(&world));
    world.state.paused = None;
    world.state.drained.insert("eu".into(), "new disks".into());
    assert!(!moves(&world));
    world.state.drained.clear();
    world.state.sessions.values_mut().for_each(|session| session.live = false);
    assert!(!moves(&world), "a majority of vantages is away");
}

#[test]
fn what_was_overtaken_on_its_way_takes_nothing_back() {
    let mut world = world(Mode::Async);
    let app = "app".into();
    let sequence = |process, number| Sequence { process, number };
    let is_heir = |world: &World| world.state.databases[&app].instances[&"eu".into()].heir.is_some();
    tell(&mut world, "eu", |report| (report.heir, report.sequence) = (Some(Epoch(1)), sequence(7, 2)));
    assert!(is_heir(&world));
    tell(&mut world, "eu", |report| (report.heir, report.sequence) = (None, sequence(7, 1)));
    assert!(is_heir(&world), "it was told before");
    tell(&mut world, "eu", |report| (report.heir, report.sequence) = (None, sequence(8, 1)));
    assert!(!is_heir(&world), "another process has begun to count");
}

#[test]
fn an_heir_that_told_of_an_old_timeline_takes_none_from_the_history() {
    let mut world = world(Mode::Async);
    let (app, ap) = ("app".into(), "ap".into());
    let first = world.state.databases[&app].history.clone();
    world.kill("us");
    world.run_for(secs(10));
    assert_eq!(holder(&world), Some("eu"));
    let held = world.state.databases[&app].clone();
    assert!(held.history.len() > first.len(), "{:?}", held.history);
    let plan = switchover(&world.state, world.now, &app, Some(&ap), "test".into()).unwrap();
    world.must(Command::OpenPlan { plan: plan.clone(), explanation: None });
    tell(&mut world, "ap", |report| (report.heir, report.branch) = (Some(held.epoch), first.last().copied()));
    world.must(Command::StartStep { plan: plan.id, step: plan.steps[0].id, attempt: 1 });
    world.must(Command::ReleaseLease {
        agent: AgentId::new("eu", 1),
        service: app.clone(),
        epoch: held.epoch,
        clean: held.instances[&"eu".into()].position,
        last_known: None,
        unwritten: false,
        why: "it was shut down in order".into(),
    });
    let (step, result) = (plan.steps[0].id, StepResult::Done { note: String::new() });
    world.must(Command::StepDone { plan: plan.id, step, attempt: 1, epoch: plan.epoch, result });
    world.must(Command::StartStep { plan: plan.id, step: plan.steps[1].id, attempt: 1 });
    assert_eq!(holder(&world), Some("ap"));
    assert_eq!(world.state.databases[&app].history, held.history);
}

#[test]
fn a_lost_region_costs_its_lease_and_not_the_detection_timeout() {
    let mut world = world(Mode::Async);
    let ttl = world.config().services[&"app".into()].database.as_ref().unwrap().lease.ttl;
    world.kill("us");
    world.run_for(ttl);
    assert_eq!(holder(&world), Some("us"), "its guard and the leader's clock are not compared");
    world.run_for(lease::span(ttl) - ttl + ms(150));
    assert_eq!(holder(&world), Some("eu"));
    assert_eq!(world.writers("app"), ["eu"]);
    assert_eq!(world.primary("app"), "eu");
    assert_eq!(world.answers_for("app.example.test"), ["eu=100"]);
    assert_eq!(
        steps(&world)[..2],
        ["fence the database in us", "promote the database in eu"],
        "before where names lead"
    );
    assert_eq!(world.instance("app", "ap").unwrap().role, InstanceRole::Replica { streaming: true });

    world.revive("us");
    world.run_for(secs(10));
    assert_eq!(world.writers("app"), ["eu"]);
    assert_eq!(world.instance("app", "us").unwrap().role, InstanceRole::Replica { streaming: true });
}

#[test]
fn a_dead_postmaster_under_a_living_agent_is_not_waited_for() {
    let mut world = world(Mode::Async);
    world.crash_database("app", "us");
    world.run_for(ms(200));
    assert_eq!(world.writers("app"), ["eu"]);
    assert_eq!(world.primary("app"), "eu");
}

#[test]
fn an_agent_that_falls_silent_is_fenced_before_another_is_promoted() {
    let mut world = world(Mode::Async);
    world.silence("us");
    // `run_databases` asserts at every step that there are never two writers.
    world.run_for(secs(5));
    assert_eq!(world.writers("app"), ["eu"]);
    assert_eq!(world.instance("app", "us").unwrap().role, InstanceRole::Stopped { clean: false });
}

#[test]
fn the_most_advanced_is_promoted_and_not_the_next_in_order() {
    let mut world = world(Mode::Async);
    world.cut("eu", "us");
    world.write("app", "us", 4_096);
    world.run_for(secs(1));
    world.kill("us");
    world.run_for(secs(5));
    assert_eq!(world.writers("app"), ["ap"]);
}

#[test]
fn nobody_is_promoted_past_the_loss_that_is_allowed() {
    let mut config = config(Mode::Async);
    let database = config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap();
    database.max_data_loss = MaxDataLoss { bytes: 1_000, time: secs(30) };
    let mut world = World::new(config);
    world.cut("eu", "us");
    world.cut("ap", "us");
    world.write("app", "us", 5_000);
    world.run_for(secs(1));
    world.kill("us");
    world.run_for(secs(60));
    assert_eq!(world.writers("app"), [""; 0]);
    let told = world.conclusion("app");
    assert!(told.contains("eu: it may lack 5000 bytes known"), "{told}");
    assert!(told.contains("--allow-data-loss"), "{told}");

    // What comes back has everything.
    world.revive("us");
    world.run_for(secs(5));
    assert_eq!(world.writers("app"), ["us"]);
    assert_eq!(world.last_plan().plan.kind.to_string(), "recover");
}

#[test]
fn in_synchronous_mode_nobody_is_promoted_while_a_row_may_be_elsewhere() {
    let mut world = world(Mode::Sync { acks: 1 });
    world.kill("us");
    world.kill("ap");
    world.run_for(secs(60));
    assert_eq!(world.writers("app"), [""; 0], "one of three vantages moves nothing");
    assert_eq!(
        too_few_vantages(world.config(), &world.state).as_deref(),
        Some("1 of 3 vantages have a session, 2 are needed")
    );
    world.revive("ap");
    world.run_for(secs(5));
    assert_eq!(world.writers("app").len(), 1, "{}", world.conclusion("app"));
}

#[test]
fn an_instance_that_hangs_is_not_waited_for_when_another_has_all_that_is_known() {
    let mut world = world(Mode::Async);
    world.hung.insert("ap".into());
    world.crash_database("app", "us");
    world.stubborn.insert("us".into());
    world.run_for(ms(400));
    assert_eq!(world.writers("app"), [""; 0], "it may have more, and is given time to say so");
    world.run_for(ms(300));
    assert_eq!(world.writers("app"), ["eu"], "{}", world.conclusion("app"));
}

#[test]
fn an_instance_that_hangs_and_is_known_to_have_more_is_waited_for() {
    let mut world = world(Mode::Async);
    world.cut("eu", "us");
    world.write("app", "us", 1_000);
    world.run_for(secs(1));
    world.hung.insert("ap".into());
    world.crash_database("app", "us");
    world.stubborn.insert("us".into());
    world.run_for(ms(1_500));
    assert_eq!(world.writers("app"), [""; 0], "{}", world.conclusion("app"));
    world.hung.clear();
    world.run_for(ms(300));
    assert_eq!(world.writers("app"), ["ap"], "{}", world.conclusion("app"));
}

#[test]
fn an_heir_that_nobody_sends_to_any_more_still_counts_its_lease_from_when_it_was_ready() {
    let mut world = world(Mode::Async);
    let plan = switchover(&world.state, world.now, &"app".into(), Some(&"ap".into()), "test".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.settle();
    let epoch = world.state.databases[&"app".into()].epoch;
    let tell = |world: &mut World, report: InstanceReport| {
        world.must(Command::ReportInstance { agent: AgentId::new("ap", 1), service: "app".into(), report });
    };
    let told = world.state.databases[&"app".into()].instances[&"ap".into()].clone();
    let heir = InstanceReport { heir: Some(epoch), ready: Some(7), ..told };
    tell(&mut world, heir.clone());
    // The server that sends to it has ended, and that is not known to the controllers yet.
    let role = InstanceRole::Replica { streaming: false };
    tell(&mut world, InstanceReport { heir: None, role, ..heir });
    world.must(Command::ReleaseLease {
        agent: AgentId::new("us", 1),
        service: "app".into(),
        epoch,
        clean: world.instance("app", "us").map(|instance| instance.position),
        last_known: None,
        unwritten: false,
        why: "it was shut down in order".into(),
    });
    world.settle();
    let held = &world.state.databases[&"app".into()];
    assert_eq!((held.holder(), held.ready), (Some(&"ap".into()), Some(7)), "{held:#?}");
}

#[test]
fn a_planned_move_hands_over_everything_and_fences_in_order() {
    let mut world = world(Mode::Async);
    world.write("app", "us", 1_234);
    let plan = switchover(&world.state, world.now, &"app".into(), Some(&"ap".into()), "test".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.run_for(ms(400));
    assert_eq!(world.writers("app"), ["ap"]);
    assert_eq!(steps(&world)[..2], ["end writes in us without loss", "promote the database in ap"]);
    let verified =
        world.last_plan().plan.steps.iter().find(|step| matches!(step.action, Action::VerifyWrite { .. }));
    assert_eq!(verified.unwrap().executor, Executor::Agent("eu".into()), "from outside of both");
    let held = &world.state.databases[&"app".into()];
    assert!(held.at_least.is_some());
    assert_eq!(world.instance("app", "us").unwrap().role, InstanceRole::Replica { streaming: true });
    assert_eq!(world.last_plan().status, PlanStatus::Done);
}

/// Clients are held back meanwhile, so that is not for long.
#[test]
fn a_planned_move_whose_heir_is_lost_before_the_end_leaves_all_as_it_was() {
    let mut world = world(Mode::Async);
    let plan = switchover(&world.state, world.now, &"app".into(), Some(&"ap".into()), "test".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.settle();
    world.listen();
    world.settle();
    assert!(world.state.fencing(&"app".into(), &"us".into()).is_some());
    world.cut("ap", "us");
    world.run_for(secs(9));
    assert!(world.last_plan().is_open());
    world.run_for(secs(3));
    let told = world.journal(0);
    assert!(told.iter().any(|line| line.contains("ap does not follow any more")), "{told:#?}");
    assert_eq!((world.writers("app"), world.primary("app")), (vec!["us"], "us"));
}

#[test]
fn a_planned_move_that_cannot_be_completed_goes_back() {
    let mut world = world(Mode::Async);
    world.stubborn.insert("ap".into());
    let plan = switchover(&world.state, world.now, &"app".into(), Some(&"ap".into()), "test".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.run_for(secs(1));
    assert_eq!(world.writers("app"), ["us"], "it has everything, and nothing need be moved");
    assert_eq!(world.primary("app"), "us");
}

/// Everything that the last word of a replica brings about is one entry of the log.
#[test]
fn what_follows_from_the_last_word_is_committed_with_it() {
    let mut world = world(Mode::Async);
    let epoch = world.epoch("app");
    world.stubborn.insert("us".into());
    let release = Command::ReleaseLease {
        agent: AgentId::new("us", 1),
        service: "app".into(),
        epoch: Epoch(epoch),
        clean: None,
        last_known: None,
        unwritten: false,
        why: "postgres ended".into(),
    };
    let follows = |world: &World, told: &[Command]| decide_told(&world.state, &world.view, world.now, told);
    let then = follows(&world, std::slice::from_ref(&release));
    assert!(then.is_empty(), "the positions are wanting: {then:?}");
    world.must(release);
    let at_rest = |world: &World, region: &str| {
        let settled = Some(Epoch(epoch));
        let told = world.state.databases[&"app".into()].instances[&region.into()].clone();
        let report = InstanceReport { settled, role: InstanceRole::Replica { streaming: false }, ..told };
        Command::ReportInstance { agent: AgentId::new(region, 1), service: "app".into(), report }
    };
    let first = at_rest(&world, "us");
    assert!(follows(&world, std::slice::from_ref(&first)).is_empty());
    world.must(first);
    // The second is not in the log yet when the last comes.
    let second = at_rest(&world, "eu");
    assert!(follows(&world, std::slice::from_ref(&second)).is_empty());
    let last = at_rest(&world, "ap");
    assert!(follows(&world, std::slice::from_ref(&last)).is_empty());
    let then = follows(&world, &[second.clone(), last.clone()]);
    assert!(then.iter().any(|command| matches!(command, Command::OpenPlan { .. })), "{then:?}");
    let batch = Command::Batch { commands: std::iter::once(last).chain(then).collect() };
    world.must(second);
    world.must(batch);
    assert!(world.state.databases[&"app".into()].holder().is_some());
    let by = |wanted: fn(&Event) -> bool| {
        let found = world.state.journal.entries().rfind(|entry| wanted(&entry.event));
        found.map(|entry| entry.by.clone()).unwrap()
    };
    assert_eq!(by(|event| matches!(event, Event::InstanceChanged { .. })), "agent/ap/1");
    assert_ne!(by(|event| matches!(event, Event::LeaseGranted { .. })), "agent/ap/1");
}

#[test]
fn a_failed_promotion_gives_the_turn_to_the_next() {
    let mut world = world(Mode::Async);
    world.stubborn.insert("eu".into());
    world.crash_database("app", "us");
    world.kill("us");
    world.run_for(secs(5));
    assert_eq!(world.writers("app"), ["ap"], "{}", world.conclusion("app"));
}

#[test]
fn a_new_primary_that_dies_while_its_plan_verifies_is_succeeded_at_once() {
    let mut world = world(Mode::Async);
    // Whoever is to verify the write does not speak any more.
    world.silence("ap");
    world.crash_database("app", "us");
    while world.writers("app") != ["eu"] {
        world.run_for(ms(10));
    }
    world.run_for(ms(500));
    assert!(world.last_plan().is_open(), "it is not verified yet");
    world.crash_database("app", "eu");
    world.run_for(secs(3));
    assert_eq!(world.writers("app").len(), 1, "{}", world.conclusion("app"));
}

/// S3: eu never wrote, so that what eu and ap have is all there is; us, which is gone, need not be asked.
#[test]
fn a_promotion_that_never_began_leaves_the_vacancy_as_it_was() {
    let mut world = world(Mode::Sync { acks: 1 });
    world.stubborn.insert("eu".into());
    world.kill("us");
    world.run_for(secs(10));
    assert_eq!(world.writers("app"), ["ap"], "{}", world.conclusion("app"));
}

/// S3: us may have begun a timeline of which nobody heard, and nobody has written since.
#[test]
fn a_promotion_that_never_began_leaves_the_timelines_as_they_were() {
    let mut world = world(Mode::Async);
    let (app, epoch) = (ServiceName::from("app"), world.epoch("app"));
    let history = world.state.databases[&app].history.clone();
    world.stubborn.extend(["eu".into(), "ap".into()]);
    world.kill("us");
    let has_tried = |world: &World| {
        let held = &world.state.databases[&app];
        held.epoch > Epoch(epoch) && held.vacancy().is_some_and(|vacancy| vacancy.last == Some("us".into()))
    };
    while !has_tried(&world) {
        world.run_for(ms(10));
    }
    assert_eq!(world.state.databases[&app].history, history);
    let begun = Branch { timeline: 7, epoch: Epoch(epoch) };
    tell(&mut world, "us", |report| report.branch = Some(begun));
    assert_eq!(world.state.databases[&app].stranger(&"us".into()), None);
    let older = Branch { epoch: Epoch(epoch - 1), ..begun };
    tell(&mut world, "us", |report| report.branch = Some(older));
    assert_eq!(world.state.databases[&app].stranger(&"us".into()), Some(older));
}

#[test]
fn what_may_be_lost_was_written_while_the_lease_was_in_force_and_not_until_its_end_was_found_out() {
    let mut world = world(Mode::Async);
    let limit = MaxDataLoss { bytes: 1 << 20, time: secs(6) };
    world.reconfigure(|config| {
        config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap().max_data_loss = limit;
    });
    world.run_for(secs(5));
    // Nothing is ended while too few vantages speak.
    world.kill("us");
    world.silence("eu");
    world.silence("ap");
    world.run_for(secs(30));
    assert_eq!(holder(&world), Some("us"));
    world.hear("eu");
    world.hear("ap");
    world.run_for(secs(10));
    assert_eq!(world.writers("app").len(), 1, "{}", world.conclusion("app"));
}

/// By a switchover of all that us had written; and when.
fn handed_over_to_eu() -> (World, Time) {
    let mut world = world(Mode::Async);
    world.write("app", "us", 1_234);
    let plan = switchover(&world.state, world.now, &"app".into(), Some(&"eu".into()), "test".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    while holder(&world) != Some("eu") {
        world.run_for(ms(1));
    }
    let granted = world.now;
    (world, granted)
}

/// Its heir was granted the lease, and was not heard of again; the others have heard nobody for long.
#[test]
fn whoever_has_all_that_counted_at_the_grant_lacks_only_what_came_under_it() {
    let (mut world, granted) = handed_over_to_eu();
    let app = ServiceName::from("app");
    let held = world.state.databases[&app].clone();
    let complete = held.complete.unwrap();
    assert_eq!((Some(complete.position), complete.until), (held.at_least, held.since));
    world.hung.extend(["us".into(), "ap".into()]);
    world.kill("eu");
    while world.state.databases[&app].vacancy().is_none() {
        world.run_for(ms(10));
    }
    let held = world.state.databases[&app].clone();
    let vacancy = held.vacancy().unwrap();
    let unheard = InstanceReport { silent: SILENT_UNKNOWN, ..held.instances[&"us".into()].clone() };
    let Position { timeline, lsn: Lsn(end) } = complete.position;
    let time = |position| loss(&held, vacancy, &unheard, position, Time(0)).time;
    assert!(time(complete.position) <= vacancy.since.since(granted) + secs(1), "{held:?}");
    assert!(time(Position { timeline, lsn: Lsn(end - 1) }) > secs(86_400));
    assert!(time(Position { timeline: timeline - 1, lsn: Lsn(end) }) > secs(86_400), "of an older history");
}

/// eu falls while nobody works, and its agent is there again, and tells nothing yet. Gives the epoch that it held.
fn eu_falls_and_comes_back(world: &mut World) -> Epoch {
    world.hung.extend(["us".into(), "eu".into(), "ap".into()]);
    world.kill("eu");
    world.run_for(secs(10));
    world.revive("eu");
    world.listen();
    Epoch(world.epoch("app"))
}

/// eu fell, took over from itself, and fell again: nobody knows how far it had come by then.
#[test]
fn what_counted_at_an_older_grant_is_not_all_that_counts_at_the_next() {
    let (mut world, granted) = handed_over_to_eu();
    let app = ServiceName::from("app");
    world.run_for(secs(5));
    world.write("app", "eu", 5_000);
    world.run_for(secs(25));
    let before = world.state.databases[&app].complete.unwrap();
    assert_eq!(before.until, granted);
    let epoch = eu_falls_and_comes_back(&mut world);
    tell(&mut world, "eu", |report| {
        (report.role, report.position) = (InstanceRole::Stopped { clean: false }, None);
        report.settled = Some(epoch);
    });
    world.settle();
    assert_eq!(holder(&world), Some("eu"), "{}", world.conclusion("app"));
    assert_eq!(world.state.databases[&app].complete, Some(before));
}

/// Another leader's clock says nothing of how long ago the grant was.
#[test]
fn what_another_leader_noted_bounds_no_loss() {
    let (mut world, granted) = handed_over_to_eu();
    let app = ServiceName::from("app");
    world.hung.extend(["us".into(), "ap".into()]);
    world.kill("eu");
    while world.state.databases[&app].vacancy().is_none() {
        world.run_for(ms(10));
    }
    let held = world.state.databases[&app].clone();
    let (vacancy, complete) = (held.vacancy().unwrap(), held.complete.unwrap());
    let unheard = InstanceReport { silent: SILENT_UNKNOWN, ..held.instances[&"us".into()].clone() };
    let time = |term| loss(&held, vacancy, &unheard, complete.position, term).time;
    assert!(time(granted - ms(1)) < secs(30));
    assert!(time(complete.until) > secs(86_400), "it may have been the one before");
    // Nor does how long a vacancy was that another leader had found, but what that one said of it.
    let heard = InstanceReport { silent: secs(20), ..unheard };
    let before = Position { lsn: Lsn(complete.position.lsn.0 - 1), ..complete.position };
    let vacancy = Vacancy { since: held.since - secs(5), late: secs(4), ..vacancy.clone() };
    let time = |term| loss(&held, &vacancy, &heard, before, term).time;
    assert_eq!((time(Time(0)), time(held.since)), (secs(15), secs(16)));
}

/// S3: it rests with less than it had to have before it could begin, so that nothing was written under its lease: us,
/// which ended in order, held it last. But for how long they had heard nothing is known to when the end of that was found.
#[test]
fn an_heir_that_turns_out_not_to_have_begun_held_nothing() {
    let (mut world, _) = handed_over_to_eu();
    let app = ServiceName::from("app");
    let before = world.state.databases[&app].filled.clone().unwrap();
    assert!(matches!(before.vacancy.proof, Proof::Released { clean: Some(_), .. }), "{before:?}");
    world.hung.extend(["us".into(), "ap".into()]);
    world.kill("eu");
    world.run_for(secs(20));
    let held = world.state.databases[&app].clone();
    let needed = held.at_least.unwrap();
    for (lacks, begun, is_undone) in
        [(0, "", false), (1, "eu", false), (1, "a timeline", false), (1, "a mark", false), (1, "", true)]
    {
        let mut world = world.clone();
        let known = world.state.databases.get_mut(&app).unwrap();
        known.chosen.get_mut(&"eu".into()).unwrap().has_begun = begun == "eu";
        // What follows it may be all that tells.
        let timeline = Branch { timeline: 9, epoch: held.epoch };
        known.instances.get_mut(&"ap".into()).unwrap().branch = (begun == "a timeline").then_some(timeline);
        tell(&mut world, "eu", |report| {
            report.role = InstanceRole::Replica { streaming: false };
            report.position = Some(Position { lsn: Lsn(needed.lsn.0 - lacks), ..needed });
            report.settled = Some(held.epoch);
            report.branch = before.history.last().copied();
            let marked = if begun == "a mark" { held.epoch.0 } else { held.epoch.0 - 1 };
            report.marked = Some(Epoch(marked));
        });
        let told = &world.state.databases[&app];
        let vacancy = told.vacancy().unwrap();
        match is_undone {
            true => assert_eq!((&vacancy.last, &vacancy.proof), (&Some("us".into()), &before.vacancy.proof)),
            false => assert_eq!(vacancy, held.vacancy().unwrap()),
        }
        assert_eq!(told.since, held.since);
    }
}

/// S3: eu had most when it was chosen, and came back with less: what it had may have been acknowledged.
#[test]
fn what_whoever_was_chosen_has_lost_since_still_counts() {
    let mut world = world(Mode::Sync { acks: 1 });
    let app = ServiceName::from("app");
    world.cut("ap", "us");
    world.write("app", "us", 1_234);
    world.run_for(secs(1));
    world.kill("us");
    world.stubborn.extend(["eu".into()]);
    while holder(&world) != Some("eu") {
        world.run_for(ms(1));
    }
    let held = world.state.databases[&app].clone();
    let had = held.needed().unwrap();
    while holder(&world) == Some("eu") {
        world.run_for(ms(1));
    }
    world.hung.extend(["eu".into(), "ap".into()]);
    let vacancy = world.state.databases[&app].vacancy().unwrap().clone();
    assert_eq!(vacancy.last, Some("us".into()), "it gave it back");
    let epoch = world.state.databases[&app].epoch;
    for region in ["eu", "ap"] {
        let ap = held.instances[&"ap".into()].position;
        tell(&mut world, region, |report| {
            (report.position, report.settled) = (ap, Some(epoch));
            report.role = InstanceRole::Replica { streaming: false };
        });
    }
    let (wished, held) = world.state.database(&app).unwrap();
    let unseen = |acks| {
        let wished = Database { mode: Mode::Sync { acks }, ..wished.clone() };
        let held = Ownership { before: None, ..held.clone() };
        unseen_acknowledgements(&app, &wished, &held, held.vacancy().unwrap())
    };
    assert_eq!(held.furthest().map(|furthest| furthest.lsn), Some(had.lsn));
    assert!(unseen(1).is_some_and(|why| why.contains("1 of 2 told")), "{:?}", unseen(1));
    assert_eq!(unseen(2), None, "ap has all that was acknowledged");
    let mut both = world.clone();
    both.run_for(secs(40));
    assert_eq!(holder(&both), None, "{}", both.conclusion("app"));
    // Nobody is asked to begin who would be refused, over and over.
    world.reconfigure(|config| {
        let database = config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap();
        database.mode = Mode::Sync { acks: 2 };
    });
    world.state.databases.get_mut(&app).unwrap().before = None;
    world.hung.remove(&"ap".into());
    let plans = world.state.plans.len();
    world.run_for(secs(40));
    assert_eq!(holder(&world), Some("ap"), "{}", world.conclusion("app"));
    assert!(world.state.plans.len() <= plans + 1, "{:#?}", world.state.plans);
}

/// S3: whoever held it last has everything, but where its machine came back with old data.
#[test]
fn whoever_held_it_last_and_lost_some_of_it_does_not_just_go_on() {
    let (mut world, _) = handed_over_to_eu();
    let app = ServiceName::from("app");
    world.run_for(secs(5));
    let had = world.state.databases[&app].needed().unwrap();
    let epoch = eu_falls_and_comes_back(&mut world);
    let come_back = |world: &mut World, lacks: u64| {
        tell(world, "eu", |report| {
            report.role = InstanceRole::Replica { streaming: false };
            report.position = Some(Position { lsn: Lsn(had.lsn.0 - lacks), ..had });
            report.settled = Some(epoch);
        });
        world.settle();
    };
    let mut whole = world.clone();
    come_back(&mut whole, 0);
    assert_eq!(holder(&whole), Some("eu"));
    come_back(&mut world, 1);
    assert_eq!(holder(&world), None);
    assert!(world.conclusion("app").contains("and must have"), "{}", world.conclusion("app"));
    let forced = |allow| force(&world.state, world.now, &app, Some(&"eu".into()), allow, "test".into());
    assert!(matches!(forced(false), Err(Refusal::NotAllowed { .. })));
    assert!(forced(true).is_ok());
}

/// S3: a log of an older timeline may reach further, and lacks what the newer one has all the same.
#[test]
fn what_was_acknowledged_on_a_newer_timeline_is_not_on_an_older_one() {
    let (world, _) = handed_over_to_eu();
    let app = ServiceName::from("app");
    let (wished, held) = world.state.database(&app).unwrap();
    let all = held.all_acknowledged().unwrap();
    let sync = Database { mode: Mode::Sync { acks: 1 }, ..wished.clone() };
    let lacks = |position| lacks_acknowledged(&sync, held, position).is_some();
    assert!(!lacks(all));
    assert!(lacks(Position { timeline: all.timeline - 1, lsn: Lsn(all.lsn.0 + 1_000) }));
}

/// S3: its machine may come back with old data between what it told and its begin.
#[test]
fn whoever_was_chosen_by_what_it_had_begins_with_no_less() {
    let mut world = world(Mode::Async);
    let app = ServiceName::from("app");
    world.write("app", "us", 1_234);
    world.run_for(secs(10));
    world.kill("us");
    while world.state.databases[&app].vacancy().is_none() {
        world.run_for(ms(1));
    }
    while holder(&world).is_none() {
        world.run_for(ms(1));
    }
    let held = &world.state.databases[&app];
    let chosen = held.holder().unwrap().clone();
    let told = held.instances[&chosen].position.unwrap();
    let goal = goal::of_agent(&world.state, &AgentId::new(chosen, 1)).databases.remove(0);
    let DatabaseRole::Primary { at_least, .. } = goal.role else { panic!("{goal:?}") };
    assert_eq!(held.at_least, None, "us did not end in order");
    assert_eq!(at_least.map(|least| least.lsn), Some(told.lsn));
}

/// S3: what it has is compared with nothing, so it proves nothing of what was acknowledged.
#[test]
fn an_instance_of_another_history_is_no_witness() {
    let mut world = world(Mode::Sync { acks: 1 });
    let app = ServiceName::from("app");
    world.hung.extend(["eu".into(), "ap".into()]);
    world.kill("us");
    while world.state.databases[&app].vacancy().is_none() {
        world.run_for(ms(10));
    }
    let unseen = |world: &World| {
        let (wished, held) = world.state.database(&app).unwrap();
        unseen_acknowledgements(&app, wished, held, held.vacancy().unwrap())
    };
    let epoch = Some(world.state.databases[&app].epoch);
    for region in ["eu", "ap"] {
        assert!(unseen(&world).is_some(), "{region} has not told");
        tell(&mut world, region, |report| report.settled = epoch);
    }
    assert_eq!(unseen(&world), None);
    let other = world.state.databases[&app].history.last().map(|last| Branch { epoch: Epoch(0), ..*last });
    tell(&mut world, "ap", |report| report.branch = other);
    assert!(unseen(&world).is_some_and(|why| why.contains("1 of 2 told")), "{:?}", unseen(&world));
}

#[test]
fn only_what_took_no_writes_leaves_the_vacancy_as_it_was() {
    let unwritten = |world: &mut World| {
        let held = world.state.databases[&"app".into()].clone();
        world.must(Command::ReleaseLease {
            agent: AgentId::new(held.holder().unwrap().clone(), 1),
            service: "app".into(),
            epoch: held.epoch,
            clean: None,
            last_known: None,
            unwritten: true,
            why: "test".into(),
        });
        world.state.databases[&"app".into()].vacancy().unwrap().clone()
    };
    let mut world = world(Mode::Sync { acks: 1 });
    let last = unwritten(&mut world).last;
    assert_eq!(last, Some("us".into()), "it says itself that it took writes before");

    let mut world = World::new(config(Mode::Sync { acks: 1 }));
    world.silence("us");
    while holder(&world) != Some("eu") {
        world.run_for(ms(10));
    }
    let before = world.state.databases[&"app".into()].filled.clone().unwrap();
    assert_eq!(before.vacancy.last, Some("us".into()));
    let after = unwritten(&mut world);
    assert_eq!(
        (after.last, after.proof, after.since),
        (before.vacancy.last, before.vacancy.proof, before.vacancy.since)
    );
    let held = &world.state.databases[&"app".into()];
    assert_eq!((&held.before, held.complete), (&Some(before.witnesses), before.complete));
}

#[test]
fn promotions_that_fail_do_not_follow_each_other_as_fast_as_they_fail() {
    let mut world = world(Mode::Async);
    world.stubborn.extend(["us", "eu", "ap"].map(Into::into));
    let before = world.epoch("app");
    world.crash_database("app", "us");
    world.run_for(secs(60));
    let grants = world.epoch("app") - before;
    assert!((3..=15).contains(&grants), "{grants} grants within a minute");
    world.stubborn.clear();
    world.run_for(secs(20));
    assert_eq!(world.writers("app").len(), 1, "{}", world.conclusion("app"));
}

/// eu is promoted and nobody hears of it; ap is promoted from where eu had begun, to the same number.
#[test]
fn a_log_that_was_given_up_is_not_taken_for_the_one_that_counts() {
    let mut world = world(Mode::Async);
    world.cut("ap", "eu");
    world.kill("us");
    world.run_for(secs(8));
    assert_eq!(world.writers("app"), ["eu"], "{}", world.conclusion("app"));
    world.write("app", "eu", 1_000);
    let given_up = world.instance("app", "eu").unwrap().position;
    world.kill("eu");
    world.revive("us");
    world.run_for(secs(8));
    assert_eq!(world.writers("app"), [""; 0], "only a person gives up what eu has");
    let forced = |allow| force(&world.state, world.now, &"app".into(), None, allow, "test".into());
    let refused = forced(false).unwrap_err().to_string();
    assert!(refused.contains("it is on an old timeline, 1, and the newest known is 2"), "{refused}");
    let plan = forced(true).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.run_for(secs(8));
    let second = world.writers("app").first().copied().unwrap_or_default().to_owned();
    assert!(["us", "ap"].contains(&second.as_str()), "{second}: {}", world.conclusion("app"));
    let counts = world.instance("app", &second).unwrap().position;
    assert_eq!(counts.timeline, given_up.timeline);
    assert!(counts.lsn < given_up.lsn);

    let third = if second == "us" { "ap" } else { "us" };
    world.cut("eu", &second);
    world.revive("eu");
    world.run_for(secs(5));
    assert_eq!(world.instance("app", "eu").unwrap().position, given_up, "it could not be copied yet");
    assert_eq!(world.state.databases[&"app".into()].furthest(), Some(counts));
    world.crash_database("app", &second);
    world.kill(&second);
    world.run_for(secs(8));
    assert_eq!(world.writers("app"), [third], "{}", world.conclusion("app"));
}

/// S3: it may die before it has heard of the mode.
#[test]
fn a_mode_that_the_primary_may_not_go_by_yet_proves_nothing() {
    let mut world = World::new({
        let mut config = config(Mode::Async);
        config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap().max_data_loss.bytes = 100;
        config
    });
    world.silence("us");
    world.write("app", "us", 1_000);
    let report = world.state.databases[&"app".into()].instances[&"us".into()].clone();
    let position = world.instance("app", "us").map(|instance| instance.position);
    let report = InstanceReport { position, ..report };
    world.must(Command::ReportInstance { agent: AgentId::new("us", 1), service: "app".into(), report });
    world.reconfigure(|config| {
        let app = config.services.get_mut(&"app".into()).unwrap();
        app.database.as_mut().unwrap().mode = Mode::Sync { acks: 1 };
    });
    world.kill("us");
    world.run_for(secs(20));
    assert_eq!(world.writers("app"), [""; 0]);
    assert!(world.conclusion("app").contains("1000 bytes known"), "{}", world.conclusion("app"));
}

/// S1: its guard goes by the lease that it was given last, and may not hear of another.
#[test]
fn a_lease_that_is_made_shorter_is_waited_for_as_it_was() {
    let mut world = world(Mode::Async);
    let long = world.config().services[&"app".into()].database.as_ref().unwrap().lease.ttl;
    world.silence("us");
    world.reconfigure(|config| {
        let app = config.services.get_mut(&"app".into()).unwrap();
        app.database.as_mut().unwrap().lease = Profile::Fast.lease();
    });
    world.run_for(long);
    assert_eq!(holder(&world), Some("us"));
    world.run_for(secs(1));
    assert_eq!(world.writers("app"), ["eu"], "{}", world.conclusion("app"));
    world.kill("eu");
    world.run_for(secs(2));
    assert_eq!(holder(&world), Some("ap"), "and the next one is short");
}

#[test]
fn a_pause_leaves_the_lease_to_its_holder() {
    let mut world = world(Mode::Async);
    world.must(Command::Pause { why: "maintenance".into() });
    world.silence("us");
    world.run_for(secs(30));
    assert_eq!(holder(&world), Some("us"));
    assert_eq!(world.writers("app"), [""; 0], "its guard knows of no pause");
    world.hear("us");
    world.run_for(secs(1));
    assert_eq!(world.writers("app"), ["us"], "at the epoch that it had");
    assert_eq!(world.state.databases[&"app".into()].epoch, Epoch(2));
}

#[test]
fn a_plan_waits_for_a_person_where_that_is_wished_but_going_on_does_not() {
    let mut config = config(Mode::Async);
    config.strategy.manual_approval_required = true;
    let mut world = World::new(config);
    assert_eq!(world.writers("app"), ["us"]);
    world.kill("us");
    world.run_for(secs(10));
    assert_eq!(world.last_plan().status, PlanStatus::AwaitingApproval);
    assert_eq!(world.writers("app"), [""; 0]);
    let id = world.last_plan().plan.id;
    let mut approved = world.clone();
    approved.must(Command::Approve { plan: id });
    approved.run_for(secs(1));
    assert_eq!(approved.writers("app"), ["eu"]);

    world.revive("us");
    world.run_for(secs(2));
    assert_eq!(world.writers("app"), ["us"]);
}

#[test]
fn the_state_refuses_what_would_make_two_writers() {
    let mut world = world(Mode::Async);
    let epoch = world.state.databases[&"app".into()].epoch;
    let heard = Time(world.now.0 - 100);
    let early = Command::ExpireLease { service: "app".into(), epoch, heard, position: None, told_at: None };
    let refused = world.apply(early);
    assert!(
        matches!(refused.refusal(), Some(Refusal::NotAllowed { detail }) if detail.contains("may not have expired"))
    );

    // Another's agent cannot give it back, nor can its own for an epoch that is to come.
    for (agent, epoch) in [("eu", epoch), ("us", Epoch(epoch.0 + 1))] {
        let release = Command::ReleaseLease {
            agent: AgentId::new(agent, 1),
            service: "app".into(),
            epoch,
            clean: None,
            last_known: None,
            unwritten: false,
            why: "test".into(),
        };
        assert!(matches!(world.apply(release), Outcome::Refused { .. }), "{agent}");
    }
    assert_eq!(holder(&world), Some("us"));

    // A promotion without the fence before it.
    let mut plan =
        switchover(&world.state, world.now, &"app".into(), Some(&"eu".into()), "test".into()).unwrap();
    let fence = plan.steps.iter().find(|step| matches!(step.action, Action::Fence { .. })).cloned().unwrap();
    plan.steps.retain(|step| matches!(step.action, Action::Promote { .. }));
    plan.steps[0].after.clear();
    let (id, step) = (plan.id, plan.steps[0].id);
    let mut with_fence = plan.clone();
    with_fence.steps.push(fence.clone());
    world.must(Command::OpenPlan { plan: with_fence, explanation: None });
    // A fence that somebody says is done, while the lease is held.
    world.must(Command::StartStep { plan: id, step: fence.id, attempt: 1 });
    let done = Command::StepDone {
        plan: id,
        step: fence.id,
        attempt: 1,
        epoch: plan.epoch,
        result: StepResult::Done { note: "it was told".into() },
    };
    let outcome = world.apply(done);
    assert!(
        matches!(outcome.refusal(), Some(Refusal::NotAllowed { detail }) if detail.contains("may still take writes")),
        "{outcome:?}"
    );
    let outcome = world.apply(Command::StartStep { plan: id, step, attempt: 1 });
    assert!(
        matches!(outcome.refusal(), Some(Refusal::NotAllowed { detail }) if detail.contains("may still take writes")),
        "{outcome:?}"
    );
}

#[test]
fn a_new_leader_waits_for_leases_that_it_knows_nothing_of() {
    let mut world = world(Mode::Async);
    world.silence("us");
    world.run_for(secs(3));
    // Another controller leads: what was renewed before is not known to it.
    world.view.renewals.clear();
    world.view.since = world.now;
    world.run_for(secs(3));
    assert_eq!(holder(&world), Some("us"));
    world.run_for(secs(2));
    assert_eq!(world.writers("app"), ["eu"]);
}

#[test]
fn goals_say_who_writes_and_who_follows() {
    let mut world = world(Mode::Async);
    let role = |world: &World, region: &str| {
        goal::of_agent(&world.state, &AgentId::new(region, 1)).databases[0].role.clone()
    };
    assert!(matches!(role(&world, "us"), DatabaseRole::Primary { .. }));
    assert_eq!(role(&world, "eu"), DatabaseRole::Replica { of: "us".into(), heir: false });
    let epoch = world.state.databases[&"app".into()].epoch;
    world.must(Command::ReleaseLease {
        agent: AgentId::new("us", 1),
        service: "app".into(),
        epoch,
        clean: None,
        last_known: None,
        unwritten: false,
        why: "test".into(),
    });
    let vacancy = world.state.databases[&"app".into()].vacancy().unwrap().clone();
    assert!(matches!(vacancy.proof, Proof::Released { .. }));
    for region in ["us", "eu", "ap"] {
        assert_eq!(role(&world, region), DatabaseRole::Rest { wrote_last: region == "us" });
    }
}

/// The leader is lost before, in the midst of, and after each entry that a story takes. However it
/// was, it ends the same, and nobody was granted the lease twice for it.
#[test]
fn a_leader_lost_at_any_step_changes_nothing_in_the_end() {
    type Story = fn(&mut World);
    let stories: [(&str, Story); 3] = [
        ("postmaster killed", |world| world.crash_database("app", "us")),
        ("region lost", |world| world.kill("us")),
        ("switchover", |world| {
            let (state, now) = (&world.state, world.now);
            let plan = switchover(state, now, &"app".into(), Some(&"eu".into()), "test".into()).unwrap();
            world.must(Command::OpenPlan { plan, explanation: None });
        }),
    ];
    let begun = world(Mode::Async);
    for (name, story) in stories {
        let mut reached = 0;
        for entries in 0.. {
            let mut world = begun.clone();
            let from = world.state.journal.last_seq();
            story(&mut world);
            world.lose_leader_after = Some(entries);
            world.run_for(secs(30));
            if world.lose_leader_after.is_some() {
                // The story has fewer entries.
                reached = entries;
                break;
            }
            let journal = world.journal(from);
            assert_eq!(world.writers("app"), ["eu"], "{name} after {entries}: {journal:#?}");
            assert_eq!(world.primary("app"), "eu", "{name} after {entries}");
            assert_eq!(world.answers_for("app.example.test"), ["eu=100"], "{name} after {entries}");
            let granted = journal.iter().filter(|entry| entry.contains("may take writes")).count();
            assert_eq!(granted, 1, "{name} after {entries}: {journal:#?}");
            assert_eq!(world.last_plan().status, PlanStatus::Done, "{name} after {entries}: {journal:#?}");
        }
        assert!(reached > 5, "{name}: only {reached} entries");
    }
}

/// S3: us ends in order, and what it sent last reaches nobody.
#[test]
fn what_ended_in_order_is_not_gone_on_without() {
    let ended = |mode| {
        let mut world = world(mode);
        let epoch = Epoch(world.epoch("app"));
        world.write("app", "us", 4_096);
        let clean = world.instance("app", "us").map(|instance| instance.position);
        world.must(Command::ReleaseLease {
            agent: AgentId::new("us", 1),
            service: "app".into(),
            epoch,
            clean,
            last_known: None,
            unwritten: false,
            why: "it was shut down in order".into(),
        });
        world.kill("us");
        world.run_for(secs(60));
        world
    };
    let mut world = ended(Mode::Sync { acks: 1 });
    assert_eq!(world.writers("app"), [""; 0]);
    assert!(world.conclusion("app").contains("and must have"), "{}", world.conclusion("app"));
    let force = |world: &World, allow| {
        force(&world.state, world.now, &"app".into(), Some(&"eu".into()), allow, "test".into())
    };
    let refused = force(&world, false).unwrap_err();
    assert!(
        matches!(&refused, Refusal::NotAllowed { detail } if detail.contains("what was acknowledged reaches until")),
        "{refused}"
    );
    let plan = force(&world, true).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.run_for(secs(10));
    assert_eq!(world.writers("app"), ["eu"], "a person gave up what it lacks");
    // Where rows may go by the configuration, they do, and nobody waits for them.
    assert_eq!(ended(Mode::Async).writers("app"), ["eu"]);
}
