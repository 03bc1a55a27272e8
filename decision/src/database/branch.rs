//! Whose timeline is it? PostgreSQL numbers a new timeline by those it has heard of, so two promotions
//! that did not hear of each other take the same number, and it would then take the one log for the
//! other. Regent knows each by the epoch that began it.

use serde::{Deserialize, Serialize};

use crate::plan::Epoch;
use crate::planted::{self, Bug};

/// So many are remembered: one a promotion.
const MOST: usize = 64;

/// A timeline, and the epoch whose primary began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    pub timeline: u32,
    pub epoch: Epoch,
}

/// Kept beside a data folder: whatever it holds of timelines above `above`, it holds since this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub epoch: Epoch,
    pub above: u32,
}

/// What the log of an instance is to the history that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kinship {
    /// Nothing speaks against it; what differs, PostgreSQL tells by the numbers.
    #[default]
    Kin,
    /// It holds another timeline of the same number: only a copy can mend it.
    Stranger,
    /// Its newest timeline may be another's too: the primary has not told yet.
    Unknown,
}

/// The newest timeline of an instance whose newest is `timeline`. None: it was never marked.
pub fn newest(marks: &[Mark], timeline: u32) -> Option<Branch> {
    let begun = marks.iter().rev().find(|mark| mark.above < timeline)?;
    Some(Branch { timeline, epoch: begun.epoch })
}

/// Before an instance whose newest timeline is `timeline` (0: it has none) takes in, or writes, anything
/// at this epoch.
pub fn mark(marks: &mut Vec<Mark>, epoch: Epoch, timeline: u32) {
    // Asked again, it may have taken in what the epoch began.
    if planted::has(Bug::TimelinesUnmarked) || marks.last().is_some_and(|mark| mark.epoch >= epoch) {
        return;
    }
    // Nothing came under marks that began where this one does.
    marks.retain(|mark| mark.above < timeline);
    marks.push(Mark { epoch, above: timeline });
    marks.drain(..marks.len().saturating_sub(MOST));
}

/// What came since an epoch came from its primary, and so is what that primary's history tells, once it has told:
/// of one that begins no timeline of its own, somebody before it may have begun the newest. `history`: whole, at `epoch`.
pub fn learn(marks: &mut Vec<Mark>, epoch: Epoch, history: &[Branch]) {
    let Some(Mark { above, .. }) = marks.pop_if(|last| last.epoch == epoch) else { return };
    let told = history.iter().filter(|branch| branch.timeline > above);
    for branch in told.filter(|branch| branch.epoch < epoch) {
        mark(marks, branch.epoch, branch.timeline - 1);
    }
    let before = history.iter().filter(|branch| branch.epoch < epoch).map(|branch| branch.timeline).max();
    mark(marks, epoch, before.map_or(above, |timeline| timeline.max(above)));
}

/// Of a copy of this epoch's primary.
pub fn of_copy(history: &[Branch], epoch: Epoch) -> Vec<Mark> {
    let mut marks = Vec::new();
    for branch in history {
        mark(&mut marks, branch.epoch, branch.timeline.saturating_sub(1));
    }
    let last = history.last().map_or(0, |branch| branch.timeline);
    if history.last().is_none_or(|branch| branch.epoch < epoch) {
        mark(&mut marks, epoch, last);
    }
    marks
}

/// Whoever writes holds this as its newest: what was begun beside it, or after, counts no more. By a person's leave it may
/// be one of whom another had taken the place: the other's timelines have smaller numbers then, and later epochs.
pub fn extend(history: &mut Vec<Branch>, newest: Branch) {
    history.retain(|branch| branch.timeline < newest.timeline && branch.epoch <= newest.epoch);
    history.push(newest);
    history.drain(..history.len().saturating_sub(MOST));
}

/// Of a log whose newest timeline is `timeline`, by all that its marks tell.
pub fn kinship_of(marks: &[Mark], timeline: u32, history: &[Branch], is_whole: bool) -> Kinship {
    // S3: what it holds under a lower number was begun before what counts under it; a rewind would take the one for
    // the other. A mark may be younger than what it holds, never older.
    let older =
        |branch: &Branch| newest(marks, branch.timeline).is_some_and(|held| held.epoch < branch.epoch);
    let is_other = history.iter().filter(|branch| branch.timeline < timeline).any(older);
    if is_other && !planted::has(Bug::StrangersTaken) {
        return Kinship::Stranger;
    }
    kinship(newest(marks, timeline), history, is_whole)
}

/// Of one of whom only the newest timeline is known. `is_whole`: the primary that is now has told its newest.
pub fn kinship(own: Option<Branch>, history: &[Branch], is_whole: bool) -> Kinship {
    let Some(own) = own.filter(|_| !planted::has(Bug::StrangersTaken)) else { return Kinship::Kin };
    match history.iter().find(|branch| branch.timeline == own.timeline) {
        // It may be what the primary that is now has begun.
        Some(branch) if branch.epoch < own.epoch && !is_whole => Kinship::Unknown,
        Some(branch) if branch.epoch != own.epoch => Kinship::Stranger,
        Some(_) => Kinship::Kin,
        // S3: whatever has that number there was begun before.
        None if history.iter().any(|branch| branch.timeline > own.timeline && branch.epoch < own.epoch) => {
            Kinship::Stranger
        }
        None if is_whole || history.last().is_some_and(|last| own.timeline < last.timeline) => Kinship::Kin,
        None => Kinship::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(timeline: u32, epoch: u64) -> Branch {
        Branch { timeline, epoch: Epoch(epoch) }
    }

    #[test]
    fn a_timeline_is_of_the_epoch_under_which_it_came() {
        let mut marks = Vec::new();
        mark(&mut marks, Epoch(1), 0);
        assert_eq!(newest(&marks, 1), Some(branch(1, 1)));
        // It was to follow 2, which never came, and then 3, which began a timeline.
        mark(&mut marks, Epoch(2), 1);
        mark(&mut marks, Epoch(3), 1);
        assert_eq!(newest(&marks, 1), Some(branch(1, 1)));
        assert_eq!(newest(&marks, 2), Some(branch(2, 3)));
        // A primary that was started anew goes on with it.
        mark(&mut marks, Epoch(4), 2);
        assert_eq!(newest(&marks, 2), Some(branch(2, 3)));
        assert_eq!(newest(&marks, 3), Some(branch(3, 4)));
        // Marked twice is marked once: it crashed before, or after.
        mark(&mut marks, Epoch(4), 2);
        mark(&mut marks, Epoch(4), 3);
        assert_eq!(marks.len(), 3);
        assert_eq!(newest(&marks, 3), Some(branch(3, 4)));
        assert_eq!(newest(&[], 2), None);
    }

    #[test]
    fn who_took_the_place_of_one_that_a_person_brings_back_is_a_stranger() {
        // 3 was begun at epoch 4, and 4 of it at 5; then another, which had not heard of that, began 3 at epoch 6.
        let mut history = vec![branch(2, 3), branch(3, 6)];
        extend(&mut history, branch(4, 5));
        extend(&mut history, branch(5, 9));
        assert_eq!(history, [branch(2, 3), branch(4, 5), branch(5, 9)]);
        for is_whole in [false, true] {
            assert_eq!(kinship(Some(branch(3, 6)), &history, is_whole), Kinship::Stranger);
            assert_eq!(kinship(Some(branch(3, 4)), &history, is_whole), Kinship::Kin);
            assert_eq!(kinship(Some(branch(4, 5)), &history, is_whole), Kinship::Kin);
        }
    }

    #[test]
    fn who_holds_another_timeline_of_a_number_below_its_newest_is_a_stranger() {
        // 3 was begun at epoch 4, and 4 of it at 5; another, which had not heard of that, began 3 at epoch 6.
        let mut marks = of_copy(&[branch(1, 1), branch(2, 3)], Epoch(3));
        mark(&mut marks, Epoch(4), 2);
        mark(&mut marks, Epoch(5), 3);
        let history = [branch(1, 1), branch(2, 3), branch(3, 6)];
        for is_whole in [false, true] {
            assert_eq!(kinship_of(&marks, 4, &history, is_whole), Kinship::Stranger);
        }
        let went_on = [branch(1, 1), branch(2, 3), branch(3, 6), branch(5, 8)];
        assert_eq!(kinship_of(&marks, 4, &went_on, true), Kinship::Stranger);
        // What is there of 3 is what it holds, or it holds none of it: PostgreSQL tells.
        assert_eq!(kinship_of(&marks, 4, &[branch(2, 3), branch(3, 4), branch(5, 8)], true), Kinship::Kin);
        assert_eq!(kinship_of(&marks, 2, &history, true), Kinship::Kin);
        // It came to hold, at 7, what was begun at 6.
        let mut marks = of_copy(&history[..2], Epoch(3));
        mark(&mut marks, Epoch(7), 2);
        assert_eq!(
            kinship_of(&marks, 4, &[history[0], history[1], history[2], branch(4, 7)], true),
            Kinship::Kin
        );
        assert_eq!(kinship_of(&[], 4, &history, true), Kinship::Kin, "it was never marked");
    }

    #[test]
    fn two_timelines_of_one_number_are_told_apart() {
        let mut history = Vec::new();
        extend(&mut history, branch(1, 1));
        extend(&mut history, branch(2, 2));
        // The promotion at 2 was lost, and another began where that one had.
        extend(&mut history, branch(2, 3));
        assert_eq!(history, [branch(1, 1), branch(2, 3)]);
        assert_eq!(kinship(Some(branch(2, 2)), &history, true), Kinship::Stranger);
        assert_eq!(kinship(Some(branch(2, 2)), &history, false), Kinship::Stranger);
        assert_eq!(kinship(Some(branch(2, 3)), &history, false), Kinship::Kin);
        assert_eq!(kinship(Some(branch(1, 1)), &history, false), Kinship::Kin);
        assert_eq!(kinship(None, &history, false), Kinship::Kin);
    }

    #[test]
    fn until_the_primary_has_told_its_timeline_nobody_follows_it_with_one_of_its_own() {
        let history = [branch(1, 1)];
        assert_eq!(kinship(Some(branch(2, 2)), &history, false), Kinship::Unknown);
        // It went on with the first, or took another number: PostgreSQL sees that.
        assert_eq!(kinship(Some(branch(2, 2)), &history, true), Kinship::Kin);
        assert_eq!(kinship(Some(branch(1, 1)), &[], false), Kinship::Unknown);
        // It follows one that took a number that was taken before, and was not heard of yet.
        let history = [branch(1, 1), branch(2, 2)];
        assert_eq!(kinship(Some(branch(2, 3)), &history, false), Kinship::Unknown);
        assert_eq!(kinship(Some(branch(2, 3)), &history, true), Kinship::Stranger);
    }

    #[test]
    fn what_came_from_a_primary_is_of_whoever_began_it() {
        // It missed epoch 2, whose primary began timeline 2, and follows the same server at epoch 3.
        let history = [branch(1, 1), branch(2, 2)];
        let mut marks = of_copy(&history[..1], Epoch(1));
        mark(&mut marks, Epoch(3), 1);
        assert_eq!(newest(&marks, 2), Some(branch(2, 3)), "as far as it knows");
        learn(&mut marks, Epoch(3), &history);
        assert_eq!(newest(&marks, 2), Some(branch(2, 2)));
        assert_eq!(newest(&marks, 1), Some(branch(1, 1)));
        assert_eq!(newest(&marks, 3), Some(branch(3, 3)), "what comes yet");
        let learned = marks.clone();
        learn(&mut marks, Epoch(3), &history);
        assert_eq!(marks, learned, "once is enough");
        learn(&mut marks, Epoch(4), &history);
        assert_eq!(marks, learned, "of an epoch that it was not marked for, nothing is known");
        // Its primary has begun another since.
        let mut marks = of_copy(&history[..1], Epoch(1));
        mark(&mut marks, Epoch(3), 1);
        learn(&mut marks, Epoch(3), &[branch(1, 1), branch(2, 2), branch(3, 3)]);
        assert_eq!((newest(&marks, 2), newest(&marks, 3)), (Some(branch(2, 2)), Some(branch(3, 3))));
    }

    #[test]
    fn what_was_there_before_stays_whosever_it_is() {
        // It began a second timeline at epoch 2, which was lost; another of that number counts.
        let mut marks = of_copy(&[branch(1, 1)], Epoch(1));
        mark(&mut marks, Epoch(2), 1);
        mark(&mut marks, Epoch(4), 2);
        let history = [branch(1, 1), branch(2, 3)];
        learn(&mut marks, Epoch(4), &history);
        assert_eq!(newest(&marks, 2), Some(branch(2, 2)));
        assert_eq!(kinship(newest(&marks, 2), &history, true), Kinship::Stranger);
    }

    #[test]
    fn a_copy_holds_what_its_primary_holds() {
        let history = [branch(1, 1), branch(2, 3)];
        let marks = of_copy(&history, Epoch(3));
        assert_eq!((newest(&marks, 1), newest(&marks, 2)), (Some(branch(1, 1)), Some(branch(2, 3))));
        // Copied before its primary had told that it began another.
        let marks = of_copy(&history, Epoch(4));
        assert_eq!((newest(&marks, 2), newest(&marks, 3)), (Some(branch(2, 3)), Some(branch(3, 4))));
        let marks = of_copy(&[], Epoch(1));
        assert_eq!(newest(&marks, 1), Some(branch(1, 1)));
        // Adopted on a later timeline.
        let marks = of_copy(&[branch(37, 1)], Epoch(1));
        assert_eq!(newest(&marks, 37), Some(branch(37, 1)));
    }
}
