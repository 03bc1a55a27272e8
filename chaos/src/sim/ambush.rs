//! Faults that lie in wait for a phase of what is going on: the second one comes while the first is being mended.

use std::time::Duration;

use decision::event::Event;

use super::chance::Chance;
use super::fault::Fault;
use super::ground::Machine;
use super::layout::Layout;
use super::schedule::{lasts, slow};
use super::traps::trap;

/// A moment at which something has just begun, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Elected,
    /// For the first time since it was elected.
    Commits,
    Opened,
    StepStarted,
    StepEnded,
    /// The end of a lease is proposed.
    Expiring,
    Vacant,
    Granted,
    Alone,
    Over,
    /// It begins to end in order, for its heir.
    Yields,
    /// By an agent, and nobody knows of it yet: what ended in order, and what did not.
    Released,
    GaveUp,
    Promotes,
    /// It takes writes.
    Begun,
    Copies,
}

impl Phase {
    const ALL: [Phase; 16] = [
        Phase::Elected,
        Phase::Commits,
        Phase::Opened,
        Phase::StepStarted,
        Phase::StepEnded,
        Phase::Expiring,
        Phase::Vacant,
        Phase::Granted,
        Phase::Alone,
        Phase::Over,
        Phase::Yields,
        Phase::Released,
        Phase::GaveUp,
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
    /// The agent that is neither of them.
    Third,
    /// The controller that leads.
    Leader,
    /// One that does not, away from the holder.
    Follower,
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
    OldData,
    PromotionFails,
    PromotionHangs,
    CallsHang,
    AnswersLost,
    SlowDisk(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The one of this number, from 1, of these.
    Phase(Phase, usize),
    /// The first of these in turn that come after it.
    Since(Phase, usize, &'static [Phase]),
    /// The one of this number, of all.
    Any(usize),
}

#[derive(Clone, Copy, Debug)]
pub struct Ambush {
    pub when: When,
    pub after: Duration,
    pub lasts: Duration,
    /// Or until the next of these.
    pub until: Option<Phase>,
    pub victim: Victim,
    pub harm: Harm,
}

impl Ambush {
    /// `phases`: all so far, with the one that has just come.
    pub fn is_due(&self, phases: &[Phase]) -> bool {
        match self.when {
            When::Phase(phase, nth) => is_last(phases, phase, nth, &[]),
            When::Since(phase, nth, then) => is_last(phases, phase, nth, then),
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
            Harm::OldData if is_agents => Fault::OldData(machine),
            Harm::PromotionFails if is_agents => Fault::PromotionFails(machine),
            Harm::PromotionHangs if is_agents => Fault::PromotionHangs(machine),
            Harm::CallsHang if is_agents => Fault::CallsHang(machine),
            Harm::AnswersLost if is_agents => Fault::AnswersLost(machine),
            Harm::Crash
            | Harm::Freeze
            | Harm::CrashAgent
            | Harm::CrashServer
            | Harm::OldData
            | Harm::PromotionFails
            | Harm::PromotionHangs
            | Harm::CallsHang
            | Harm::AnswersLost => Fault::Crash(machine),
            Harm::CutOff => Fault::Cut { shape: "machine", ways: layout.around(&[machine]) },
            Harm::CutFromControllers => {
                Fault::Cut { shape: "from controllers", ways: layout.to_controllers(machine) }
            }
            Harm::CutFromAgents => Fault::Cut { shape: "from agents", ways: layout.to_agents(machine) },
            Harm::SlowDisk(by) => Fault::SlowDisk { machine, by },
        }
    }
}

/// Whether the newest is the one of this number, or the last of those that come after it.
fn is_last(phases: &[Phase], phase: Phase, nth: usize, then: &[Phase]) -> bool {
    if phases.last() != Some(then.last().unwrap_or(&phase)) {
        return false;
    }
    let mut left = phases.iter();
    let is_first = left.by_ref().filter(|one| **one == phase).nth(nth - 1).is_some();
    is_first && then.iter().all(|next| left.any(|one| one == next)) && left.next().is_none()
}

/// `is_failsafe`: whether a primary may go on by promises of the other agents.
pub fn ambushes(chance: &Chance, layout: Layout, is_failsafe: bool) -> Vec<Ambush> {
    let mut laid = Vec::new();
    for _ in 0..*chance.pick(&[0, 3, 10, 25]) {
        if chance.permille(300) {
            laid.extend(trap(chance, layout, is_failsafe));
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

fn draw(chance: &Chance, layout: Layout, when: When) -> Ambush {
    let after = *chance.pick(&[Duration::from_millis(4), Duration::from_millis(80), Duration::from_secs(1)]);
    let victim = match chance.below(6) {
        0 => Victim::Holder,
        1 => Victim::Heir,
        2 => Victim::Leader,
        3 => Victim::Follower,
        _ => Victim::Any(chance.below(layout.regions as u64 * 2) as Machine),
    };
    let harm = match chance.below(11) {
        0 => Harm::Crash,
        1 => Harm::Pause,
        2 => Harm::Freeze,
        3 => Harm::CrashAgent,
        4 => Harm::CrashServer,
        5 => Harm::CutOff,
        6 => Harm::CutFromControllers,
        7 => Harm::CutFromAgents,
        8 => Harm::CallsHang,
        9 => Harm::AnswersLost,
        _ => Harm::SlowDisk(slow(chance)),
    };
    Ambush {
        when,
        after: chance.between(Duration::ZERO, after),
        lasts: lasts(chance),
        until: None,
        victim,
        harm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_springs_at_its_own_moment_and_once() {
        let phases = [Phase::Opened, Phase::Granted, Phase::Opened, Phase::Granted];
        let due = |when| {
            let (victim, harm) = (Victim::Leader, Harm::Crash);
            let (after, lasts) = (Duration::ZERO, Duration::ZERO);
            let ambush = Ambush { when, after, lasts, until: None, victim, harm };
            (1..=phases.len()).filter(|n| ambush.is_due(&phases[..*n])).collect::<Vec<_>>()
        };
        assert_eq!(due(When::Phase(Phase::Granted, 2)), [4]);
        assert_eq!(due(When::Phase(Phase::Alone, 1)), [0; 0]);
        assert_eq!(due(When::Any(3)), [3]);
        assert_eq!(due(When::Since(Phase::Opened, 1, &[Phase::Granted])), [2]);
        assert_eq!(due(When::Since(Phase::Granted, 1, &[Phase::Granted])), [4]);
        assert_eq!(due(When::Since(Phase::Opened, 1, &[Phase::Opened, Phase::Granted])), [4]);
        assert_eq!(due(When::Since(Phase::Granted, 2, &[Phase::Opened])), [0; 0]);
    }

    #[test]
    fn what_only_an_agent_can_suffer_crashes_a_controller() {
        let layout = Layout { regions: 3 };
        let at = |harm| Ambush {
            when: When::Any(1),
            after: Duration::ZERO,
            lasts: Duration::ZERO,
            until: None,
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
