//! Real processes killed exactly at boundaries of what a plan does: a choice of them, for all take half an hour
//! (`chaos live-failpoints`). That the others are passed at all is seen here, too.
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::collections::BTreeSet;

use chaos::live::scenario::{Runner, Story, Verdict, begin_with};
use chaos::live::{Mode, Options, Profile};

const CHOICE: [(Story, &str); 9] = [
    (Story::Switchover, "after-fence-begun"),
    (Story::Switchover, "after-shut-down"),
    (Story::Switchover, "after-promote-begun"),
    (Story::Switchover, "before-tell-primary"),
    (Story::Switchover, "after-shift-dns"),
    (Story::ServerDies, "after-lease-ended"),
    (Story::ServerDies, "after-guard-lease"),
    (Story::ServerDies, "after-pg-rewind"),
    (Story::CopiedAnew, "before-swap-folders"),
];

#[test]
fn netns_a_crash_at_a_boundary_of_a_plan_changes_nothing_in_the_end() {
    let options = Options { with_provider: true, ..Options::new(Profile::Balanced, Mode::Sync) };
    let (cluster, begun) = begin_with(options, "after-create").unwrap();
    assert_eq!(begun.verdict, Verdict::Passed, "{begun:?}");
    let mut runner = Runner::new(&cluster);
    for story in Story::ALL {
        let passed = runner.rehearse(story).unwrap_or_else(|error| panic!("{story:?}: {error:#}"));
        let wanted: BTreeSet<String> = story.points().into_iter().collect();
        let missed: Vec<&String> = wanted.difference(&passed).collect();
        assert!(missed.is_empty(), "{story:?} does not come to {missed:?}");
    }
    for (story, point) in CHOICE {
        let crash =
            runner.crash_at(story, point).unwrap_or_else(|error| panic!("{story:?} {point}: {error:#}"));
        eprintln!("{crash:?}");
        assert_eq!(crash.verdict, Verdict::Passed, "{crash:?}");
    }
}
