//! What a part wakes for.

use decision::command::Stamped;
use decision::plan::Epoch;
use decision::time::Uptime;
use wire::agent::StepReport;

use super::postgres::Sync;
use super::raft::{Durable, Out};

pub enum Timer {
    Controller(OfController),
    Agent(OfAgent),
    /// What an agent does for its database.
    Instance(OfInstance),
    /// The guard beside it, which goes on without the agent.
    Guard(OfGuard),
    Postgres(OfPostgres),
}

impl Timer {
    /// And not of the guard or the server beside it, or of a controller.
    pub fn is_of_agent(&self) -> bool {
        matches!(self, Timer::Agent(_) | Timer::Instance(_))
    }
}

pub enum OfInstance {
    Look {
        number: u64,
    },
    Did {
        number: u64,
    },
    Renew {
        epoch: Epoch,
        number: u64,
    },
    /// No controller has answered this renewal.
    Unrenewed {
        renewal: u64,
    },
    TellAgain {
        number: u64,
    },
}

pub enum OfGuard {
    Deadline,
    /// Every process is gone.
    Gone {
        run: u32,
    },
}

/// Of one process after another.
pub enum OfPostgres {
    Started { run: u32, epoch: Epoch, sync: Sync },
    Promoted { run: u32, epoch: Epoch, sync: Sync },
    Flushed { run: u32, end: u64 },
    TookIn { run: u32, session: u64 },
    Connect { run: u32, session: u64 },
    KeepAlive { run: u32 },
}

impl OfPostgres {
    pub fn run(&self) -> u32 {
        match self {
            OfPostgres::Started { run, .. }
            | OfPostgres::Promoted { run, .. }
            | OfPostgres::Flushed { run, .. }
            | OfPostgres::TookIn { run, .. }
            | OfPostgres::Connect { run, .. }
            | OfPostgres::KeepAlive { run } => *run,
        }
    }
}

pub enum OfController {
    /// Nothing may have been heard of a leader for too long.
    Election,
    Heartbeat {
        term: u64,
    },
    /// Its disk has what it was given; what was to be said after that is said.
    Synced(Durable, Vec<Out<Stamped>>),
    /// The rules are asked again, in this term. A later look may have taken its place.
    Look {
        term: u64,
        number: u64,
    },
    /// What was decided is not committed yet.
    Undecided {
        term: u64,
        index: u64,
    },
    /// There was no leader.
    Again(u64),
    /// A call may have waited for long enough.
    Overdue,
    /// A session may have a new goal to be sent.
    Direct {
        session: u64,
    },
    /// It is still behind what the agent holds.
    Behind {
        session: u64,
    },
}

pub enum OfAgent {
    Dial,
    /// The session was not opened in time.
    Unopened(u64),
    Beat(u64),
    Refresh(u64),
    Resend(u64),
    /// Of the checks as they were then, by number.
    Probe {
        generation: u32,
        check: usize,
    },
    Failed {
        generation: u32,
        check: usize,
        began: Uptime,
    },
    /// Whether it is well itself.
    Judge,
    Done(Box<StepReport>),
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Timer::Controller(_) => "a controller's timer",
            Timer::Agent(_) => "an agent's timer",
            Timer::Instance(_) => "an instance's timer",
            Timer::Guard(_) => "a guard's timer",
            Timer::Postgres(_) => "a server's timer",
        })
    }
}
