//! Bugs that are put in on purpose, to see that they are found: a harness that cannot fail proves nothing. Those of
//! the rules themselves are in `decision`, in programs that were built with them.

use std::fmt;
use std::str::FromStr;

use decision::planted;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bug {
    Around(Around),
    Rules(planted::Bug),
}

/// In what carries the rules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Around {
    /// A member votes for everybody who asks in a term.
    VotesTwice,
    /// What a member says does not wait for its disk.
    SaysBeforeSync,
    /// A leader counts entries of older terms, too (figure 8 of the Raft paper).
    CommitsOlderTerms,
    /// A renewal is granted without a proof that its leader still leads.
    RenewsWithoutRound,
    /// A read is answered without one.
    ReadsWithoutRound,
    /// A leader counts leases by a clock that can be set.
    TrustsWallClock,
    /// A lease counts from when the answer came, and not from when it was asked for.
    CountsFromReceipt,
    /// A server is promoted without its guard.
    PromotesUnguarded,
    /// What was given back is forgotten when the agent restarts.
    ForgetsReleased,
    /// A goal is taken that is older than the one in force.
    TakesOlderGoals,
    /// A commit is acknowledged by the primary's own disk, whatever its mode.
    AcknowledgesAlone,
}

impl Around {
    const ALL: [Around; 11] = [
        Around::VotesTwice,
        Around::SaysBeforeSync,
        Around::CommitsOlderTerms,
        Around::RenewsWithoutRound,
        Around::ReadsWithoutRound,
        Around::TrustsWallClock,
        Around::CountsFromReceipt,
        Around::PromotesUnguarded,
        Around::ForgetsReleased,
        Around::TakesOlderGoals,
        Around::AcknowledgesAlone,
    ];
}

impl Bug {
    pub fn all() -> impl Iterator<Item = Bug> {
        Around::ALL.into_iter().map(Bug::Around).chain(planted::Bug::ALL.into_iter().map(Bug::Rules))
    }

    /// Whether this program has it.
    pub fn is_here(self) -> bool {
        matches!(self, Bug::Around(_)) || cfg!(regent_planted)
    }
}

/// Those of the rules are in as long as this lives, on this thread.
pub(super) struct PutIn;

impl PutIn {
    #[cfg_attr(not(regent_planted), expect(unused_variables, reason = "there are none"))]
    pub fn new(bug: Option<Bug>) -> PutIn {
        #[cfg(regent_planted)]
        planted::put_in(match bug {
            Some(Bug::Rules(bug)) => Some(bug),
            _ => None,
        });
        PutIn
    }
}

impl Drop for PutIn {
    fn drop(&mut self) {
        #[cfg(regent_planted)]
        planted::put_in(None);
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = serde_json::to_value(self).unwrap_or_default();
        f.pad(name.as_str().unwrap_or_default())
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(name: &str) -> Result<Bug, String> {
        Bug::all().find(|bug| bug.to_string() == name).ok_or_else(|| {
            let names: Vec<String> = Bug::all().map(|bug| bug.to_string()).collect();
            format!("there is no such bug; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_a_name_of_its_own() {
        let all: Vec<Bug> = Bug::all().collect();
        assert!(all.len() >= 30);
        for bug in all {
            assert_eq!(bug.to_string().parse(), Ok(bug));
        }
        assert!("no-such".parse::<Bug>().unwrap_err().contains("votes-twice"));
    }
}
