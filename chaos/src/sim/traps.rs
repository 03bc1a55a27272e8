//! Moments that are known to be delicate, and faults that fit together there: each alone would be got over easily.

use std::ops::Range;
use std::time::Duration;

use super::ambush::{Ambush, Harm, Phase, Victim, When};
use super::chance::Chance;
use super::layout::Layout;

/// `is_failsafe`: whether a primary may go on by promises of the other agents.
pub fn trap(chance: &Chance, layout: Layout, is_failsafe: bool) -> Vec<Ambush> {
    let laying = Laying { chance, nth: 1 + chance.below(6) as usize };
    match chance.below(12) {
        0..2 => laying.given_back_late(),
        2 => laying.heir_ends(),
        3 => laying.granted_and_lost(),
        4 => laying.wrote_for_a_moment(),
        5 => laying.left_behind(),
        6..9 if is_failsafe => laying.heard_by_agents_alone(),
        6..9 => laying.heard_of_in_between(layout),
        9 => laying.leaders(),
        10 => laying.comes_back_old(),
        _ => laying.is_not_promoted(),
    }
}

struct Laying<'a> {
    chance: &'a Chance,
    /// It begins with the one of this number.
    nth: usize,
}

impl Laying<'_> {
    fn first(&self, phase: Phase) -> When {
        When::Phase(phase, self.nth)
    }

    fn since(&self, phase: Phase, then: &'static [Phase]) -> When {
        When::Since(phase, self.nth, then)
    }

    fn lay(&self, when: When, within_ms: u64, victim: Victim, harm: Harm, lasts_ms: Range<u64>) -> Ambush {
        let between = |from, to| self.chance.between(Duration::from_millis(from), Duration::from_millis(to));
        let (after, lasts) = (between(0, within_ms), between(lasts_ms.start, lasts_ms.end));
        Ambush { when, after, lasts, until: None, victim, harm }
    }

    /// That it has given back lies with a controller that stands still, and goes on its way when it has begun anew: the
    /// leader is lost, and the agent with what it was to say again.
    fn given_back_late(&self) -> Vec<Ambush> {
        let given_back = self.since(Phase::Begun, &[Phase::GaveUp]);
        let again = self.since(Phase::Begun, &[Phase::GaveUp, Phase::Begun]);
        let stands_still = self.lay(given_back, 0, Victim::Follower, Harm::Pause, 4_000..10_000);
        vec![
            self.lay(self.first(Phase::Begun), 5_000, Victim::Holder, Harm::CrashServer, 30..200),
            self.lay(given_back, 4, Victim::Holder, Harm::CrashAgent, 30..200),
            self.lay(given_back, 5, Victim::Leader, Harm::Crash, 30..500),
            Ambush { until: Some(Phase::Begun), ..stands_still },
            self.lay(again, 100, Victim::Holder, Harm::CutFromControllers, 500..6_000),
        ]
    }

    /// The heir ends just before it has everything.
    fn heir_ends(&self) -> Vec<Ambush> {
        vec![self.lay(self.first(Phase::Yields), 60, Victim::Heir, Harm::CrashServer, 30..1_000)]
    }

    /// Whoever was granted it is heard of no more, and its agent begins anew.
    fn granted_and_lost(&self) -> Vec<Ambush> {
        let granted = self.first(Phase::Granted);
        vec![
            self.lay(granted, 100, Victim::Holder, Harm::CutFromControllers, 30..15_000),
            self.lay(granted, 500, Victim::Holder, Harm::CrashAgent, 30..400),
        ]
    }

    /// It wrote alone for a moment.
    fn wrote_for_a_moment(&self) -> Vec<Ambush> {
        vec![self.lay(self.first(Phase::Begun), 80, Victim::Holder, Harm::Crash, 30..20_000)]
    }

    /// Nobody has what it writes any more, and then it is lost.
    fn left_behind(&self) -> Vec<Ambush> {
        let begun = self.first(Phase::Begun);
        vec![
            self.lay(begun, 1_000, Victim::Holder, Harm::CutFromAgents, 8_000..40_000),
            self.lay(begun, 40_000, Victim::Holder, Harm::Crash, 5_000..30_000),
        ]
    }

    /// Whoever writes goes on by what the other agents promise, and the one that is granted its lease begins anew.
    fn heard_by_agents_alone(&self) -> Vec<Ambush> {
        let (begun, granted) = (self.first(Phase::Begun), self.since(Phase::Begun, &[Phase::Granted]));
        vec![
            self.lay(begun, 2_000, Victim::Holder, Harm::CutFromControllers, 9_000..20_000),
            self.lay(granted, 20, Victim::Holder, Harm::CrashAgent, 20..200),
        ]
    }

    /// Whoever writes is heard of again while the end of its lease is being committed, which takes long, and no more
    /// once that is done.
    fn heard_of_in_between(&self, layout: Layout) -> Vec<Ambush> {
        let expiring = self.since(Phase::Begun, &[Phase::Expiring]);
        let vacant = self.since(Phase::Begun, &[Phase::Expiring, Phase::Vacant]);
        let begun = self.first(Phase::Begun);
        let silent = self.lay(begun, 5_000, Victim::Holder, Harm::CutFromControllers, 6_000..12_000);
        let by = self.chance.between(Duration::from_millis(300), Duration::from_millis(1_500));
        let slow = |machine| self.lay(expiring, 0, Victim::Any(machine), Harm::SlowDisk(by), 1_000..2_000);
        let heard = Ambush { until: Some(Phase::Expiring), ..silent };
        let silent_again = self.lay(vacant, 2, Victim::Holder, Harm::CutFromControllers, 500..6_000);
        layout.controllers().map(slow).chain([heard, silent_again]).collect()
    }

    /// Whoever is granted the lease cannot begin; and sometimes it seems to be able to when it has just given up.
    fn is_not_promoted(&self) -> Vec<Ambush> {
        let harm = *self.chance.pick(&[Harm::PromotionFails, Harm::PromotionHangs]);
        let (from, to) = *self.chance.pick(&[(50, 3_000), (9_000, 13_000), (10_000, 60_000)]);
        vec![
            self.lay(self.first(Phase::Granted), 1, Victim::Holder, harm, from..to),
            self.lay(self.first(Phase::Begun), 30_000, Victim::Holder, Harm::CrashServer, 30..1_000),
        ]
    }

    /// Of two replicas one alone has what is written, and comes back without it just when its primary is lost.
    fn comes_back_old(&self) -> Vec<Ambush> {
        let begun = self.first(Phase::Begun);
        let lost = self.chance.between(Duration::from_secs(4), Duration::from_secs(40));
        let fault = |after: Duration, lasts: Duration, victim, harm| {
            let until = None;
            Ambush { when: begun, after, lasts, until, victim, harm }
        };
        let before = self.chance.between(Duration::from_millis(100), Duration::from_secs(3));
        let near = self.chance.between(Duration::ZERO, Duration::from_millis(600));
        let gone = *self.chance.pick(&[Harm::Crash, Harm::CrashServer, Harm::CutOff]);
        let lasts = self.chance.between(Duration::from_millis(100), Duration::from_secs(30));
        vec![
            fault(lost.saturating_sub(before * 2), before * 3, Victim::Third, Harm::CutFromAgents),
            fault(lost.saturating_sub(before), before + near, Victim::Heir, Harm::OldData),
            fault(lost, lasts, Victim::Holder, gone),
        ]
    }

    /// One leader after another is cut off: one with what nobody else has, one before it has said anything, and one
    /// that has just begun to commit what it found.
    fn leaders(&self) -> Vec<Ambush> {
        let elected = self.since(Phase::StepStarted, &[Phase::Elected]);
        let commits = self.since(Phase::StepStarted, &[Phase::Elected, Phase::Commits]);
        let at_once_or = |most_ms| *self.chance.pick(&[0, 0, most_ms]);
        let cut = |when, within_ms, until| {
            let cut = self.lay(when, within_ms, Victim::Leader, Harm::CutFromControllers, 6_000..10_000);
            Ambush { until: Some(until), ..cut }
        };
        vec![
            cut(self.first(Phase::StepStarted), 1_000, Phase::Elected),
            cut(elected, at_once_or(1_000), Phase::Commits),
            cut(commits, at_once_or(200), Phase::Elected),
        ]
    }
}
