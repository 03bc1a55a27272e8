//! One look at an instance: what is found of its files and its processes, and what the server says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Position;
use super::guard::Guard;
use super::keep::Seen;
use crate::lsn::Lsn;
use crate::name::RegionName;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub seen: Seen,
    /// None: none answered.
    pub server: Option<Server>,
    pub guard: Guard,
    /// Of the data folder, where it matters to a person.
    pub problem: Option<String>,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub in_recovery: bool,
    /// Of a primary what it wrote, of a replica what it has; both on the disk.
    pub position: Option<Position>,
    /// It receives log as it is written.
    pub streams: bool,
    /// The furthest that its primary said it was.
    pub upstream: Option<Position>,
    pub message: Option<LastMessage>,
    /// Who streams from it, and what each of them has on its disk.
    pub followers: Vec<(RegionName, Option<Lsn>)>,
}

/// The last that a replica's primary told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastMessage {
    /// Where from: another name, another clock.
    pub from: String,
    /// By the primary's clock, in microseconds since some moment.
    pub sent_us: i64,
    /// The same by the replica's.
    pub received_us: i64,
    /// By the replica's clock, too.
    pub age: Duration,
}

impl LastMessage {
    pub fn is_same(&self, other: &LastMessage) -> bool {
        (&self.from, self.sent_us, self.received_us) == (&other.from, other.sent_us, other.received_us)
    }
}

impl Server {
    /// Whether it has all that it was told of.
    pub fn is_level(&self) -> bool {
        self.upstream.zip(self.position).is_some_and(|(end, has)| has.lsn >= end.lsn)
    }
}
