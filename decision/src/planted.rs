//! Bugs that `chaos mutants` puts into the rules, one at a time, to see that each is found. A program that was not
//! built with `--cfg regent_planted` has none of them: there [`has`] is false as a constant.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bug {
    /// A lease is counted as over after half of it.
    LeaseEndsEarly,
    /// Whoever is to be fenced is held for fenced, and the next is promoted at once.
    FenceNotWaitedFor,
    /// A new leader counts leases from their grant, and not from when it began itself.
    NewLeaderForgets,
    /// A lease is renewed whatever epoch is asked for, and by whomever.
    StaleEpochsRenewed,
    /// What is being ended can be renewed meanwhile.
    SealIgnored,
    /// A plan is opened though it was made for another configuration and epoch.
    StaleParentTaken,
    /// A plan does not raise its service's epoch.
    EpochNotRaised,
    /// A lease is granted at the epoch that it had.
    EpochGrantedTwice,
    /// Of those that may be promoted the one with the oldest position is.
    LeastAdvancedPromoted,
    /// One vantage is believed, whatever the others say.
    OneVantageBelieved,
    /// Names lead to the new primary before it is one.
    NamesBeforePromotion,
    /// A promotion is held for done when it has been granted.
    PromotionNotAwaited,
    /// A grant is not in the journal.
    GrantNotInJournal,
    MovesNotBounded,
    /// A zone changes and keeps its generation.
    ZoneGenerationStays,
    /// The heir of a planned move begins before it has everything.
    HeirBeginsEarly,
    /// What did not end in order is handed over as if it had.
    HandOverWithoutOrder,
    /// A timeline of the same number is held for the same.
    StrangersTaken,
    /// No agent remembers under which epoch its timelines came.
    TimelinesUnmarked,
    /// A primary acknowledges alone, and asks nobody for leave.
    AloneUnasked,
    /// That one acknowledged alone is no reason against another.
    AloneForgotten,
    /// Somebody is promoted whatever is lost with it.
    LossNotBounded,
    /// A replica says that it heard of its primary just now.
    SilenceForgotten,
    /// In synchronous modes anybody is promoted who has told its position.
    TooFewWitnesses,
    /// What was promised to another in failsafe mode binds nobody.
    PromisesBroken,
    /// Nor does what the process before promised.
    PromisesForgotten,
    /// No session is ever held for lost.
    SessionsNeverLost,
    /// What has parted from its primary is started as it is.
    NeverRewound,
    /// What starts and answers nothing is never told that it is to follow another.
    StartersUntold,
    /// The same result of a step takes effect each time it is told.
    StepDoneTwice,
    /// The guard never finds a deadline due.
    GuardLetsGo,
}

impl Bug {
    pub const ALL: [Bug; 31] = [
        Bug::LeaseEndsEarly,
        Bug::FenceNotWaitedFor,
        Bug::NewLeaderForgets,
        Bug::StaleEpochsRenewed,
        Bug::SealIgnored,
        Bug::StaleParentTaken,
        Bug::EpochNotRaised,
        Bug::EpochGrantedTwice,
        Bug::LeastAdvancedPromoted,
        Bug::OneVantageBelieved,
        Bug::NamesBeforePromotion,
        Bug::PromotionNotAwaited,
        Bug::GrantNotInJournal,
        Bug::MovesNotBounded,
        Bug::ZoneGenerationStays,
        Bug::HeirBeginsEarly,
        Bug::HandOverWithoutOrder,
        Bug::StrangersTaken,
        Bug::TimelinesUnmarked,
        Bug::AloneUnasked,
        Bug::AloneForgotten,
        Bug::LossNotBounded,
        Bug::SilenceForgotten,
        Bug::TooFewWitnesses,
        Bug::PromisesBroken,
        Bug::PromisesForgotten,
        Bug::SessionsNeverLost,
        Bug::NeverRewound,
        Bug::StartersUntold,
        Bug::StepDoneTwice,
        Bug::GuardLetsGo,
    ];
}

#[cfg(regent_planted)]
thread_local! {
    static PUT_IN: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Into the rules as they run on this thread; instead of the one that was in.
#[cfg(regent_planted)]
pub fn put_in(bug: Option<Bug>) {
    PUT_IN.set(bug);
}

/// Whether it is in.
#[cfg(regent_planted)]
pub fn has(bug: Bug) -> bool {
    PUT_IN.get() == Some(bug)
}

/// Never.
#[cfg(not(regent_planted))]
pub const fn has(_: Bug) -> bool {
    false
}
