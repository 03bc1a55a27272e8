//! What must always hold (DESIGN, section 9), as pure functions over the state before and after
//! an entry of the log. Property tests and simulations ask them after every entry. S1, most
//! of S3, S7 and S10 are not of this crate's state: other checkers watch those from outside.

mod s2_never_falls;
mod s3_alone;
mod s4_fenced_first;
mod s5_bounded_moves;
mod s6_names_follow;
mod s8_explained;
mod s9_repeatable;
mod sound_records;

use std::fmt;

pub use s9_repeatable::check_repeated;

use crate::state::State;

/// An invariant that does not hold: a fault of the program, never of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Such as `S2`.
    pub invariant: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// Everything that one entry, which led from `before` to `after`, has broken.
pub fn check(before: &State, after: &State) -> Vec<Violation> {
    let mut found = Found::default();
    s2_never_falls::check(before, after, &mut found);
    s3_alone::check(before, after, &mut found);
    s4_fenced_first::check(before, after, &mut found);
    s5_bounded_moves::check(before, after, &mut found);
    s6_names_follow::check(before, after, &mut found);
    s8_explained::check(before, after, &mut found);
    sound_records::check(after, &mut found);
    found.0
}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn unless(&mut self, holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { invariant, detail: detail() });
        }
    }
}

/// A checker that cannot fail proves nothing: each is shown a state that breaks its invariant.
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{check, check_repeated};
    use crate::command::{Command, Stamped};
    use crate::config::Mode;
    use crate::database::alone::Leave;
    use crate::database::{Owner, Ownership, Proof, Vacancy};
    use crate::decide::switchover;
    use crate::name::{RegionName, ServiceName};
    use crate::plan::{Action, Epoch, Kind, PlanRecord, PlanStatus, StepRecord, StepStatus};
    use crate::state::{Move, State};
    use crate::testing::{World, secs, three_regions, with_database};

    fn broken(change: impl FnOnce(&mut State)) -> Vec<&'static str> {
        let mut world = World::new(three_regions());
        world.kill("us");
        world.run_for(secs(10));
        let before = world.state.clone();
        assert_eq!(check(&before, &before), []);
        let mut after = before.clone();
        change(&mut after);
        let mut found: Vec<_> = check(&before, &after).iter().map(|broken| broken.invariant).collect();
        found.dedup();
        found
    }

    #[test]
    fn numbers_that_fall() {
        assert_eq!(broken(|state| state.index -= 1), ["S2"]);
        assert_eq!(broken(|state| state.now.0 -= 1), ["S2"]);
        assert_eq!(broken(|state| state.last_plan -= 1), ["S2"]);
        let epoch = |state: &mut State| state.services.get_mut(&"app".into()).unwrap().epoch = Epoch(1);
        assert_eq!(broken(epoch), ["S2", "S8"]);
        let zone = |state: &mut State| state.zones.get_mut(&"example.test".into()).unwrap().generation -= 1;
        assert_eq!(broken(zone), ["S2", "S8"]);
    }

    #[test]
    fn leases_that_pass_unfenced() {
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Async);
        let before = World::new(config).state;
        let app = || "app".into();
        let broken = |change: &dyn Fn(&mut Ownership)| {
            let mut after = before.clone();
            change(after.databases.get_mut(&app()).unwrap());
            check(&before, &after).iter().map(|broken| broken.invariant).collect::<Vec<_>>()
        };
        assert_eq!(broken(&|held| held.owner = Owner::Held("eu".into())), ["S4", "S8"]);
        assert_eq!(broken(&|held| held.epoch = Epoch(0)), ["S2", "S4", "S8"]);
        assert_eq!(broken(&|held| held.epoch = Epoch(77)), ["S2", "S8"]);
        let proof = Proof::Expired { heard: before.now, position: None, told_at: None };
        let (last, since) = (Some("us".into()), before.now);
        let vacancy = Vacancy { last, proof, why: "test".into(), since, ..Vacancy::default() };
        assert_eq!(broken(&|held| held.owner = Owner::Vacant(vacancy.clone())), ["S4", "S8"]);
    }

    #[test]
    fn what_one_alone_acknowledged_is_passed_over() {
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Sync { acks: 1 });
        let mut before = World::new(config).state;
        let change = |state: &mut State, change: &dyn Fn(&mut Ownership)| {
            change(state.databases.get_mut(&"app".into()).unwrap());
        };
        change(&mut before, &|held| held.alone = Some(Leave { number: 7, since: held.since }));
        let broken = |before: &State, done: &dyn Fn(&mut Ownership)| {
            let mut after = before.clone();
            change(&mut after, done);
            check(before, &after).iter().map(|broken| broken.invariant).collect::<Vec<_>>()
        };
        assert_eq!(broken(&before, &|held| held.alone = None), ["S3", "S8"], "nobody said that it is over");
        let proof = Proof::Released { clean: None, last_known: None };
        let (last, since) = (Some("us".into()), before.now);
        let vacancy = Vacancy { last, proof, why: "test".into(), since, ..Vacancy::default() };
        change(&mut before, &|held| held.owner = Owner::Vacant(vacancy.clone()));
        let granted = |to: &'static str| {
            move |held: &mut Ownership| {
                (held.epoch, held.owner) = (Epoch(77), Owner::Held(to.into()));
            }
        };
        assert_eq!(broken(&before, &granted("eu")), ["S2", "S3", "S8"]);
        assert_eq!(broken(&before, &granted("us")), ["S2", "S8"]);
    }

    #[test]
    fn moves_beyond_the_limits() {
        let again = |state: &mut State| {
            let last = state.moves.last().unwrap().clone();
            // Every one of them out of another region, and so an event of its own.
            state
                .moves
                .extend((0..6).map(|n| Move { from: format!("r{n}").as_str().into(), ..last.clone() }));
        };
        assert_eq!(broken(again), ["S5", "S8"]);
    }

    #[test]
    fn an_automatic_move_that_nobody_asked_for() {
        let world = World::new(three_regions());
        let mut plan = switchover(&world.state, world.now, &"app".into(), None, "test".into()).unwrap();
        let mut after = world.state.clone();
        after.apply(
            world.state.index + 1,
            stamped(&world, Command::OpenPlan { plan: plan.clone(), explanation: None }),
        );
        assert_eq!(check(&world.state, &after), []);
        (plan.automatic, plan.kind) = (true, Kind::Failover);
        let id = plan.id;
        Arc::make_mut(after.plans.get_mut(&id).unwrap()).plan = plan;
        assert_eq!(check(&world.state, &after)[0].invariant, "S5");
    }

    #[test]
    fn names_that_lead_elsewhere() {
        let away = |state: &mut State| {
            let zone = state.zones.get_mut(&"example.test".into()).unwrap();
            zone.generation += 1;
            zone.records[0].groups[0].region = "us".into();
        };
        assert_eq!(broken(away), ["S6", "S8"]);
    }

    #[test]
    fn names_that_go_ahead_of_the_writer() {
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Async);
        let world = World::new(config);
        let (app, eu) = (ServiceName::from("app"), RegionName::from("eu"));
        let plan = switchover(&world.state, world.now, &app, Some(&eu), "test".into()).unwrap();
        let mut opened = world.state.clone();
        let open = Command::OpenPlan { plan: plan.clone(), explanation: None };
        opened.apply(opened.index + 1, stamped(&world, open));
        let done = |before: &State, wanted: fn(&Action) -> bool| {
            let mut after = before.clone();
            let step = plan.steps.iter().find(|step| wanted(&step.action)).unwrap();
            let done = StepRecord {
                status: StepStatus::Done,
                attempt: 1,
                started_at: world.now,
                ended_at: Some(world.now),
                note: String::new(),
            };
            Arc::make_mut(after.plans.get_mut(&plan.id).unwrap()).steps.insert(step.id, done);
            check(before, &after).iter().map(|broken| broken.invariant).collect::<Vec<_>>()
        };
        assert_eq!(done(&opened, |action| matches!(action, Action::ShiftDns { .. })), ["S6", "S8"]);
        let promoted = |action: &Action| matches!(action, Action::Promote { .. });
        let held = opened.databases.get_mut(&app).unwrap();
        held.owner = Owner::Held(eu);
        assert_eq!(done(&opened, promoted), ["S6", "S8"], "it was granted the lease, and has not begun");
    }

    #[test]
    fn what_is_moved_by_itself_during_a_pause() {
        let mut world = World::new(three_regions());
        world.kill("us");
        world.run_for(secs(10));
        let after = world.state.clone();
        let mut before = after.clone();
        before.plans.retain(|_, record| !record.plan.automatic);
        assert!(before.plans.len() < after.plans.len());
        before.paused = Some("a look at it".into());
        assert!(check(&before, &after).iter().any(|broken| broken.detail.contains("paused")));
    }

    #[test]
    fn deeds_without_an_entry() {
        assert_eq!(broken(|state| state.paused = Some("secretly".into())), ["S8"]);
    }

    #[test]
    fn records_that_contradict_themselves() {
        let twice = |state: &mut State| {
            let mut record = PlanRecord::clone(state.plans.values().next_back().unwrap());
            (record.status, record.plan.id.0) = (PlanStatus::AwaitingApproval, 77);
            state.plans.insert(record.plan.id, Arc::new(record.clone()));
            record.plan.id.0 = 78;
            state.plans.insert(record.plan.id, Arc::new(record));
        };
        assert!(broken(twice).contains(&"sound records"));
    }

    #[test]
    fn what_changes_each_time_it_is_told() {
        let mut world = World::new(three_regions());
        world.must(Command::Pause { why: "test".into() });
        assert_eq!(check_repeated(&world.state, &stamped(&world, Command::Pause { why: "test".into() })), []);
        // Not what has just been applied, so it still changes something.
        assert_ne!(check_repeated(&world.state, &stamped(&world, Command::Resume)), []);
    }

    fn stamped(world: &World, command: Command) -> Stamped {
        Stamped { at: world.now, by: "test".into(), command }
    }
}
