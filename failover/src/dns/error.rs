//! What can go wrong with a shift of DNS, what was left as it was, and what to do.

use std::fmt;

use decision::name::DnsName;
use decision::plan::Epoch;

/// What decides who may write: neither part ever falls (S2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub epoch: Epoch,
    pub generation: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} generation {}", self.epoch, self.generation)
    }
}

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Another attempt may succeed, and is safe: every attempt begins by reading.
    Retry,
    /// A safety rule said no; another attempt of the same change gets the same answer.
    Refused,
    /// Something outside must be put right first.
    Person,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    #[error(
        "{name} already stands at {theirs}, written by operation {by}; this change is of {ours} and was refused. \
         Nothing was changed"
    )]
    Stale { name: DnsName, ours: Version, theirs: Version, by: String },

    #[error("{name} is not Regent's to change: {what}. Nothing was changed; {remedy}")]
    Foreign { name: DnsName, what: String, remedy: String },

    #[error("the change is not one that DNS can hold: {what}. Nothing was sent")]
    Invalid { what: String },

    #[error("{server} was not reached while {doing}: {why}")]
    Unreachable { server: String, doing: &'static str, why: String },

    #[error("key {key:?} was not accepted at {server}: {why}. Nothing was changed; {remedy}")]
    Key { key: String, server: String, why: String, remedy: String },

    #[error(
        "the answer of {server} does not carry a valid signature of key {key:?}: {why}. It was not believed; \
         look whether something between here and the server alters DNS messages"
    )]
    Unauthentic { key: String, server: String, why: String },

    #[error("{server} answered {rcode} to {doing} in zone {zone}: {hint}. Nothing was changed")]
    Rejected { server: String, rcode: String, doing: &'static str, zone: DnsName, hint: &'static str },

    #[error("{server} cannot answer now ({rcode} to {doing} in zone {zone})")]
    Busy { server: String, rcode: String, doing: &'static str, zone: DnsName },

    #[error(
        "what was read at {server} no longer held when the update arrived ({rcode}): another writer, or records of \
         a kind that Regent does not read, at {names}. Nothing was changed by this attempt"
    )]
    Contended { server: String, rcode: String, names: String },

    #[error("{server} acknowledged the update but does not say so when asked: {differs}")]
    NotApplied { server: String, differs: String },
}

impl DnsError {
    pub fn class(&self) -> Class {
        match self {
            DnsError::Unreachable { .. }
            | DnsError::Busy { .. }
            | DnsError::Contended { .. }
            | DnsError::NotApplied { .. } => Class::Retry,
            DnsError::Stale { .. } | DnsError::Foreign { .. } => Class::Refused,
            DnsError::Invalid { .. }
            | DnsError::Key { .. }
            | DnsError::Unauthentic { .. }
            | DnsError::Rejected { .. } => Class::Person,
        }
    }
}
