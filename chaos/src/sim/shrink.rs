//! Fewer faults that break the same invariant: for a person to understand.

use super::fault::Planned;
use super::world::{Options, Run};

/// Runs that are spent on it at most.
const MOST_RUNS: usize = 400;

/// Leaves out halves, quarters, … of the faults as long as `invariant` stays broken (Zeller and Hildebrandt 2002,
/// "Simplifying and isolating failure-inducing input").
pub fn shrink(run: Run, seed: u64, options: &Options, faults: Vec<Planned>, invariant: &str) -> Vec<Planned> {
    let breaks = |faults: &[Planned]| {
        let options = Options { faults: Some(faults.to_vec()), is_read: false, ..options.clone() };
        run(seed, &options).0.violations.iter().any(|broken| broken.invariant == invariant)
    };
    let (mut left, mut parts, mut runs) = (faults, 2, 0);
    while left.len() > 1 && runs < MOST_RUNS {
        let size = left.len().div_ceil(parts);
        let fewer = (0..left.len()).step_by(size).find_map(|from| {
            runs += 1;
            let rest: Vec<Planned> = left
                .iter()
                .enumerate()
                .filter(|(n, _)| !(from..from + size).contains(n))
                .map(|(_, p)| p.clone())
                .collect();
            breaks(&rest).then_some(rest)
        });
        match fewer {
            Some(fewer) => (left, parts) = (fewer, parts.saturating_sub(1).max(2)),
            None if size == 1 => break,
            None => parts = (parts * 2).min(left.len()),
        }
    }
    left
}
