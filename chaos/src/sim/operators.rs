//! Operators: planned moves, and what else a person may ask for at a bad moment: a move by force, whatever may be lost
//! by it, a plan that was made long ago, the end of a plan that runs, a pause, a drain, a copy anew, another
//! configuration, one that somebody else has changed meanwhile.

use std::time::Duration;

use decision::command::Command;
use decision::config::{Config, Mode};
use decision::name::{RegionName, ServiceName};
use decision::plan::{Plan, PlanId};
use decision::state::State;

use super::chance::Chance;
use super::controller::Controller;
use super::ground::Ground;

const BY: &str = "operator/ann";
const SAVED_MOST: usize = 4;

pub struct Operators {
    service: ServiceName,
    regions: Vec<RegionName>,
    /// As it is to be in the end.
    config: Config,
    may_change_mode: bool,
    /// Plans that were made, and not asked for yet.
    saved: Vec<Plan>,
}

impl Operators {
    pub fn new(
        service: ServiceName,
        regions: Vec<RegionName>,
        config: Config,
        may_change_mode: bool,
    ) -> Operators {
        Operators { service, regions, config, may_change_mode, saved: Vec::new() }
    }

    /// One of them asks whoever leads for something.
    pub fn operates(&mut self, leader: &mut Controller, ground: &mut Ground) {
        let to = ground.chance.pick(&self.regions).clone();
        let state = leader.state.clone();
        if let Some(undone) = self.undone(&state).filter(|_| ground.chance.permille(600)) {
            leader.submits(undone, BY, ground);
            return;
        }
        // A person is asked to when nobody writes.
        let is_vacant = state.database(&self.service).is_some_and(|(_, held)| held.vacancy().is_some());
        let forces = ground.chance.permille(if is_vacant { 500 } else { 50 });
        let command = match ground.chance.below(18) {
            _ if forces => {
                let to = Some(&to).filter(|_| ground.chance.permille(500));
                leader.forced_move(&self.service, to, ground.chance.permille(500), ground).map(opens)
            }
            0..8 => leader.planned_move(&self.service, &to, ground).map(opens),
            8 | 9 => {
                self.saved.extend(leader.planned_move(&self.service, &to, ground));
                self.saved.drain(..self.saved.len().saturating_sub(SAVED_MOST));
                None
            }
            10 => self.saved.pop().map(opens),
            11 => Some(Command::Cancel { plan: some_plan(&state, &ground.chance), why: "as wished".into() }),
            12 => Some(Command::Approve { plan: some_plan(&state, &ground.chance) }),
            13 => Some(Command::Pause { why: "a look at it".into() }),
            14 => Some(Command::Drain { region: to, why: "new machines".into() }),
            15 => self.meddles(&state, to, &ground.chance),
            _ => self.configures(&state, &to, &ground.chance),
        };
        if let Some(command) = command {
            leader.submits(command, BY, ground);
        }
    }

    /// Takes back one of the things that keep automation from acting. None: nothing does.
    pub fn undone(&self, state: &State) -> Option<Command> {
        if state.paused.is_some() {
            return Some(Command::Resume);
        }
        let undrained = |region: &RegionName| Command::Undrain { region: region.clone() };
        state.drained.keys().next().map(undrained).or_else(|| {
            let is_other = state.config.as_deref().is_some_and(|config| *config != self.config);
            is_other.then(|| sets(state, self.config.clone()))
        })
    }

    /// Changes what an instance may become, what a commit waits for, and what may be lost, in the midst of whatever
    /// goes on.
    fn configures(&self, state: &State, region: &RegionName, chance: &Chance) -> Option<Command> {
        let mut config = state.config.as_deref()?.clone();
        let database = config.services.get_mut(&self.service)?.database.as_mut()?;
        let instance = database.instances.get_mut(region)?;
        match chance.below(if self.may_change_mode { 6 } else { 3 }) {
            0 => instance.nofailover = !instance.nofailover,
            1 => instance.priority = *chance.pick(&[1, 100, 200]),
            2 => database.max_data_loss.time = Duration::from_secs(*chance.pick(&[12, 20, 30])),
            _ => {
                let modes = [
                    Mode::Async,
                    Mode::Sync { acks: 1 },
                    Mode::SyncStrict { acks: 1 },
                    Mode::Sync { acks: 2 },
                ];
                database.mode = *chance.pick(&modes);
            }
        }
        Some(sets(state, config))
    }

    fn meddles(&self, state: &State, region: RegionName, chance: &Chance) -> Option<Command> {
        match chance.below(2) {
            0 => Some(Command::Reinit { service: self.service.clone(), region, number: chance.next() }),
            _ => {
                let config = Box::new(state.config.as_deref()?.clone());
                let parent_generation = state.config_generation.saturating_sub(chance.below(2));
                Some(Command::SetConfig { parent_generation, config })
            }
        }
    }
}

fn sets(state: &State, config: Config) -> Command {
    Command::SetConfig { parent_generation: state.config_generation, config: Box::new(config) }
}

fn opens(plan: Plan) -> Command {
    Command::OpenPlan { plan, explanation: None }
}

/// One of the newest, or one that is not there yet.
fn some_plan(state: &State, chance: &Chance) -> PlanId {
    PlanId((state.last_plan + 1).saturating_sub(chance.below(3)))
}

#[cfg(test)]
mod tests {
    use decision::testing::{World, three_regions, with_database};

    use super::*;

    #[test]
    fn another_configuration_is_taken_back_in_the_end() {
        let mut config = three_regions();
        with_database(&mut config, "app", decision::config::Mode::Async);
        let operators = Operators::new("app".into(), vec!["us".into()], config.clone(), true);
        let mut world = World::new(config);
        assert_eq!(operators.undone(&world.state), None);
        for seed in 0..20 {
            let changed = operators.configures(&world.state, &"us".into(), &Chance::new(seed)).unwrap();
            world.must(changed);
        }
        let undone = operators.undone(&world.state).unwrap();
        world.must(undone);
        assert_eq!(operators.undone(&world.state), None);
    }
}
