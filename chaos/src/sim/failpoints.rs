//! A crash at every boundary of what a script makes happen, and at every pair of them: between any two entries of the
//! journal that tell of a plan or a lease, and between what an agent does and what it tells.

use std::time::Duration;

use super::ambush::{Ambush, Harm, Victim, When};
use super::script::Script;
use super::world::{Options, run};
use super::{Planned, Report};

/// Long enough to recover from all.
const LASTS: Duration = Duration::from_secs(180);
/// At the boundary, and in the midst of what follows.
pub const AT_AND_AFTER: [Duration; 2] = [Duration::ZERO, Duration::from_millis(25)];
const DOWN: Duration = Duration::from_secs(2);
/// What a first crash makes happen besides.
const BEYOND: usize = 4;

const VICTIMS: [(Victim, Harm); 5] = [
    (Victim::Leader, Harm::Crash),
    (Victim::Holder, Harm::Crash),
    (Victim::Heir, Harm::Crash),
    (Victim::Holder, Harm::CrashAgent),
    (Victim::Heir, Harm::CrashAgent),
];

pub fn options(script: Script, points: Vec<Ambush>) -> Options {
    Options { script: Some((script, points)), ..Options::lasting(LASTS) }
}

/// Every place for a crash in this script, as this seed has it.
pub fn points(script: Script, seed: u64, after: &[Duration]) -> Vec<Ambush> {
    let (Report { phases, .. }, ..) = run(seed, &options(script, Vec::new()));
    let boundaries = 1..=phases + BEYOND;
    let at = |nth| {
        after.iter().flat_map(move |after| {
            let (when, after, until) = (When::Any(nth), *after, None);
            let point = move |(victim, harm)| Ambush { when, after, lasts: DOWN, until, victim, harm };
            VICTIMS.map(point)
        })
    };
    boundaries.flat_map(at).collect()
}

/// What came of crashes at these.
pub fn crash_at(script: Script, seed: u64, points: Vec<Ambush>) -> (Report, Vec<Planned>) {
    let (report, faults, _) = run(seed, &options(script, points));
    (report, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_at_a_boundary_changes_nothing_in_the_end() {
        let points = points(Script::ServerDies, 1, &AT_AND_AFTER[..1]);
        assert!(points.len() > 50, "{}", points.len());
        // All of them are many: `chaos failpoints`.
        for point in points.iter().step_by(points.len() / 6) {
            let (report, faults) = crash_at(Script::ServerDies, 1, vec![*point]);
            assert_eq!(report.violations, [], "{point:?} {faults:?}");
            assert!(report.moves > 1, "the first primary, and another: {report:?}");
        }
    }
}
