//! What an agent says of its region's instance of a database, beside its session: renewals of the
//! lease, which must not wait behind anything, and news that must be committed at once.

use std::time::Duration;

use decision::database::{InstanceReport, Position};
use decision::lsn::Lsn;
use decision::name::ServiceName;
use decision::plan::Epoch;
use serde::{Deserialize, Serialize};

use crate::proto::regent::v1 as pb;

/// A wish to go on taking writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    pub service: ServiceName,
    pub epoch: Epoch,
    /// What the primary had written, so long before this was sent.
    pub position: Option<Position>,
    pub age: Duration,
}

impl Renewal {
    pub fn told(&self) -> Option<(Position, Duration)> {
        self.position.map(|position| (position, self.age))
    }
}

impl From<Renewal> for pb::RenewRequest {
    fn from(renewal: Renewal) -> Self {
        let (timeline, lsn) = renewal.position.map_or((0, 0), |at| (at.timeline, at.lsn.0));
        let position_age_ms = renewal.age.as_millis() as u64;
        pb::RenewRequest {
            service: renewal.service.0,
            epoch: renewal.epoch.0,
            timeline,
            lsn,
            position_age_ms,
        }
    }
}

impl From<pb::RenewRequest> for Renewal {
    fn from(request: pb::RenewRequest) -> Self {
        let position = Position { timeline: request.timeline, lsn: Lsn(request.lsn) };
        Renewal {
            service: ServiceName(request.service),
            epoch: Epoch(request.epoch),
            position: Some(position).filter(|position| position.lsn != Lsn(0)),
            age: Duration::from_millis(request.position_age_ms),
        }
    }
}

/// What came of a renewal. Anything else than an answer means: nobody can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    Granted,
    Refused { why: String },
}

impl From<Renewed> for pb::RenewReply {
    fn from(renewed: Renewed) -> Self {
        match renewed {
            Renewed::Granted => pb::RenewReply { granted: true, why: String::new() },
            Renewed::Refused { why } => pb::RenewReply { granted: false, why },
        }
    }
}

impl From<pb::RenewReply> for Renewed {
    fn from(reply: pb::RenewReply) -> Self {
        if reply.granted { Renewed::Granted } else { Renewed::Refused { why: reply.why } }
    }
}

/// News of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Instance {
        service: ServiceName,
        report: Box<InstanceReport>,
    },
    /// It has ended, and every process of it is gone.
    Released {
        service: ServiceName,
        epoch: Epoch,
        /// Shut down in order, here.
        clean: Option<Position>,
        last_known: Option<Position>,
        /// It never took a write under this lease.
        #[serde(default)]
        unwritten: bool,
        why: String,
    },
}
