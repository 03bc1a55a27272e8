//! What is done to the machines of a run, and when: drawn from its seed before it begins.

use std::fmt;
use std::time::Duration;

use super::chance::Chance;
use super::ground::{Ground, Machine};
use super::queue::Moment;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Everything on it ends at once, and starts again afterwards.
    Crash(Machine),
    /// Nothing on it goes on meanwhile, and nobody tells it.
    Pause(Machine),
    /// Nothing comes over these ways; `shape` is what they look like together.
    Cut {
        shape: &'static str,
        ways: Vec<(Machine, Machine)>,
    },
    Loss {
        ways: Vec<(Machine, Machine)>,
        permille: u64,
    },
    Delay {
        ways: Vec<(Machine, Machine)>,
        by: Duration,
    },
    SlowDisk {
        machine: Machine,
        by: Duration,
    },
    /// What clients are served by on this machine.
    Service(Machine),
    /// The agent alone does not go on meanwhile; its guard and its server do.
    Freeze(Machine),
    /// The agent alone ends, and starts again afterwards.
    CrashAgent(Machine),
    /// The server alone ends.
    CrashServer(Machine),
    /// The wall clock is set; the end of it sets it back.
    Clock {
        machine: Machine,
        by_ms: i64,
    },
}

/// A fault, and from when until when it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub from: Moment,
    pub until: Moment,
    pub fault: Fault,
}

/// The machines of a run: a controller and a data machine in each region, and one of clients far from all.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub regions: usize,
}

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

    fn name(self, machine: Machine) -> String {
        let part = match machine {
            _ if self.is_controller(machine) => "controller",
            _ if self.is_data(machine) => "agent",
            _ => "client",
        };
        format!("{part} {}", self.region(machine))
    }

    /// Between these and all others, both ways.
    fn around(self, inside: &[Machine]) -> Vec<(Machine, Machine)> {
        let outside = (0..self.machines()).filter(|machine| !inside.contains(machine));
        outside.flat_map(|other| inside.iter().flat_map(move |own| [(*own, other), (other, *own)])).collect()
    }
}

/// Faults one after another and over each other, until `end`; what is left broken from there on comes last.
pub fn schedule(chance: &Chance, layout: Layout, begin: Moment, end: Moment) -> Vec<Planned> {
    let mut planned = Vec::new();
    // Some runs are wild, some are not.
    let pause_most = *chance.pick(&[8, 20, 60]);
    let mut at = begin + chance.between(Duration::ZERO, Duration::from_secs(10));
    while at < end {
        let lasts = lasts(chance);
        planned.push(Planned { from: at, until: (at + lasts).min(end), fault: draw(chance, layout) });
        at = at + chance.between(Duration::from_millis(100), Duration::from_secs(pause_most));
    }
    planned
}

/// From a blink to a minute, each order of magnitude as likely.
fn lasts(chance: &Chance) -> Duration {
    let most = *chance.pick(&[Duration::from_millis(600), Duration::from_secs(6), Duration::from_secs(60)]);
    chance.between(most / 10, most)
}

fn draw(chance: &Chance, layout: Layout) -> Fault {
    let machine = chance.below(layout.regions as u64 * 2) as usize;
    let region = chance.below(layout.regions as u64) as usize;
    let both = layout.of_region(region);
    match chance.below(22) {
        0..2 => Fault::Crash(machine),
        2..4 => Fault::Pause(machine),
        4..6 => Fault::Cut { shape: "region", ways: layout.around(&both) },
        6 => Fault::Cut { shape: "machine", ways: layout.around(&[machine]) },
        7 => {
            let ways = layout.around(&both).into_iter().filter(|(from, _)| both.contains(from));
            Fault::Cut { shape: "region, outwards", ways: ways.collect() }
        }
        8 => {
            let ways = layout.around(&both).into_iter().filter(|(_, to)| both.contains(to));
            Fault::Cut { shape: "region, inwards", ways: ways.collect() }
        }
        9 => {
            let other = (region + 1) % layout.regions;
            let ways =
                both.iter().flat_map(|one| layout.of_region(other).map(|two| [(*one, two), (two, *one)]));
            Fault::Cut { shape: "bridge", ways: ways.flatten().collect() }
        }
        10 => {
            let controllers: Vec<Machine> = (0..layout.regions).map(|n| layout.controller(n)).collect();
            let ways = layout.around(&[layout.controller(region)]).into_iter();
            let among =
                |(from, to): &(Machine, Machine)| controllers.contains(from) && controllers.contains(to);
            Fault::Cut { shape: "controllers", ways: ways.filter(among).collect() }
        }
        11 => Fault::Loss { ways: layout.around(&both), permille: 10 + chance.below(300) },
        12 => {
            let by = chance.between(Duration::from_millis(20), Duration::from_millis(500));
            Fault::Delay { ways: layout.around(&both), by }
        }
        13 => {
            let by = chance.between(Duration::from_millis(10), Duration::from_millis(1_500));
            Fault::SlowDisk { machine, by }
        }
        14 => Fault::Service(layout.agent(region)),
        15..17 => Fault::Freeze(layout.agent(region)),
        17 => Fault::CrashAgent(layout.agent(region)),
        18..20 => Fault::CrashServer(layout.agent(region)),
        20 => Fault::Cut { shape: "clients", ways: layout.around(&[layout.client()]) },
        _ => Fault::Clock { machine, by_ms: chance.below(7_200_000) as i64 - 3_600_000 },
    }
}

/// Nothing of this region is ever heard of again.
pub fn lost(layout: Layout, region: usize, from: Moment, until: Moment) -> Vec<Planned> {
    let crashes =
        layout.of_region(region).map(|machine| Planned { from, until, fault: Fault::Crash(machine) });
    crashes.into()
}

/// Those that the network and the disks have to know of; the parts themselves see to the others.
pub fn begins(fault: &Fault, ground: &mut Ground) {
    match fault {
        Fault::Cut { ways, .. } => ways.iter().for_each(|(from, to)| ground.net.cut(*from, *to)),
        Fault::Loss { ways, permille } => {
            ways.iter().for_each(|(from, to)| ground.net.way_mut(*from, *to).loss_permille += permille);
        }
        Fault::Delay { ways, by } => {
            ways.iter().for_each(|(from, to)| ground.net.way_mut(*from, *to).delay += *by);
        }
        Fault::SlowDisk { machine, by } => ground.hosts[*machine].slow_disk += *by,
        Fault::Service(machine) => ground.hosts[*machine].broken_services += 1,
        Fault::Clock { machine, by_ms } => ground.hosts[*machine].clock.ahead_ms += by_ms,
        Fault::Crash(_)
        | Fault::Pause(_)
        | Fault::Freeze(_)
        | Fault::CrashAgent(_)
        | Fault::CrashServer(_) => {}
    }
}

pub fn ends(fault: &Fault, ground: &mut Ground) {
    match fault {
        Fault::Cut { ways, .. } => ways.iter().for_each(|(from, to)| ground.net.join(*from, *to)),
        Fault::Loss { ways, permille } => {
            ways.iter().for_each(|(from, to)| ground.net.way_mut(*from, *to).loss_permille -= permille);
        }
        Fault::Delay { ways, by } => {
            ways.iter().for_each(|(from, to)| ground.net.way_mut(*from, *to).delay -= *by);
        }
        Fault::SlowDisk { machine, by } => ground.hosts[*machine].slow_disk -= *by,
        Fault::Service(machine) => ground.hosts[*machine].broken_services -= 1,
        Fault::Clock { machine, by_ms } => ground.hosts[*machine].clock.ahead_ms -= by_ms,
        Fault::Crash(_)
        | Fault::Pause(_)
        | Fault::Freeze(_)
        | Fault::CrashAgent(_)
        | Fault::CrashServer(_) => {}
    }
}

/// For a person.
pub struct Shown<'a>(pub &'a Fault, pub Layout);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(fault, layout) = self;
        let first = |ways: &[(Machine, Machine)]| {
            ways.first().map_or(String::new(), |(from, to)| {
                format!("{} to {} and {} more", layout.name(*from), layout.name(*to), ways.len() - 1)
            })
        };
        match fault {
            Fault::Crash(machine) => write!(f, "crash of {}", layout.name(*machine)),
            Fault::Pause(machine) => write!(f, "pause of {}", layout.name(*machine)),
            Fault::Cut { shape, ways } => write!(f, "cut ({shape}): {}", first(ways)),
            Fault::Loss { ways, permille } => write!(f, "{permille} of 1000 packets lost: {}", first(ways)),
            Fault::Delay { ways, by } => write!(f, "{} ms longer: {}", by.as_millis(), first(ways)),
            Fault::SlowDisk { machine, by } => {
                write!(f, "each write of {} takes {} ms longer", layout.name(*machine), by.as_millis())
            }
            Fault::Freeze(machine) => write!(f, "{} is frozen", layout.name(*machine)),
            Fault::CrashAgent(machine) => write!(f, "{} alone crashes", layout.name(*machine)),
            Fault::CrashServer(machine) => write!(f, "the server of {} crashes", layout.name(*machine)),
            Fault::Service(machine) => write!(f, "the service at {} does not answer", layout.name(*machine)),
            Fault::Clock { machine, by_ms } => {
                write!(f, "the wall clock of {} is set by {by_ms} ms", layout.name(*machine))
            }
        }
    }
}
