//! A copy of the database, as it truly is: how far it has come, and by whose word.

use decision::database::branch::Branch;
use decision::database::{InstanceRole, Position};
use decision::lsn::Lsn;
use decision::plan::Epoch;

use crate::sim::queue::Moment;

#[derive(Clone, Copy, Debug)]
pub struct Copy {
    pub role: InstanceRole,
    pub position: Position,
    pub branch: Option<Branch>,
    /// It came to rest for the vacancy after this epoch, then.
    pub settled: Option<(Epoch, Moment)>,
    /// When it had last all that its primary had.
    pub level: Moment,
    /// Of this epoch it has ended, and begins no more.
    pub ended: Option<Epoch>,
    /// Its server is to die at the next look.
    pub crashes: bool,
}

impl Default for Copy {
    fn default() -> Self {
        Copy {
            role: InstanceRole::Absent,
            position: Position { timeline: 0, lsn: Lsn(0) },
            branch: None,
            settled: None,
            level: Moment(0),
            ended: None,
            crashes: false,
        }
    }
}

impl Copy {
    pub fn is_primary(&self) -> bool {
        matches!(self.role, InstanceRole::Primary { .. })
    }

    /// It takes over all that another has.
    pub fn takes_from(&mut self, other: &Copy, now: Moment) {
        (self.position, self.branch, self.level) = (other.position, other.branch, now);
    }
}
