//! `chaos sim`: controllers and agents by Regent's own rules, on a virtual clock, network and disk. A run is
//! decided by its seed alone, and goes from event to event, so that ten minutes take a fraction of a second.
//!
//! The rules are `decision`'s: the state and what is decided, the leader's memory, sessions, thresholds, what an agent
//! does with its database, the guard's deadline. What is modelled here is what carries them out: consensus (`raft`),
//! controllers (`controller`, `sessions`, `rounds`), agents (`agent`, `watch`, `instance`), PostgreSQL (`postgres`,
//! `wal`), clients. Invariants of the state are asked for every entry of the log (`ledger`), what clients were
//! promised is judged in `history`, and what is demanded at the end in `world`.

mod agent;
mod ambush;
pub(crate) mod chance;
pub(crate) mod clock;
mod controller;
mod failpoints;
pub(crate) mod fault;
pub(crate) mod ground;
mod history;
mod instance;
pub(crate) mod layout;
pub(crate) mod ledger;
mod message;
mod net;
mod operators;
pub(crate) mod planted;
mod postgres;
mod put_back;
pub(crate) mod queue;
pub(crate) mod raft;
pub(crate) mod readers;
mod resolvers;
mod rounds;
pub(crate) mod schedule;
mod script;
mod sessions;
pub(crate) mod setup;
mod shrink;
#[cfg(test)]
mod tests;
mod timer;
pub(crate) mod trace;
mod traps;
mod wal;
mod watch;
mod world;

pub use ambush::Ambush;
pub use failpoints::{AT_AND_AFTER, crash_at, points};
pub use fault::{Planned, Shown};
pub use layout::Layout;
pub use ledger::Violation;
pub use planted::Bug;
pub use queue::Moment;
pub use script::Script;
pub use shrink::shrink;
pub use world::{Options, Report, Run, run};
