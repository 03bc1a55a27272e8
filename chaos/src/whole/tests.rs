//! What the whole depth itself must be: repeatable, well where nothing breaks, and not where somebody made a mistake.

use std::time::Duration;

use super::{BUGS, run};
use crate::sim::Options;

/// Seeds that a bug may take.
const FOUND_WITHIN: u64 = 20;

#[test]
fn a_seed_decides_everything() {
    let options = Options::lasting(Duration::from_secs(40));
    let (once, again, other) = (run(1, &options).0, run(1, &options).0, run(2, &options).0);
    assert_eq!(once, again);
    assert_ne!(once.trace_hash, other.trace_hash);
    let read = run(1, &Options { is_read: true, ..options });
    assert_eq!(read.0, once);
    assert!(read.2.len() > 20, "{:?}", read.2);
}

#[test]
fn where_nothing_breaks_all_is_well() {
    let options = Options { faults: Some(Vec::new()), ..Options::lasting(Duration::from_secs(30)) };
    let report = run(3, &options).0;
    assert_eq!(report.violations, []);
    assert!(report.writes > 20 && report.entries > 20, "{report:?}");
}

#[test]
fn bugs_that_are_put_in_are_found() {
    for (bug, invariant) in BUGS.into_iter().zip(["S7", "S1"]) {
        let options = Options { planted: Some(bug), ..Options::lasting(Duration::from_secs(60)) };
        let is_found =
            |seed| run(seed, &options).0.violations.iter().any(|broken| broken.invariant == invariant);
        assert!((1..=FOUND_WITHIN).any(is_found), "{bug}");
    }
}
