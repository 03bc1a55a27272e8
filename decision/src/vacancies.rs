//! For how long a member has known that nobody may write to a database, by its own clock. It tells an agent with its goal,
//! so that one which hears late does not hold itself for further behind than it is; see `docs/FENCING.md`.

use std::collections::BTreeMap;

use crate::database::Owner;
use crate::goal::{DatabaseRole, Goal};
use crate::name::ServiceName;
use crate::plan::Epoch;
use crate::state::State;
use crate::time::Uptime;

#[derive(Clone, Debug, Default)]
pub struct Vacancies(BTreeMap<ServiceName, (Epoch, Uptime)>);

impl Vacancies {
    /// What was applied by now.
    pub fn note(&mut self, state: &State, now: Uptime) {
        for (service, held) in &state.databases {
            match &held.owner {
                Owner::Held(_) => drop(self.0.remove(service)),
                Owner::Vacant(_) => {
                    let known = self.0.entry(service.clone()).or_insert((held.epoch, now));
                    if known.0 != held.epoch {
                        *known = (held.epoch, now);
                    }
                }
            }
        }
    }

    /// It is sent now. What this member does not know of it says 0, which is never too much.
    pub fn tell(&self, goal: &mut Goal, now: Uptime) {
        for goal in &mut goal.databases {
            let known = self.0.get(&goal.service).filter(|(epoch, _)| *epoch == goal.epoch);
            if let (Some((_, since)), DatabaseRole::Rest { .. }) = (known, &goal.role) {
                goal.vacant_for = now.since(*since);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Mode;
    use crate::goal;
    use crate::name::AgentId;
    use crate::testing::{World, ms, secs, three_regions, with_database};

    #[test]
    fn an_agent_is_told_for_how_long_nobody_may_write() {
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Async);
        let mut world = World::new(config);
        world.hung.extend(["eu".into(), "ap".into()]);
        let (mut vacancies, start) = (Vacancies::default(), Uptime(5_000_000_000));
        let told = |world: &World, vacancies: &mut Vacancies, now: Uptime| {
            vacancies.note(&world.state, now);
            let mut goal = goal::of_agent(&world.state, &AgentId::new("eu", 1));
            let before = goal.clone();
            vacancies.tell(&mut goal, now);
            assert!(!goal.differs(&before), "that it has grown older is no news");
            goal.databases[0].vacant_for
        };
        assert_eq!(told(&world, &mut vacancies, start), Duration::ZERO);
        world.kill("us");
        while world.state.databases[&"app".into()].vacancy().is_none() {
            world.run_for(ms(10));
        }
        assert_eq!(
            told(&world, &mut vacancies, start + secs(10)),
            Duration::ZERO,
            "it learned that just now"
        );
        assert_eq!(told(&world, &mut vacancies, start + secs(13)), secs(3));
        assert_eq!(told(&world, &mut Vacancies::default(), start + secs(14)), Duration::ZERO);
        world.hung.clear();
        world.run_for(secs(5));
        assert_eq!(told(&world, &mut vacancies, start + secs(20)), Duration::ZERO, "somebody writes");
    }
}
