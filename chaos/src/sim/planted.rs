//! Bugs that are put in on purpose, to see that they are found: a harness that cannot fail proves nothing.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Bug {
    /// A member votes for everybody who asks in a term.
    VotesTwice,
    /// What a member says does not wait for its disk.
    SaysBeforeSync,
    /// A renewal is granted without a proof that its leader still leads.
    RenewsWithoutRound,
    /// A read is answered without one.
    ReadsWithoutRound,
    /// A lease counts from when the answer came, and not from when it was asked for.
    CountsFromReceipt,
    /// A server is promoted without its guard.
    PromotesUnguarded,
    /// What was given back is forgotten when the agent restarts.
    ForgetsReleased,
    /// A replica at rest goes on receiving.
    RestsReceiving,
    /// A commit is acknowledged by the primary's own disk, whatever its mode.
    AcknowledgesAlone,
    /// A promise to another is forgotten at once.
    ForgetsPromises,
    /// The guard takes a lease after its deadline.
    RevivesLease,
}

impl Bug {
    pub const ALL: [Bug; 11] = [
        Bug::VotesTwice,
        Bug::SaysBeforeSync,
        Bug::RenewsWithoutRound,
        Bug::ReadsWithoutRound,
        Bug::CountsFromReceipt,
        Bug::PromotesUnguarded,
        Bug::ForgetsReleased,
        Bug::RestsReceiving,
        Bug::AcknowledgesAlone,
        Bug::ForgetsPromises,
        Bug::RevivesLease,
    ];
}
