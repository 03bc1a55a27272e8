//! One look at an instance: what is found of its files and its processes, and what the server says.

use super::Position;
use super::freshness::Reply;
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
    /// What its primary replied since the look before.
    pub replies: Vec<Reply>,
    /// Of the data folder, where it matters to a person.
    pub problem: Option<String>,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub in_recovery: bool,
    /// Of a primary what it wrote, of a replica what it has; both on the disk.
    pub position: Option<Position>,
    /// A receiver is connected, whatever it is sent.
    pub streams: bool,
    /// By which it has been sent so much: again, what lies in the segment that it began with.
    pub received: Option<Lsn>,
    /// The furthest that its primary said it was.
    pub upstream: Option<Position>,
    /// Who streams from it, and what each of them has on its disk.
    pub followers: Vec<(RegionName, Option<Lsn>)>,
}

impl Server {
    /// What it has is its primary's, and it is sent what comes next. Where the logs have parted a receiver is connected,
    /// too, most of the time: its primary ends it where they did, which is before what this one has, and it begins anew.
    pub fn is_fed(&self) -> bool {
        let has = self.position.map(|position| position.lsn);
        self.streams && self.received >= has && self.upstream.is_none_or(|end| Some(end.lsn) >= has)
    }
}
