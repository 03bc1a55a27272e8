//! What an agent says of the guard beside its server: the process that ends the server with its lease.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::Epoch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Whose lease it counts; none: nothing runs that takes writes.
    pub armed: Option<Epoch>,
    /// Whether the second process lives, which fences if the guard is killed or hangs.
    pub backstop: bool,
    pub watchdog: Watchdog,
}

/// Of the machine: it resets the machine if the guard does not say that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watchdog {
    /// None was asked for.
    Absent,
    /// Nothing is armed; it was not tried yet.
    Closed,
    Open,
    Failed,
}

impl Guard {
    /// What is missing of the protection that was asked for.
    pub fn problem(&self) -> Option<&'static str> {
        match self.watchdog {
            _ if !self.backstop => Some(
                "its guard is not watched by a second process: if it hangs, nobody ends the server with its lease; \
                 guard.log says why",
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
            Watchdog::Open => f.write_str(", watchdog"),
            Watchdog::Absent | Watchdog::Closed => Ok(()),
        }
    }
}
