//! What is done to the machines of a run, and when.

use std::fmt;
use std::time::Duration;

use super::ground::{Ground, Machine};
use super::layout::{Layout, Ways};
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
        ways: Ways,
    },
    Loss {
        ways: Ways,
        permille: u64,
    },
    /// Connections are made anew all the time: calls overtake each other, and are repeated.
    Scatter {
        ways: Ways,
    },
    Delay {
        ways: Ways,
        by: Duration,
    },
    SlowDisk {
        machine: Machine,
        by: Duration,
    },
    /// A server there can write nothing, and ends.
    FullDisk(Machine),
    /// Whoever flushes something there is told that it failed, and ends; nothing of that is there afterwards.
    FlushError(Machine),
    /// It ends when this does, and starts again with its replica's data as they were when this began.
    OldData(Machine),
    /// A server there that is to be promoted answers with an error, or ends in the midst of it.
    PromotionFails(Machine),
    /// It answers nothing, and goes on with it afterwards.
    PromotionHangs(Machine),
    /// The server there answers its agent nothing, and serves its clients.
    CallsHang(Machine),
    /// It does what its agent asks, and the answer is lost.
    AnswersLost(Machine),
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
        Fault::Scatter { ways } => {
            ways.iter().for_each(|(from, to)| ground.net.way_mut(*from, *to).scatters += 1);
        }
        Fault::SlowDisk { machine, by } => ground.hosts[*machine].slow_disk += *by,
        Fault::FullDisk(machine) => ground.hosts[*machine].full_disks += 1,
        Fault::FlushError(machine) => ground.hosts[*machine].failing_flushes += 1,
        Fault::PromotionFails(machine) => ground.hosts[*machine].failing_promotions += 1,
        Fault::PromotionHangs(machine) => ground.hosts[*machine].hanging_promotions += 1,
        Fault::CallsHang(machine) => ground.hosts[*machine].hanging_calls += 1,
        Fault::AnswersLost(machine) => ground.hosts[*machine].lost_answers += 1,
        Fault::Service(machine) => ground.hosts[*machine].broken_services += 1,
        Fault::Clock { machine, by_ms } => ground.hosts[*machine].clock.ahead_ms += by_ms,
        Fault::Crash(_)
        | Fault::Pause(_)
        | Fault::Freeze(_)
        | Fault::CrashAgent(_)
        | Fault::CrashServer(_)
        | Fault::OldData(_) => {}
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
        Fault::Scatter { ways } => {
            ways.iter().for_each(|(from, to)| ground.net.way_mut(*from, *to).scatters -= 1);
        }
        Fault::SlowDisk { machine, by } => ground.hosts[*machine].slow_disk -= *by,
        Fault::FullDisk(machine) => ground.hosts[*machine].full_disks -= 1,
        Fault::FlushError(machine) => ground.hosts[*machine].failing_flushes -= 1,
        Fault::PromotionFails(machine) => ground.hosts[*machine].failing_promotions -= 1,
        Fault::PromotionHangs(machine) => ground.hosts[*machine].hanging_promotions -= 1,
        Fault::CallsHang(machine) => ground.hosts[*machine].hanging_calls -= 1,
        Fault::AnswersLost(machine) => ground.hosts[*machine].lost_answers -= 1,
        Fault::Service(machine) => ground.hosts[*machine].broken_services -= 1,
        Fault::Clock { machine, by_ms } => ground.hosts[*machine].clock.ahead_ms -= by_ms,
        Fault::Crash(_)
        | Fault::Pause(_)
        | Fault::Freeze(_)
        | Fault::CrashAgent(_)
        | Fault::CrashServer(_)
        | Fault::OldData(_) => {}
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
            Fault::Scatter { ways } => write!(f, "calls overtake each other: {}", first(ways)),
            Fault::Delay { ways, by } => write!(f, "{} ms longer: {}", by.as_millis(), first(ways)),
            Fault::SlowDisk { machine, by } => {
                write!(f, "each write of {} takes {} ms longer", layout.name(*machine), by.as_millis())
            }
            Fault::Freeze(machine) => write!(f, "{} is frozen", layout.name(*machine)),
            Fault::CrashAgent(machine) => write!(f, "{} alone crashes", layout.name(*machine)),
            Fault::CrashServer(machine) => write!(f, "the server of {} crashes", layout.name(*machine)),
            Fault::FullDisk(machine) => write!(f, "the disk of {} is full", layout.name(*machine)),
            Fault::FlushError(machine) => {
                write!(f, "the disk of {} cannot be flushed", layout.name(*machine))
            }
            Fault::OldData(machine) => {
                write!(f, "{} comes back with the data that it has now", layout.name(*machine))
            }
            Fault::PromotionFails(machine) => write!(f, "promotions of {} fail", layout.name(*machine)),
            Fault::PromotionHangs(machine) => write!(f, "promotions of {} hang", layout.name(*machine)),
            Fault::CallsHang(machine) => {
                write!(f, "the server of {} answers it nothing", layout.name(*machine))
            }
            Fault::AnswersLost(machine) => {
                write!(f, "answers of the server of {} to it are lost", layout.name(*machine))
            }
            Fault::Service(machine) => write!(f, "the service at {} does not answer", layout.name(*machine)),
            Fault::Clock { machine, by_ms } => {
                write!(f, "the wall clock of {} is set by {by_ms} ms", layout.name(*machine))
            }
        }
    }
}
