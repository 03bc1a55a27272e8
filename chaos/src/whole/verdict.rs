//! What a run comes to: what is demanded when all has been well for a while, and whether the run proves anything.

use std::time::Duration;

use decision::name::ServiceName;

use super::ground::Ground;
use super::judge::Judge;
use crate::sim::Report;
use crate::sim::readers;
use crate::sim::setup::SERVICE;

/// In the end somebody was answered since then.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// Of operators, in a second: else nobody was there to be disturbed.
const ANSWERS_LEAST: f64 = 0.3;

/// Everything has been well for a while.
pub fn demands(ground: &Ground, judge: &mut Judge) {
    let (now, answered) = {
        let truth = ground.truth();
        (truth.step, truth.answered)
    };
    if answered.is_none_or(|at| now.since(at) > ANSWERED_WITHIN) {
        let detail = format!("no operator was answered since {answered:?}");
        judge.ledger.finds(now, "L1", detail);
    }
    let held = judge.ledger.newest().1.databases.get(&ServiceName::from(SERVICE)).cloned();
    let serves =
        |by| held.as_ref().is_some_and(|held| held.is_primary(by)) && ground.truth().writers.may(by, now);
    if !held.as_ref().and_then(|held| held.holder()).is_some_and(serves) {
        let detail = format!("nobody takes writes: {:?}", held.map(|held| (held.owner, held.instances)));
        judge.ledger.finds(now, "L1", detail);
    }
    judge.demands_agreement(now);
    let history = ground.truth().history.clone();
    if let Err(detail) = readers::judge(history) {
        judge.ledger.finds(now, "S7", detail);
    }
}

pub fn report(ground: &Ground, judge: &Judge, faults: usize, lasts: Duration) -> Report {
    let mut truth = ground.truth();
    let (entries, state) = judge.ledger.newest();
    state.journal.head().to_string().bytes().for_each(|byte| truth.trace.mixes(u64::from(byte)));
    let answers = truth.history.iter().filter(|operation| operation.answered.is_some()).count();
    let violations = judge.ledger.violations().iter().chain(&truth.violations).cloned().collect();
    let inconclusive = match () {
        () if (answers as f64) < lasts.as_secs_f64() * ANSWERS_LEAST => Some("hardly anybody was answered"),
        () if truth.writers.granted == 0 => Some("no lease was renewed"),
        () if faults == 0 => Some("nothing broke"),
        () => None,
    };
    Report {
        trace_hash: truth.trace.hash(),
        events: truth.trace.events(),
        faults,
        entries,
        moves: state.moves.len(),
        phases: 0,
        writes: answers,
        lost: 0,
        violations,
        inconclusive,
    }
}
