//! The machines of a run: a controller and a data machine in each region, and one of clients far from all.

use super::ground::Machine;

#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub regions: usize,
}

/// From whom to whom.
pub type Ways = Vec<(Machine, Machine)>;

impl Layout {
    pub fn machines(self) -> usize {
        self.regions * 2 + 1
    }

    pub fn client(self) -> Machine {
        self.regions * 2
    }

    pub fn is_data(self, machine: Machine) -> bool {
        (self.regions..self.regions * 2).contains(&machine)
    }

    pub fn controller(self, region: usize) -> Machine {
        region
    }

    pub fn agent(self, region: usize) -> Machine {
        self.regions + region
    }

    pub fn controllers(self) -> impl Iterator<Item = Machine> + Clone {
        (0..self.regions).map(move |region| self.controller(region))
    }

    pub fn agents(self) -> impl Iterator<Item = Machine> + Clone {
        (0..self.regions).map(move |region| self.agent(region))
    }

    pub fn is_controller(self, machine: Machine) -> bool {
        machine < self.regions
    }

    /// That of the clients is beside all others.
    pub fn region(self, machine: Machine) -> usize {
        if machine == self.client() { self.regions } else { machine % self.regions }
    }

    pub fn of_region(self, region: usize) -> [Machine; 2] {
        [self.controller(region), self.agent(region)]
    }

    pub fn name(self, machine: Machine) -> String {
        let part = match machine {
            _ if self.is_controller(machine) => "controller",
            _ if self.is_data(machine) => "agent",
            _ => "client",
        };
        format!("{part} {}", self.region(machine))
    }

    /// Between these and all others, both ways.
    pub fn around(self, inside: &[Machine]) -> Ways {
        let outside = (0..self.machines()).filter(|machine| !inside.contains(machine));
        between(inside.iter().copied(), outside)
    }

    /// Between one machine and the controllers, or the data machines, except itself.
    pub fn to_controllers(self, machine: Machine) -> Ways {
        between([machine].into_iter(), self.controllers().filter(move |other| *other != machine))
    }

    pub fn to_agents(self, machine: Machine) -> Ways {
        between([machine].into_iter(), self.agents().filter(move |other| *other != machine))
    }
}

/// Both ways.
pub fn between(one: impl Iterator<Item = Machine> + Clone, other: impl Iterator<Item = Machine>) -> Ways {
    other.flat_map(|other| one.clone().flat_map(move |own| [(own, other), (other, own)])).collect()
}
