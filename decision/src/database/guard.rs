//! What an agent says of the guard beside its server: the process that ends the server with its lease.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::Epoch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Whose lease it counts; none: nothing runs that takes writes.
    pub armed: Option<Epoch>,
    /// Whether a second process lives, which fences if the guard is killed or hangs.
    pub backstop: bool,
    pub watchdog: Watchdog,
}

/// Of the machine: it restarts the machine when the guard is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watchdog {
    /// None was asked for.
    Absent,
    /// Whatever is armed is covered.
    Well,
    Failed,
}

impl Guard {
    /// What is missing of the protection that was asked for.
    pub fn problem(&self) -> Option<&'static str> {
        match self.watchdog {
            _ if !self.backstop => Some(
                "its guard has no backstop, so that nothing fences if the guard is killed: guard.log says why",
            ),
            Watchdog::Failed => {
                Some("its guard has no watchdog, though one is configured: guard.log says why")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.armed {
            Some(epoch) => write!(f, "armed at {epoch}")?,
            None => f.write_str("at rest")?,
        }
        match self.watchdog {
            _ if !self.backstop => f.write_str(", NO BACKSTOP"),
            Watchdog::Failed => f.write_str(", NO WATCHDOG"),
            Watchdog::Well => f.write_str(", watchdog"),
            Watchdog::Absent => Ok(()),
        }
    }
}
