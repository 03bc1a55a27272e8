//! What every member checks for itself, whoever proposes it.

use std::sync::Arc;

use crate::command::{AgentInfo, Command, Outcome, Refusal, Stamped};
use crate::config::Mode;
use crate::database::{InstanceRole, Owner, Position};
use crate::decide::switchover;
use crate::incident::{Incident, IncidentStatus, Subject};
use crate::lsn::Lsn;
use crate::name::AgentId;
use crate::plan::{Epoch, Kind, Plan, PlanStatus, StepId};
use crate::state::State;
use crate::testing::{
    Answers, World, add_service, also_elsewhere, by_dynamic_update, region_mut, secs, three_regions,
    with_database,
};
use crate::time::Time;
use crate::verdict::Verdict;

fn not_allowed(outcome: &Outcome) -> String {
    match outcome.refusal() {
        Some(Refusal::NotAllowed { detail }) => detail.clone(),
        other => panic!("{other:?}"),
    }
}

fn a_plan(world: &World) -> Plan {
    switchover(&world.state, world.now, &"app".into(), None, "test".into()).unwrap()
}

#[test]
fn a_service_that_comes_back_goes_on_from_its_epoch() {
    let mut config = three_regions();
    add_service(&mut config, "web");
    let mut world = World::new(config.clone());
    let plan = switchover(&world.state, world.now, &"web".into(), None, "test".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.run_for(secs(1));
    assert_eq!(world.epoch("web"), 2);
    let web = config.services[&"web".into()].clone();
    world.reconfigure(|config| drop(config.services.remove(&"web".into())));
    assert_eq!(world.state.retired[&"web".into()], Epoch(2));
    world.reconfigure(|config| drop(config.services.insert("web".into(), web)));
    assert_eq!(world.epoch("web"), 3);
    assert_eq!(world.primary("web"), "us");
    assert!(world.state.retired.is_empty());
}

#[test]
fn a_zone_that_comes_back_goes_on_from_its_generation() {
    let mut world = World::new(three_regions());
    let config = world.config().clone();
    let zone = || world.state.zones[&"example.test".into()].generation;
    let before = zone();
    // All in one entry of the log, at one index.
    let mut without = config.clone();
    without.zones.clear();
    without.services.get_mut(&"app".into()).unwrap().dns.clear();
    let mut commands = Vec::new();
    for n in 0..6 {
        let next = if n % 2 == 0 { without.clone() } else { config.clone() };
        commands.push(Command::SetConfig { parent_generation: 1 + n, config: Box::new(next) });
    }
    world.must(Command::Batch { commands });
    assert!(world.state.zones[&"example.test".into()].generation > before);
    assert_eq!(world.state.config_generation, 7);
}

#[test]
fn a_configuration_is_refused_when_stale_orphaning_or_in_the_midst_of_a_plan() {
    let mut world = World::new(three_regions());
    let config = Box::new(world.config().clone());
    let stale = world.apply(Command::SetConfig { parent_generation: 0, config: config.clone() });
    assert_eq!(stale.refusal(), Some(&Refusal::StaleConfig { given: 0, newest: 1 }));
    assert_eq!(world.apply(Command::SetConfig { parent_generation: 1, config }), Outcome::Unchanged);
    let orphan = world.reconfigure(|config| region_mut(config, "us").services.clear());
    assert_eq!(
        not_allowed(&orphan),
        "app has its primary in us, which would no longer host it: `failover switchover app --to REGION` first"
    );
    let plan = a_plan(&world);
    world.must(Command::OpenPlan { plan, explanation: None });
    let busy = world.reconfigure(|config| config.strategy.min_stay = secs(1));
    assert_eq!(not_allowed(&busy), "plan-1 is running; the configuration changes when it has ended");
}

#[test]
fn what_left_the_configuration_is_forgotten() {
    let mut world = World::new(three_regions());
    world.kill("ap");
    world.run_for(secs(10));
    world.must(Command::Drain { region: "ap".into(), why: "works".into() });
    assert!(open_incident(&world, Subject::Region("ap".into())).is_some());
    world.reconfigure(|config| {
        config.regions.retain(|region| region.name != "ap".into());
        config.checks.retain(|check| check.region != "ap".into());
        config.services.get_mut(&"app".into()).unwrap().dns[0].values.remove(&"ap".into());
    });
    let state = &world.state;
    assert!(!state.drained.contains_key(&"ap".into()) && !state.regions.contains_key(&"ap".into()));
    assert!(!state.services[&"app".into()].standing.contains_key(&"ap".into()));
    assert!(!state.sessions.contains_key(&AgentId::new("ap", 1)));
    assert!(open_incident(&world, Subject::Region("ap".into())).is_none());
}

#[test]
fn a_stale_plan_is_refused() {
    let mut world = World::new(three_regions());
    let plan = a_plan(&world);
    let try_with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        let mut world = world.clone();
        let outcome = world.apply(Command::OpenPlan { plan, explanation: None });
        outcome.refusal().expect("it is refused").to_string()
    };
    assert_eq!(
        try_with(&|plan| plan.parent.epoch = Epoch(0)),
        "the plan was made for another state: app at epoch 0, now 1"
    );
    assert_eq!(
        try_with(&|plan| plan.parent.config_generation = 0),
        "the plan was made for another state: configuration generation 0, now 1"
    );
    assert_eq!(
        try_with(&|plan| plan.id.0 = 7),
        "the plan was made for another state: plan-7, but the next is plan-1"
    );
    assert_eq!(try_with(&|plan| plan.epoch = Epoch(1)), "epoch 1 is stale, app is at epoch 1");
    assert_eq!(try_with(&|plan| plan.from = "ap".into()), "the primary of app is us, not ap");
    assert_eq!(try_with(&|plan| plan.to = "us".into()), "app is in us already");
    assert_eq!(try_with(&|plan| plan.to = "mars".into()), "mars does not host app");
    assert_eq!(
        try_with(&|plan| plan.steps.clear()),
        "plan-1 is malformed: exactly one step must be its point of no return"
    );
    assert_eq!(
        try_with(&|plan| plan.steps[0].after = vec![StepId(2)]),
        "plan-1 is malformed: a step waits for one that does not come before it"
    );
    assert_eq!(try_with(&|plan| plan.steps[1].attempts = 0), "plan-1 is malformed: a step has no attempts");
    assert_eq!(
        try_with(&|plan| plan.steps[1].id = StepId(1)),
        "plan-1 is malformed: two steps have one number"
    );
    world.must(Command::OpenPlan { plan: plan.clone(), explanation: None });
    let mut second = a_second(&world, &plan);
    second.parent.epoch = Epoch(2);
    let outcome = world.apply(Command::OpenPlan { plan: second, explanation: None });
    assert_eq!(outcome.refusal().unwrap().to_string(), "app has plan-1 open already");
}

fn a_second(world: &World, plan: &Plan) -> Plan {
    Plan { id: world.state.next_plan(), epoch: Epoch(plan.epoch.0 + 1), ..plan.clone() }
}

#[test]
fn an_automatic_plan_out_of_a_healthy_region_is_refused() {
    let mut world = World::new(three_regions());
    let mut plan = a_plan(&world);
    (plan.automatic, plan.kind) = (true, Kind::Failover);
    let outcome = world.apply(Command::OpenPlan { plan, explanation: None });
    assert_eq!(not_allowed(&outcome), "app in us is not held dead");
}

/// The evidence changed between the leader's look and its entry.
#[test]
fn a_failover_decided_on_evidence_that_is_gone_is_refused() {
    let mut world = World::new(three_regions());
    world.break_service("app", "us");
    world.run_for(secs(3));
    world.now = world.now + secs(1);
    let decided = world.decide().commands;
    assert!(matches!(decided[0], Command::OpenPlan { .. }), "{decided:?}");
    world.mend_service("app", "us");
    world.listen();
    world.now = world.now + secs(1);
    world.listen();
    assert_eq!(not_allowed(&world.apply(decided[0].clone())), "app in us is accused by no majority any more");
}

#[test]
fn a_paused_leader_that_comes_back_changes_nothing() {
    let mut stale = World::new(three_regions());
    stale.kill("us");
    stale.listen();
    stale.now = stale.now + secs(4);
    stale.listen();
    let decided = stale.decide().commands;
    // Meanwhile another leader has moved it, and a person has moved it on.
    let mut world = stale.clone();
    world.run_for(secs(5));
    let to = "ap".into();
    let plan = switchover(&world.state, world.now, &"app".into(), Some(&to), "on".into()).unwrap();
    world.must(Command::OpenPlan { plan, explanation: None });
    world.run_for(secs(1));
    let (zones, services) = (world.state.zones.clone(), world.state.services.clone());
    for command in decided {
        world.apply(command);
    }
    assert_eq!((zones, services), (world.state.zones.clone(), world.state.services.clone()));
}

#[test]
fn agents_that_are_not_configured_are_refused_and_what_they_tell_is_bounded() {
    let mut world = World::new(three_regions());
    let open = |agent, info| Command::OpenSession { agent, info };
    for agent in [AgentId::new("us", 0), AgentId::new("us", 2), AgentId::new("mars", 1)] {
        assert!(world.apply(open(agent, AgentInfo::default())).refusal().is_some());
    }
    let long = "x".repeat(100_000);
    let info = AgentInfo { dns: Some(long.clone()), version: long, peer: None };
    world.must(open(AgentId::new("us", 1), info));
    assert!(serde_json::to_string(&world.state.sessions).unwrap().len() < 4_000);
}

#[test]
fn refusals_before_a_configuration_and_of_unknown_things() {
    let mut state = State::default();
    let mut apply = |command| {
        let outcome = state.apply(1, Stamped { at: Time(1), by: "test".into(), command });
        outcome.refusal().map(ToString::to_string)
    };
    let agent = AgentId::new("us", 1);
    let none = "no configuration has been set yet; set one with `failover config apply`".to_owned();
    assert_eq!(apply(Command::OpenSession { agent, info: Default::default() }), Some(none.clone()));
    assert_eq!(apply(Command::Drain { region: "us".into(), why: "w".into() }), Some(none));
    assert_eq!(apply(Command::Approve { plan: crate::plan::PlanId(3) }), Some("there is no plan-3".into()));
    let text = "n".repeat(5_000);
    assert_eq!(apply(Command::Note { text }), Some("the note is 5000 long, at most 4096 is kept".into()));
}

fn open_incident(world: &World, subject: Subject) -> Option<&Incident> {
    let mut incidents = world.state.incidents.iter().map(|incident| &**incident);
    incidents.find(|incident| incident.subject == subject && incident.resolved_at.is_none())
}

fn statuses(world: &World, subject: Subject) -> Vec<IncidentStatus> {
    let incident = world.state.incidents.iter().find(|incident| incident.subject == subject).unwrap();
    incident.updates.iter().map(|update| update.status).collect()
}

#[test]
fn an_incident_tells_a_failover_from_suspicion_to_service() {
    use IncidentStatus::{Identified, Investigating, Monitoring, Resolved};
    let mut world = World::new(three_regions());
    world.kill("us");
    world.run_for(secs(10));
    let app = Subject::Service("app".into());
    // Partitioned, and held for that; dead; a plan; its end; served.
    let told = [Investigating, Identified, Identified, Identified, Monitoring, Resolved];
    assert_eq!(statuses(&world, app), told);
    assert!(open_incident(&world, Subject::Region("us".into())).is_some(), "the region is still lost");
    world.revive("us");
    world.run_for(secs(10));
    let region = statuses(&world, Subject::Region("us".into()));
    assert_eq!(region.first(), Some(&Investigating));
    assert_eq!(region.last(), Some(&Resolved));
    assert_eq!(world.state.incidents.len(), 2);
}

#[test]
fn an_incident_is_resolved_when_the_service_recovers_without_a_move() {
    let mut world = World::new(three_regions());
    world.must(Command::Pause { why: "audit".into() });
    world.break_service("app", "us");
    world.run_for(secs(10));
    let app = Subject::Service("app".into());
    let open = open_incident(&world, app.clone()).unwrap();
    assert_eq!(open.updates.last().unwrap().body, "not moved: automation is paused: audit");
    world.mend_service("app", "us");
    world.run_for(secs(10));
    assert!(open_incident(&world, app).is_none());
    assert!(world.state.held.is_empty());
}

#[test]
fn a_half_moved_service_keeps_its_incident_until_all_its_names_follow() {
    let mut config = three_regions();
    also_elsewhere(&mut config, "app");
    let mut world = World::new(config);
    world.answers = Answers::Fail;
    world.kill("us");
    world.run_for(secs(20));
    assert_eq!(world.primary("app"), "eu");
    let app = Subject::Service("app".into());
    let mut long_away = world.clone();
    let follows_once_it_is_back = |world: &mut World, within: std::time::Duration| {
        assert!(open_incident(world, app.clone()).is_some());
        assert!(!world.names_elsewhere_are_right());
        world.answers = Answers::Done;
        world.run_for(within);
        let last = world.last_plan();
        assert_eq!((last.plan.kind, &last.status), (Kind::Publish, &PlanStatus::Done));
        assert!(world.names_elsewhere_are_right());
        assert!(open_incident(world, app.clone()).is_none());
    };
    follows_once_it_is_back(&mut world, secs(15));
    // The longer it was away the less often it is asked, so that the journal tells of other things, too.
    long_away.run_for(secs(1_800));
    let asked_in_an_hour = |world: &mut World| {
        let before = world.state.next_plan().0;
        world.run_for(secs(3_600));
        world.state.next_plan().0 - before
    };
    assert!((50..=60).contains(&asked_in_an_hour(&mut long_away)));
    follows_once_it_is_back(&mut long_away, secs(61));
}

/// Else whoever takes them out of the configuration would have to wait for them.
#[test]
fn the_configuration_changes_while_dns_servers_are_told_in_vain() {
    let mut config = three_regions();
    also_elsewhere(&mut config, "app");
    let mut world = World::new(config);
    world.answers = Answers::Never;
    let plan = a_plan(&world);
    world.must(Command::OpenPlan { plan, explanation: None });
    let change = |world: &World| Command::SetConfig {
        parent_generation: world.state.config_generation,
        config: Box::new(three_regions()),
    };
    world.run_for(secs(5));
    assert!(world.apply(change(&world)).refusal().is_some(), "a move is under way");
    world.run_for(secs(60));
    assert_eq!(
        (world.last_plan().plan.kind, &world.last_plan().status),
        (Kind::Publish, &PlanStatus::Running)
    );
    world.must(change(&world));
    world.run_for(secs(1));
    assert!(matches!(world.last_plan().status, PlanStatus::Stopped(_)));
}

/// It was done and the answer was lost: DNS and state differ, and must not for long.
#[test]
fn a_shift_that_ended_in_doubt_is_told_anew() {
    let mut config = three_regions();
    by_dynamic_update(&mut config);
    let mut world = World::new(config);
    world.answers = Answers::Lost;
    let plan = a_plan(&world);
    world.must(Command::OpenPlan { plan, explanation: None });
    world.run_for(secs(50));
    assert!(!world.names_elsewhere_are_right(), "eu is named, and the plan is about to stop");
    world.run_for(secs(10));
    assert_eq!(world.primary("app"), "us");
    assert_eq!(world.last_plan().plan.kind, Kind::Publish);
    assert!(world.names_elsewhere_are_right());
}

#[test]
fn a_copy_shares_what_is_large() {
    let world = World::new(three_regions());
    let copy = world.state.clone();
    assert!(Arc::ptr_eq(copy.config.as_ref().unwrap(), world.state.config.as_ref().unwrap()));
    assert_eq!(world.state.region_verdict(&"us".into()), Verdict::Healthy);
}

/// S3: names that follow a promotion which waits for its rows must not make it begin without them.
#[test]
fn what_must_be_there_before_writes_begin_outlives_a_second_grant() {
    let mut config = three_regions();
    with_database(&mut config, "app", Mode::Sync { acks: 1 });
    let world = World::new(config);
    let granted = |accepts_loss| {
        let mut state = world.state.clone();
        let held = state.databases.get_mut(&"app".into()).unwrap();
        let least = Position { timeline: 1, lsn: Lsn(77) };
        (held.owner, held.at_least) = (Owner::Held("eu".into()), Some(least));
        held.instances.get_mut(&"eu".into()).unwrap().role = InstanceRole::Replica { streaming: false };
        let plan = Plan { epoch: Epoch(9), accepts_loss, ..a_plan(&world) };
        let context = super::Context { index: state.index, by: "test" };
        super::database::grant(&mut state, &context, &plan, &"eu".into());
        let held = &state.databases[&"app".into()];
        assert_eq!(held.epoch, Epoch(9));
        held.at_least.map(|position| position.lsn.0)
    };
    assert_eq!(granted(false), Some(77));
    assert_eq!(granted(true), None);
}

/// Whoever keeps the lease at a higher epoch may have begun its timeline at the lower one: what follows it is of that.
#[test]
fn a_lease_that_is_granted_again_leaves_nobody_behind() {
    let mut config = three_regions();
    with_database(&mut config, "app", Mode::Async);
    let world = World::new(config);
    let app = "app".into();
    let mut state = world.state.clone();
    let before = state.databases[&app].clone();
    assert!(before.has_begun());
    let again = Plan { to: "us".into(), ..a_plan(&world) };
    let context = super::Context { index: state.index + 1, by: "test" };
    super::database::grant(&mut state, &context, &again, &"us".into());
    let held = &state.databases[&app];
    assert_eq!(held.epoch, again.epoch);
    assert_eq!((held.written, held.has_begun(), &held.chosen), (before.written, true, &before.chosen));
    super::database::grant(&mut state, &context, &again, &"eu".into());
    let held = &state.databases[&app];
    assert_eq!((held.written, held.has_begun()), (again.epoch, false));
}
