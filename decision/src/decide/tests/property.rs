//! Random worlds and random commands: what must always hold, and what must come right in the end.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::sample::select;

use super::told;
use crate::command::{AgentInfo, Command, Stamped};
use crate::config::{Config, Failback, Mode};
use crate::decide::{LeaseView, decide, failback, switchover};
use crate::evidence::{Condition, Finding};
use crate::explain::Opinion;
use crate::incident::Incident;
use crate::invariant;
use crate::name::{AgentId, RegionName};
use crate::plan::{Epoch, Kind, Plan, PlanId, PlanStatus, StepId, StepResult};
use crate::state::State;
use crate::testing::{
    Answers, World, add_service, also_elsewhere, by_dynamic_update, five_regions, ms, region_mut, secs,
    three_regions, two_and_a_witness, weighted, with_database,
};
use crate::time::Time;
use crate::verdict::{Assessment, Verdict};

const REGIONS: [&str; 4] = ["us", "eu", "ap", "mars"];
const SERVICES: [&str; 3] = ["app", "web", "ghost"];

/// So many, or as many as `PROPTEST_CASES` says.
fn cases(usual: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    let cases = if given.cases == 256 { usual } else { given.cases };
    ProptestConfig { cases, max_shrink_iters: 400, ..given }
}

/// Something that happens in a world.
#[derive(Clone, Debug)]
enum Happening {
    Kill(&'static str),
    Revive(&'static str),
    Break(&'static str, &'static str),
    Mend(&'static str, &'static str),
    Cut(&'static str, &'static str),
    Splice,
    Silence(&'static str),
    Hear(&'static str),
    Pause,
    Resume,
    Drain(&'static str),
    Undrain(&'static str),
    Answers(Answers),
    ApproveAll,
    CancelAll,
    Switch(&'static str),
    Home(&'static str),
    NewLeader,
    Limit(u32),
    CrashDatabase,
    Stubborn(&'static str),
}

fn happening() -> impl Strategy<Value = Happening> {
    let region = || select(vec!["us", "eu", "ap"]);
    let service = || select(vec!["app", "web"]);
    prop_oneof![
        3 => region().prop_map(Happening::Kill),
        3 => region().prop_map(Happening::Revive),
        2 => (service(), region()).prop_map(|(service, region)| Happening::Break(service, region)),
        2 => (service(), region()).prop_map(|(service, region)| Happening::Mend(service, region)),
        2 => (region(), region()).prop_map(|(from, to)| Happening::Cut(from, to)),
        1 => Just(Happening::Splice),
        1 => region().prop_map(Happening::Silence),
        1 => region().prop_map(Happening::Hear),
        1 => Just(Happening::Pause),
        2 => Just(Happening::Resume),
        1 => region().prop_map(Happening::Drain),
        1 => region().prop_map(Happening::Undrain),
        2 => select(vec![Answers::Done, Answers::Fail, Answers::Never, Answers::Lost]).prop_map(Happening::Answers),
        2 => Just(Happening::ApproveAll),
        1 => Just(Happening::CancelAll),
        1 => service().prop_map(Happening::Switch),
        1 => service().prop_map(Happening::Home),
        1 => Just(Happening::NewLeader),
        1 => (1..4u32).prop_map(Happening::Limit),
        2 => Just(Happening::CrashDatabase),
        1 => region().prop_map(Happening::Stubborn),
    ]
}

fn a_config() -> impl Strategy<Value = Config> {
    let shape = select(vec![three_regions as fn() -> Config, two_and_a_witness, five_regions]);
    (shape, any::<[bool; 8]>()).prop_map(
        |(shape, [elsewhere, also, spread, home, ask, small, data, sync])| {
            let mut config = shape();
            add_service(&mut config, "web");
            if elsewhere {
                by_dynamic_update(&mut config);
            }
            if also {
                also_elsewhere(&mut config, "app");
            }
            if spread {
                weighted(&mut config, "web");
            }
            if home {
                config.strategy.failback = Failback::Automatic;
            }
            if small {
                region_mut(&mut config, "eu").capacity_percent = 50;
            }
            // Where plans wait for a person, nobody in these worlds is there to recover a database.
            if data && !ask {
                let mode = match (sync, spread) {
                    (true, true) => Mode::Sync { acks: 1 },
                    (true, false) => Mode::SyncStrict { acks: 1 },
                    (false, _) => Mode::Async,
                };
                with_database(&mut config, "app", mode);
            }
            config.strategy.manual_approval_required = ask;
            config.strategy.moves.window = secs(900);
            config.strategy.hold_down = secs(20);
            config.strategy.min_stay = secs(20);
            config
        },
    )
}

fn happen(world: &mut World, happening: Happening) {
    let is_known = |name: &str| world.config().region(&name.into()).is_some();
    let open = |world: &World| -> Vec<PlanId> {
        world.state.plans.values().filter(|record| record.is_open()).map(|record| record.plan.id).collect()
    };
    match happening {
        Happening::Kill(region) => world.kill(region),
        Happening::Revive(region) => world.revive(region),
        Happening::Break(service, region) => world.break_service(service, region),
        Happening::Mend(service, region) => world.mend_service(service, region),
        Happening::Cut(from, to) => world.cut(from, to),
        Happening::Splice => world.cut.clear(),
        Happening::Silence(region) => world.silence(region),
        Happening::Hear(region) => world.hear(region),
        Happening::Pause => drop(world.must(Command::Pause { why: "test".into() })),
        Happening::Resume => drop(world.must(Command::Resume)),
        Happening::Drain(region) if is_known(region) => {
            world.must(Command::Drain { region: region.into(), why: "test".into() });
        }
        Happening::Drain(_) => {}
        Happening::Undrain(region) => drop(world.must(Command::Undrain { region: region.into() })),
        Happening::Answers(answers) => world.answers = answers,
        Happening::ApproveAll => {
            for plan in open(world) {
                world.apply(Command::Approve { plan });
            }
        }
        Happening::CancelAll => {
            for plan in open(world) {
                world.apply(Command::Cancel { plan, why: "test".into() });
            }
        }
        Happening::Switch(service) => {
            if let Ok(plan) = switchover(&world.state, world.now, &service.into(), None, "test".into()) {
                world.must(Command::OpenPlan { plan, explanation: None });
            }
        }
        Happening::Home(service) => {
            if let Ok(plan) = failback(&world.state, world.now, &service.into(), "test".into()) {
                world.must(Command::OpenPlan { plan, explanation: None });
            }
        }
        Happening::NewLeader => {
            world.view.heard.clear();
            world.view.since = world.now;
        }
        Happening::CrashDatabase => {
            if let Some(region) = world.writers("app").first().map(|region| (*region).to_owned()) {
                world.crash_database("app", &region);
            }
        }
        Happening::Stubborn(region) => drop(world.stubborn.insert(region.into())),
        Happening::Limit(limit) => {
            world.reconfigure(|config| config.strategy.moves.per_service = limit);
        }
    }
}

/// What a person cancelled, and what only a person may lose, is not done by itself.
fn is_for_a_person(held: &str) -> bool {
    held.contains("was cancelled")
        || held.contains("--allow-data-loss")
        || held.contains("may be on an instance")
}

/// Faults stop and persons let it run.
fn heal(world: &mut World) {
    world.down.clear();
    world.broken.clear();
    world.cut.clear();
    world.silent.clear();
    world.stubborn.clear();
    world.answers = Answers::Done;
    world.must(Command::Resume);
    for region in ["us", "eu", "ap"] {
        world.must(Command::Undrain { region: region.into() });
    }
}

proptest! {
    #![proptest_config(cases(24))]

    /// L1, and the invariants on the way there, which the world checks after every entry.
    #[test]
    fn any_world_comes_right_once_its_faults_stop(
        config in a_config(),
        happenings in vec((happening(), select(vec![0u64, 40, 700, 3_000, 9_000, 70_000])), 1..25),
        lost in select(vec!["none", "us", "eu", "ap"]),
    ) {
        let mut world = World::new(config);
        for (happening, then) in happenings {
            happen(&mut world, happening);
            world.run_for(ms(then));
        }
        heal(&mut world);
        // One region may stay lost for good: with the others there still is one eligible.
        let lost = if lost == "ap" && world.config().region(&"ap".into()).is_none() { "none" } else { lost };
        if lost != "none" {
            world.kill(lost);
        }
        for _ in 0..4 {
            world.run_for(secs(1_000));
            happen(&mut world, Happening::ApproveAll);
        }
        world.run_for(secs(10));
        for (service, placement) in &world.state.services {
            let by_hand = world.state.held.get(service).is_some_and(|held| is_for_a_person(held));
            prop_assert!(
                placement.primary.as_str() != lost || by_hand,
                "{service} stays in the lost {lost}: {}", world.conclusion(service.as_str())
            );
            prop_assert!(world.state.open_plan(service).is_none(), "{service}: {:#?}", world.last_plan());
        }
        if world.state.databases.contains_key(&"app".into()) {
            // Two of two instances are needed for what one acknowledged, and one may be lost for good.
            let by_hand = world.state.held.contains_key(&"app".into());
            prop_assert!(
                world.writers("app") == [world.primary("app")] || by_hand,
                "{:?} write: {}", world.writers("app"), world.conclusion("app")
            );
        }
        prop_assert_eq!(world.state.journal.verify(), Ok(()));
        let by_hand = world.state.held.values().any(|held| is_for_a_person(held));
        if lost == "none" && !by_hand {
            prop_assert!(world.names_elsewhere_are_right(), "{:#?}", world.elsewhere);
            let open = world.state.incidents.iter().filter(|incident| incident.resolved_at.is_none());
            prop_assert_eq!(open.collect::<Vec<_>>(), Vec::<&Arc<Incident>>::new());
        }
    }
}

/// Commands that nobody in his right mind would send, and some that are right.
fn any_command() -> impl Strategy<Value = Command> {
    let region = || select(REGIONS.to_vec()).prop_map(RegionName::from);
    let service = || select(SERVICES.to_vec()).prop_map(|name| name.into());
    let agent = || (region(), 0..3u16).prop_map(|(region, ordinal)| AgentId::new(region, ordinal));
    let id = || (0..5u64).prop_map(PlanId);
    let step = || (0..5u16).prop_map(StepId);
    let why = || Just("test".to_owned());
    let condition = || select(vec![Condition::Healthy, Condition::Unhealthy, Condition::Unknown]);
    let finding = (select(check_ids()), condition(), 0..5_000u64).prop_map(|(check, condition, age)| {
        Finding { check: check.as_str().into(), condition, age: ms(age), reason: "test".into() }
    });
    let result = prop_oneof![
        Just(StepResult::Done { note: "test".into() }),
        Just(StepResult::Failed { why: "test".into() }),
        Just(StepResult::Refused { why: "test".into() }),
    ];
    let status = prop_oneof![
        Just(PlanStatus::Done),
        Just(PlanStatus::Running),
        Just(PlanStatus::Stopped("test".into())),
        Just(PlanStatus::Cancelled("test".into())),
    ];
    prop_oneof![
        6 => agent().prop_map(|agent| Command::OpenSession {
            info: AgentInfo { dns: Some(format!("127.0.0.{}:53", agent.ordinal)), version: "1".into(), peer: None },
            agent,
        }),
        1 => agent().prop_map(|agent| Command::LoseSession { agent }),
        8 => (agent(), vec(finding, 0..6)).prop_map(|(vantage, findings)| Command::Evidence { vantage, findings }),
        4 => (region(), proptest::option::of(service()), assessment())
            .prop_map(|(region, service, assessment)| Command::SetVerdict { region, service, assessment }),
        1 => service().prop_map(|service| {
            let mut explanation = crate::explain::Explanation::new(&service);
            explanation.conclude("test");
            Command::Hold { explanation }
        }),
        1 => id().prop_map(|plan| Command::Approve { plan }),
        1 => (id(), why()).prop_map(|(plan, why)| Command::Cancel { plan, why }),
        3 => (id(), step(), 0..4u32).prop_map(|(plan, step, attempt)| Command::StartStep { plan, step, attempt }),
        4 => (id(), step(), 0..4u32, 0..8u64, result).prop_map(|(plan, step, attempt, epoch, result)| {
            Command::StepDone { plan, step, attempt, epoch: Epoch(epoch), result }
        }),
        1 => (id(), status).prop_map(|(plan, status)| Command::EndPlan { plan, status }),
        1 => why().prop_map(|why| Command::Pause { why }),
        2 => Just(Command::Resume),
        1 => (region(), why()).prop_map(|(region, why)| Command::Drain { region, why }),
        1 => region().prop_map(|region| Command::Undrain { region }),
        1 => why().prop_map(|what| Command::ReportRefusal { what, why: "test".into() }),
        1 => why().prop_map(|text| Command::Note { text }),
    ]
}

fn check_ids() -> Vec<String> {
    let config = random_config();
    config.checks.iter().map(|check| check.id.to_string()).chain(["no/such/check".to_owned()]).collect()
}

fn random_config() -> Config {
    let mut config = three_regions();
    add_service(&mut config, "web");
    weighted(&mut config, "web");
    config.strategy.moves.per_service = 1;
    config.strategy.moves.overall = 2;
    config
}

fn assessment() -> impl Strategy<Value = Assessment> {
    let verdicts =
        vec![Verdict::Healthy, Verdict::Degraded, Verdict::Partitioned, Verdict::Dead, Verdict::Unknown];
    let opinion = select(REGIONS.to_vec()).prop_map(|vantage| Opinion {
        vantage: AgentId::new(vantage, 1),
        region: "us".into(),
        condition: Condition::Unhealthy,
        since: Time(0),
        reason: "test".into(),
        counted: true,
    });
    (select(verdicts), vec(opinion, 0..4)).prop_map(|(verdict, opinions)| Assessment {
        verdict,
        since: Time(0),
        because: "test".into(),
        opinions,
    })
}

/// One entry of a random log.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a handful of them, in tests")]
enum Entry {
    Any(Command),
    /// A plan for what is there now, bent in one way.
    Plan {
        to: &'static str,
        service: &'static str,
        kind: Kind,
        automatic: bool,
        bend: u8,
    },
    /// What the rules say now; with what follows from it, or cut off.
    Decide {
        cut: usize,
    },
    /// A configuration of another shape.
    Configure {
        shape: u8,
        stale: bool,
    },
}

fn entry() -> impl Strategy<Value = Entry> {
    let kinds = vec![Kind::Failover, Kind::Switchover, Kind::Failback, Kind::Withdraw, Kind::Restore];
    prop_oneof![
        12 => any_command().prop_map(Entry::Any),
        3 => (select(REGIONS.to_vec()), select(SERVICES.to_vec()), select(kinds), any::<bool>(), 0..8u8)
            .prop_map(|(to, service, kind, automatic, bend)| Entry::Plan { to, service, kind, automatic, bend }),
        3 => (0..6usize).prop_map(|cut| Entry::Decide { cut }),
        1 => (0..4u8, any::<bool>()).prop_map(|(shape, stale)| Entry::Configure { shape, stale }),
    ]
}

fn commands(state: &State, now: Time, entry: Entry) -> Vec<Command> {
    match entry {
        Entry::Any(command) => vec![command],
        Entry::Decide { cut } => {
            let view = LeaseView { since: now, ..LeaseView::default() };
            let decision = decide(state, &view, now);
            assert_eq!(decision.refused, [], "the rules want what the state refuses");
            let keep = if cut == 0 { decision.commands.len() } else { cut };
            decision.commands.into_iter().take(keep).collect()
        }
        Entry::Plan { to, service, kind, automatic, bend } => {
            let plan = switchover(state, now, &service.into(), None, "test".into());
            plan.into_iter().map(|plan| bent(plan, to, kind, automatic, bend)).collect()
        }
        Entry::Configure { shape, stale } => {
            let mut config = random_config();
            match shape {
                0 => drop(config.services.remove(&"web".into())),
                1 => config.zones.clear(),
                2 => config.strategy.min_stay = secs(9),
                _ => {}
            }
            if shape == 1 {
                config.services.values_mut().for_each(|service| service.dns.clear());
            }
            let parent_generation = state.config_generation.saturating_sub(u64::from(stale));
            vec![Command::SetConfig { parent_generation, config: Box::new(config) }]
        }
    }
}

fn bent(mut plan: Plan, to: &str, kind: Kind, automatic: bool, bend: u8) -> Command {
    (plan.kind, plan.automatic) = (kind, automatic);
    match bend {
        0 => plan.epoch.0 -= 1,
        1 => plan.id.0 += 1,
        2 => plan.to = to.into(),
        3 => plan.from = to.into(),
        4 => plan.parent.config_generation += 1,
        5 => plan.needs_approval = true,
        _ => {}
    }
    Command::OpenPlan { plan, explanation: None }
}

proptest! {
    #![proptest_config(cases(128))]

    /// S2, S5, S6, S8, S9, sound records; the same entries give the same state everywhere, also
    /// where a member was restored from a snapshot midway; and leader and state agree.
    #[test]
    fn any_log_keeps_what_must_hold(
        entries in vec((entry(), select(vec![0u64, 1, 300, 2_600, 4_000, 61_000])), 1..60),
        restored_at in 0..60usize,
    ) {
        let mut state = State::default();
        let mut log: Vec<(u64, Stamped)> = Vec::new();
        let mut now = Time(1_000_000);
        let first = Command::SetConfig { parent_generation: 0, config: Box::new(random_config()) };
        let mut queue = vec![first];
        let mut entries = entries.into_iter();
        loop {
            for command in queue.drain(..) {
                let before = state.clone();
                // A leader's clock may lie behind.
                let at = if log.len() % 7 == 3 { Time(3) } else { now };
                let stamped = Stamped { at, by: "test".into(), command };
                let index = before.index + 1;
                state.apply(index, stamped.clone());
                let mut broken = invariant::check(&before, &state);
                broken.extend(invariant::check_repeated(&state, &stamped));
                prop_assert_eq!(&broken, &[], "after {:?}", stamped.command);
                log.push((index, stamped));
            }
            let Some((entry, later)) = entries.next() else { break };
            now = now + ms(later);
            queue = commands(&state, now, entry);
        }
        prop_assert_eq!(state.journal.verify(), Ok(()));

        let mut other = State::default();
        for (n, (index, stamped)) in log.into_iter().enumerate() {
            if n == restored_at {
                let snapshot = serde_json::to_vec(&other).expect("a state can be written");
                let restored: State = serde_json::from_slice(&snapshot).expect("and read");
                prop_assert_eq!(&restored, &other);
                other = restored;
            }
            let (stamped, read) = (stamped.clone(), serde_json::to_vec(&stamped).expect("an entry can be written"));
            prop_assert_eq!(&serde_json::from_slice::<Stamped>(&read).expect("and read"), &stamped);
            other.apply(index, stamped);
        }
        prop_assert_eq!(&other, &state);
        prop_assert_eq!(other.journal.head(), state.journal.head());

        // The rules come to rest.
        let view = LeaseView { since: now, ..LeaseView::default() };
        for _ in 0..6 {
            let decision = decide(&state, &view, now);
            prop_assert_eq!(&decision.refused, &[]);
            for command in decision.commands {
                let outcome = state.apply(state.index + 1, Stamped { at: now, by: "test".into(), command });
                prop_assert_eq!(outcome.refusal(), None);
            }
        }
        prop_assert_eq!(told(&decide(&state, &view, now).commands), [""; 0]);
    }
}
