//! Whom clients are led to, as tables.

use std::time::Duration;

use decision::database::{InstanceReport, InstanceRole};
use decision::goal::{DatabaseGoal, DatabaseRole};
use decision::plan::Epoch;

use super::super::aim::{self, Bond};
use super::goal;
use crate::instances::tests::{replica, report};
use crate::instances::{FRESH_BYTES, Standing};

const OLD: Duration = Duration::from_secs(5);

fn now(report: InstanceReport) -> Option<Standing> {
    aged(Duration::ZERO, report)
}

fn aged(age: Duration, report: InstanceReport) -> Option<Standing> {
    Some(Standing { report, replay_lag: Duration::ZERO, age })
}

fn unreplayed(replay_lag: Duration, report: InstanceReport) -> Option<Standing> {
    Some(Standing { report, replay_lag, age: Duration::ZERO })
}

fn primary(epoch: u64) -> InstanceReport {
    report(InstanceRole::Primary { epoch: Epoch(epoch) })
}

fn yielding(mut goal: DatabaseGoal) -> DatabaseGoal {
    goal.role = DatabaseRole::Yield { to: Some("us".into()) };
    goal
}

fn led_to(aim: &aim::Aim) -> Option<&str> {
    aim.to.as_ref().map(|target| target.address.strip_suffix(".test:5432").unwrap())
}

#[test]
fn writers_are_led_to_the_writer_or_wait() {
    let (eu, us) = (Some("db.eu"), Some("db.us"));
    let starting = || now(report(InstanceRole::Starting));
    let table = [
        ("elsewhere, whatever is here", goal(Some("us"), 7), now(replica(0, 0)), us),
        ("elsewhere, nothing known here", goal(Some("us"), 7), None, us),
        ("vacant", goal(None, 7), now(replica(0, 0)), None),
        ("here and up", goal(Some("eu"), 7), now(primary(7)), eu),
        ("here, not known", goal(Some("eu"), 7), None, eu),
        ("here, known long ago", goal(Some("eu"), 7), aged(OLD, report(InstanceRole::Starting)), eu),
        ("here, starting", goal(Some("eu"), 7), starting(), None),
        ("here, of an older lease", goal(Some("eu"), 7), now(primary(6)), None),
        ("here, still a replica", goal(Some("eu"), 7), now(replica(0, 0)), None),
        ("here, about to end", yielding(goal(Some("eu"), 7)), now(primary(7)), None),
        ("here, about to end, not known", yielding(goal(Some("eu"), 7)), None, None),
        ("in a region without an instance", goal(Some("ap"), 7), None, None),
    ];
    for (what, goal, standing, wanted) in table {
        let aim = aim::write(&goal, &"eu".into(), standing.as_ref());
        assert_eq!(led_to(&aim), wanted, "{what}");
        for (region, epoch) in [("eu", 6), ("eu", 7), ("us", 6), ("us", 7)] {
            let bond = Bond::Writer { region: region.into(), epoch: Epoch(epoch) };
            let is_writer = goal.writer == Some(region.into()) && epoch == 7;
            assert_eq!(aim.holds(&bond), is_writer, "{what}: {bond:?}");
        }
        assert!(!aim.holds(&Bond::Local), "{what}");
    }
}

#[test]
fn readers_are_led_to_what_is_near_and_fresh() {
    let (eu, us) = (Some("db.eu"), Some("db.us"));
    let unknown = InstanceReport { upstream: None, ..replica(0, 0) };
    let parted = InstanceReport { role: InstanceRole::Replica { streaming: false }, ..replica(0, 0) };
    let table = [
        ("a fresh replica", goal(Some("us"), 7), now(replica(4_999, FRESH_BYTES - 1)), eu, true),
        ("silent for long", goal(Some("us"), 7), now(replica(5_000, 0)), us, true),
        ("not looked at for long", goal(Some("us"), 7), aged(OLD, replica(0, 0)), us, true),
        ("not replayed for long", goal(Some("us"), 7), unreplayed(OLD, replica(0, 0)), us, true),
        ("far behind", goal(Some("us"), 7), now(replica(0, FRESH_BYTES)), us, true),
        ("behind, not known how far", goal(Some("us"), 7), now(unknown), us, true),
        ("not streaming", goal(Some("us"), 7), now(parted), us, true),
        ("nothing known", goal(Some("us"), 7), None, us, true),
        ("busy or starting", goal(Some("us"), 7), now(report(InstanceRole::Starting)), us, true),
        ("ended", goal(Some("us"), 7), now(report(InstanceRole::Stopped { clean: true })), us, false),
        ("broken", goal(Some("us"), 7), now(report(InstanceRole::Broken)), us, false),
        ("not there", goal(Some("us"), 7), now(report(InstanceRole::Absent)), us, false),
        ("the primary", goal(Some("eu"), 7), now(primary(7)), eu, true),
        ("the primary of an older lease", goal(Some("eu"), 7), now(primary(6)), None, true),
        ("the primary, about to end", yielding(goal(Some("eu"), 7)), now(primary(7)), None, true),
        ("a replica that is to be primary", goal(Some("eu"), 7), now(replica(0, 0)), eu, true),
        ("a fresh replica of nobody now", goal(None, 7), now(replica(0, 0)), eu, true),
        ("nobody at all", goal(None, 7), None, None, true),
    ];
    for (what, goal, standing, wanted, local_stays) in table {
        let aim = aim::read(&goal, &"eu".into(), standing.as_ref());
        assert_eq!(led_to(&aim), wanted, "{what}");
        assert_eq!(aim.holds(&Bond::Local), local_stays, "{what}");
        // Those led to the primary stay with it only.
        let of_us = Bond::Writer { region: "us".into(), epoch: Epoch(7) };
        assert_eq!(aim.holds(&of_us), goal.writer == Some("us".into()), "{what}");
        // Nobody is led to where he would be cut off at once.
        assert!(aim.to.as_ref().is_none_or(|target| aim.holds(&target.bond)), "{what}");
    }
}

#[test]
fn no_older_writer_comes_back() {
    let table = [
        ("the same", goal(Some("eu"), 7), goal(Some("eu"), 7), true),
        ("vacated", goal(Some("eu"), 7), goal(None, 7), true),
        ("succeeded", goal(Some("eu"), 7), goal(Some("us"), 8), true),
        ("succeeded after a vacancy", goal(None, 7), goal(Some("us"), 8), true),
        ("renewed", goal(Some("eu"), 7), goal(Some("eu"), 8), true),
        ("an older epoch", goal(Some("us"), 8), goal(Some("eu"), 7), false),
        ("an older vacancy", goal(Some("us"), 8), goal(None, 7), false),
        ("one who was fenced", goal(None, 7), goal(Some("eu"), 7), false),
        ("two of one epoch", goal(Some("eu"), 7), goal(Some("us"), 7), false),
    ];
    for (what, before, new, wanted) in table {
        assert_eq!(aim::may_follow(&before, &new), wanted, "{what}");
    }
}
