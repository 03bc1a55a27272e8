//! Faults that lie in wait for a phase of what is going on: the second one comes while the first is being mended.

use std::time::Duration;

use decision::event::Event;

use super::chance::Chance;
use super::fault::Fault;
use super::ground::Machine;
use super::layout::Layout;
use super::schedule::{lasts, slow};

/// A moment at which something has just begun, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Elected,
    Opened,
    StepStarted,
    StepEnded,
    Vacant,
    Granted,
    Alone,
    Over,
    /// By an agent, and nobody knows of it yet.
    Released,
    Promotes,
    /// It takes writes.
    Begun,
    Copies,
}

impl Phase {
    const ALL: [Phase; 12] = [
        Phase::Elected,
        Phase::Opened,
        Phase::StepStarted,
        Phase::StepEnded,
        Phase::Vacant,
        Phase::Granted,
        Phase::Alone,
        Phase::Over,
        Phase::Released,
        Phase::Promotes,
        Phase::Begun,
        Phase::Copies,
    ];

    /// Of which an entry of the journal tells.
    pub fn of(event: &Event) -> Option<Phase> {
        match event {
            Event::PlanOpened { .. } => Some(Phase::Opened),
            Event::StepStarted { .. } => Some(Phase::StepStarted),
            Event::StepEnded { .. } => Some(Phase::StepEnded),
            Event::LeaseEnded { .. } => Some(Phase::Vacant),
            Event::LeaseGranted { .. } => Some(Phase::Granted),
            Event::WentAlone { .. } => Some(Phase::Alone),
            Event::PlanEnded { .. } => Some(Phase::Over),
            _ => None,
        }
    }
}

/// Whom it hits, as things are then.
#[derive(Clone, Copy, Debug)]
pub enum Victim {
    /// Who holds the lease, or held it last.
    Holder,
    /// Who is to take over, or else is not the holder.
    Heir,
    /// The controller that leads.
    Leader,
    Any(Machine),
}

#[derive(Clone, Copy, Debug)]
pub enum Harm {
    Crash,
    Pause,
    Freeze,
    CrashAgent,
    CrashServer,
    CutOff,
    CutFromControllers,
    CutFromAgents,
    SlowDisk(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The one of this number, from 1, of these.
    Phase(Phase, usize),
    /// The one of this number, of all.
    Any(usize),
}

#[derive(Clone, Copy, Debug)]
pub struct Ambush {
    pub when: When,
    pub after: Duration,
    pub lasts: Duration,
    pub victim: Victim,
    pub harm: Harm,
}

impl Ambush {
    /// `phases`: all so far, with the one that has just come.
    pub fn is_due(&self, phases: &[Phase]) -> bool {
        match self.when {
            When::Phase(phase, nth) => {
                phases.last() == Some(&phase) && phases.iter().filter(|one| **one == phase).count() == nth
            }
            When::Any(nth) => phases.len() == nth,
        }
    }

    pub fn fault(&self, machine: Machine, layout: Layout) -> Fault {
        let is_agents = layout.is_data(machine);
        match self.harm {
            Harm::Pause => Fault::Pause(machine),
            Harm::Freeze if is_agents => Fault::Freeze(machine),
            Harm::CrashAgent if is_agents => Fault::CrashAgent(machine),
            Harm::CrashServer if is_agents => Fault::CrashServer(machine),
            Harm::Crash | Harm::Freeze | Harm::CrashAgent | Harm::CrashServer => Fault::Crash(machine),
            Harm::CutOff => Fault::Cut { shape: "machine", ways: layout.around(&[machine]) },
            Harm::CutFromControllers => {
                Fault::Cut { shape: "from controllers", ways: layout.to_controllers(machine) }
            }
            Harm::CutFromAgents => Fault::Cut { shape: "from agents", ways: layout.to_agents(machine) },
            Harm::SlowDisk(by) => Fault::SlowDisk { machine, by },
        }
    }
}

pub fn ambushes(chance: &Chance, layout: Layout) -> Vec<Ambush> {
    let mut laid = Vec::new();
    for _ in 0..*chance.pick(&[0, 3, 10, 25]) {
        if chance.permille(300) {
            laid.extend(known(chance));
            continue;
        }
        let when = When::Phase(*chance.pick(&Phase::ALL), 1 + chance.below(8) as usize);
        // Mostly one; sometimes two at once.
        for _ in 0..1 + chance.below(5) / 3 {
            laid.push(draw(chance, layout, when));
        }
    }
    laid
}

/// Moments that are known to be delicate.
fn known(chance: &Chance) -> Vec<Ambush> {
    let nth = 1 + chance.below(8) as usize;
    let ms = Duration::from_millis;
    let at = |phase, within_ms, (victim, harm), lasts_ms| Ambush {
        when: When::Phase(phase, nth),
        after: chance.between(Duration::ZERO, ms(within_ms)),
        lasts: chance.between(ms(30), ms(lasts_ms)),
        victim,
        harm,
    };
    match chance.below(4) {
        // That it has given back is on its way, the leader is lost, and the agent begins anew.
        0 => vec![
            at(Phase::Released, 4, (Victim::Holder, Harm::CrashAgent), 200),
            at(Phase::Released, 20, (Victim::Leader, Harm::Crash), 5_000),
        ],
        // The heir ends just before it has everything.
        1 => vec![at(Phase::StepStarted, 150, (Victim::Heir, Harm::CrashServer), 1_000)],
        // Whoever was granted it is heard of no more, and its agent begins anew.
        2 => vec![
            at(Phase::Granted, 100, (Victim::Holder, Harm::CutFromControllers), 15_000),
            at(Phase::Granted, 500, (Victim::Holder, Harm::CrashAgent), 400),
        ],
        // It wrote alone for a moment.
        _ => vec![at(Phase::Begun, 80, (Victim::Holder, Harm::Crash), 20_000)],
    }
}

fn draw(chance: &Chance, layout: Layout, when: When) -> Ambush {
    let after = *chance.pick(&[Duration::from_millis(4), Duration::from_millis(80), Duration::from_secs(1)]);
    let victim = match chance.below(5) {
        0 => Victim::Holder,
        1 => Victim::Heir,
        2 => Victim::Leader,
        _ => Victim::Any(chance.below(layout.regions as u64 * 2) as Machine),
    };
    let harm = match chance.below(9) {
        0 => Harm::Crash,
        1 => Harm::Pause,
        2 => Harm::Freeze,
        3 => Harm::CrashAgent,
        4 => Harm::CrashServer,
        5 => Harm::CutOff,
        6 => Harm::CutFromControllers,
        7 => Harm::CutFromAgents,
        _ => Harm::SlowDisk(slow(chance)),
    };
    Ambush { when, after: chance.between(Duration::ZERO, after), lasts: lasts(chance), victim, harm }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_springs_at_its_own_moment_and_once() {
        let phases = [Phase::Opened, Phase::Granted, Phase::Opened, Phase::Granted];
        let due = |when| {
            let (victim, harm) = (Victim::Leader, Harm::Crash);
            let ambush = Ambush { when, after: Duration::ZERO, lasts: Duration::ZERO, victim, harm };
            (1..=phases.len()).filter(|n| ambush.is_due(&phases[..*n])).collect::<Vec<_>>()
        };
        assert_eq!(due(When::Phase(Phase::Granted, 2)), [4]);
        assert_eq!(due(When::Phase(Phase::Alone, 1)), [0; 0]);
        assert_eq!(due(When::Any(3)), [3]);
    }

    #[test]
    fn what_only_an_agent_can_suffer_crashes_a_controller() {
        let layout = Layout { regions: 3 };
        let at = |harm| Ambush {
            when: When::Any(1),
            after: Duration::ZERO,
            lasts: Duration::ZERO,
            victim: Victim::Leader,
            harm,
        };
        assert_eq!(at(Harm::Freeze).fault(layout.agent(1), layout), Fault::Freeze(layout.agent(1)));
        assert_eq!(at(Harm::Freeze).fault(layout.controller(1), layout), Fault::Crash(layout.controller(1)));
        let Fault::Cut { ways, .. } = at(Harm::CutFromControllers).fault(layout.controller(0), layout) else {
            panic!("a cut")
        };
        assert_eq!(ways, [(0, 1), (1, 0), (0, 2), (2, 0)]);
    }
}
