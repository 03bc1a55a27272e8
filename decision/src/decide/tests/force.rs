//! A failover that a person forces, and copies made anew at a person's word.

use crate::command::{Command, Outcome, Refusal};
use crate::config::{Config, MaxDataLoss, Mode};
use crate::database::Loss;
use crate::decide::{force, forceable, switchover};
use crate::goal;
use crate::name::AgentId;
use crate::plan::{Kind, Plan, PlanStatus};
use crate::testing::{World, ms, secs, three_regions, with_database};

fn config() -> Config {
    let mut config = three_regions();
    with_database(&mut config, "app", Mode::Async);
    config
}

fn world() -> World {
    World::new(config())
}

fn forced(world: &World, to: Option<&str>, allow_data_loss: bool) -> Result<Plan, String> {
    let to = to.map(Into::into);
    force(&world.state, world.now, &"app".into(), to.as_ref(), allow_data_loss, "test".into())
        .map_err(|refusal| refusal.to_string())
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.action.to_string()).collect()
}

fn open(world: &mut World, plan: Plan) {
    world.must(Command::OpenPlan { plan, explanation: None });
}

#[test]
fn while_another_writes_it_is_forced_only_with_a_persons_word() {
    let mut world = world();
    world.cut("eu", "us");
    world.write("app", "us", 5_000);
    world.run_for(secs(3));
    // The third has more, so that it is the better choice.
    assert_eq!(
        forced(&world, None, false).unwrap_err(),
        "ap can take over the database of app only with loss: by the last reports it lacks nothing, and so it does \
         whatever us may write until it is fenced; `failover failover app --to ap --allow-data-loss` takes it all the \
         same; `failover switchover app --to ap` moves it without loss"
    );
    assert_eq!(
        forced(&world, Some("eu"), false).unwrap_err(),
        "eu can take over the database of app only with loss: by the last reports it lacks 5000 bytes known, and what \
         was written within 3s, and so it does whatever us may write until it is fenced; `failover failover app --to \
         eu --allow-data-loss` takes it all the same"
    );
    let plan = forced(&world, Some("eu"), true).unwrap();
    assert_eq!((plan.kind, plan.automatic, plan.accepts_loss), (Kind::Failover, false, true));
    assert_eq!(plan.loss, Some(Loss { bytes: 5_000, time: secs(3) }));
    assert_eq!(steps(&plan)[..2], ["fence the database in us", "promote the database in eu"]);
    open(&mut world, plan);
    world.run_for(ms(500));
    assert_eq!(world.writers("app"), ["eu"]);
    assert_eq!(world.primary("app"), "eu");
    assert_eq!(world.last_plan().status, PlanStatus::Done);
}

#[test]
fn one_that_does_not_answer_is_waited_for_until_its_lease_is_over_also_while_paused() {
    let mut world = world();
    world.must(Command::Pause { why: "maintenance".into() });
    world.silence("us");
    world.run_for(secs(60));
    assert_eq!(world.writers("app"), [""; 0]);
    let plan = switchover(&world.state, world.now, &"app".into(), Some(&"eu".into()), "test".into());
    assert_eq!(
        plan.unwrap_err().to_string(),
        "us writes to the database of app, and its agent has no session to end it in order; `failover failover app` \
         does not ask for it"
    );
    let plan = forced(&world, Some("eu"), true).unwrap();
    open(&mut world, plan);
    world.run_for(secs(1));
    assert_eq!(world.writers("app"), ["eu"], "{:?}", world.last_plan());
    world.hear("us");
    world.run_for(secs(2));
    assert_eq!(world.writers("app"), ["eu"]);
}

#[test]
fn past_the_loss_that_is_allowed_a_person_goes() {
    let mut config = config();
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
    let refused = forced(&world, None, false).unwrap_err();
    assert!(
        refused.starts_with("eu can take over the database of app only with loss: it lacks 5000 bytes known")
    );
    assert!(
        refused.ends_with("`failover failover app --to eu --allow-data-loss` takes it all the same"),
        "{refused}"
    );
    let rejected: Vec<String> = forceable(&world.state, world.now, &"app".into())
        .into_iter()
        .map(|rejected| format!("{}: {}", rejected.region, rejected.why))
        .collect();
    assert_eq!(rejected, ["us: its agent has no session, so that nobody there could promote it"]);

    let plan = forced(&world, None, true).unwrap();
    assert_eq!((plan.to.as_str(), plan.loss.map(|loss| loss.bytes)), ("eu", Some(5_000)));
    open(&mut world, plan);
    world.run_for(secs(1));
    assert_eq!(world.writers("app"), ["eu"], "{:?}", world.last_plan());
    world.revive("us");
    world.run_for(secs(5));
    assert_eq!(world.writers("app"), ["eu"]);
}

#[test]
fn an_instance_that_is_marked_nofailover_is_chosen_only_by_name() {
    let mut config = config();
    let database = config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap();
    database.instances.get_mut(&"eu".into()).unwrap().nofailover = true;
    let mut world = World::new(config);
    assert_eq!(forced(&world, None, true).unwrap().to.as_str(), "ap");
    let plan = forced(&world, Some("eu"), true).unwrap();
    open(&mut world, plan);
    world.run_for(ms(500));
    assert_eq!(world.writers("app"), ["eu"]);
}

#[test]
fn what_cannot_take_over_is_refused_with_the_reason_whatever_a_person_accepts() {
    let mut world = world();
    world.kill("ap");
    world.run_for(secs(10));
    let refused = |to: &str| forced(&world, Some(to), true).unwrap_err();
    assert_eq!(
        refused("ap"),
        "ap cannot take over the database of app: its agent has no session, so that nobody there could promote it"
    );
    assert_eq!(refused("us"), "us cannot take over the database of app: us writes already");
    assert_eq!(refused("mars"), "there is no region mars");
}

#[test]
fn where_nobody_writes_it_goes_on_where_it_was_at_a_persons_word() {
    let mut world = world();
    world.stubborn.insert("eu".into());
    world.stubborn.insert("ap".into());
    world.crash_database("app", "us");
    world.must(Command::Pause { why: "looking into it".into() });
    world.run_for(secs(5));
    assert_eq!(world.writers("app"), [""; 0]);
    let plan = forced(&world, None, false).unwrap();
    assert_eq!((plan.kind, plan.to.as_str(), plan.loss), (Kind::Recover, "us", None));
    open(&mut world, plan);
    world.run_for(secs(1));
    assert_eq!(world.writers("app"), ["us"]);
}

#[test]
fn without_a_database_nothing_is_demanded_of_the_region_that_is_left() {
    let mut world = World::new(three_regions());
    let plan = forced(&world, None, false).unwrap();
    assert_eq!((plan.kind, plan.to.as_str()), (Kind::Failover, "eu"));
    open(&mut world, plan);
    world.run_for(secs(1));
    assert_eq!(world.primary("app"), "eu");
}

#[test]
fn names_follow_who_writes_after_a_promotion_that_outlived_its_plan() {
    let mut world = world();
    world.crash_database("app", "us");
    for _ in 0..20 {
        let commands = world.decide().commands;
        let grants = world.state.databases[&"app".into()].holder().is_some();
        if grants {
            break;
        }
        commands.into_iter().for_each(|command| drop(world.must(command)));
        world.now = world.now + ms(10);
        world.listen();
    }
    let holder = world.state.databases[&"app".into()].holder().cloned().unwrap();
    let id = world.last_plan().plan.id;
    if world.last_plan().is_open() {
        world.must(Command::EndPlan { plan: id, status: PlanStatus::Stopped("test".into()) });
    }
    world.run_for(secs(1));
    assert_eq!(world.writers("app"), [holder.as_str()]);
    assert_eq!(world.primary("app"), holder.as_str(), "{:?}", world.last_plan());
}

#[test]
fn a_copy_is_made_anew_once_for_each_wish_and_never_of_who_writes() {
    let mut world = world();
    let reinit =
        |region: &str, number| Command::Reinit { service: "app".into(), region: region.into(), number };
    let goal = |world: &World| goal::of_agent(&world.state, &AgentId::new("eu", 1)).databases[0].reinit;
    assert_eq!(goal(&world), 0);
    let before = world.state.journal.last_seq();
    world.must(reinit("eu", 900));
    assert_eq!(world.journal(before), ["app: the instance in eu is to be copied anew"]);
    assert_eq!(goal(&world), 900);
    assert_eq!(world.apply(reinit("eu", 900)), Outcome::Unchanged);
    assert_eq!(world.apply(reinit("eu", 899)), Outcome::Unchanged);
    let refused = |world: &mut World, region: &str| match world.apply(reinit(region, 901)).refusal() {
        Some(refusal @ (Refusal::NotAllowed { .. } | Refusal::Unknown { .. })) => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(&mut world, "us"),
        "us writes to the database of app: `failover switchover app` first"
    );
    assert_eq!(refused(&mut world, "mars"), "there is no instance of the database of app in mars");
    world.must(Command::Pause { why: "test".into() });
    world.crash_database("app", "us");
    assert_eq!(
        refused(&mut world, "eu"),
        "nobody writes to the database of app, so that there is nothing to copy from"
    );
}
