//! What should happen: topology, health, plans, state and their invariants, as pure functions.
//! No I/O, no clock, no randomness, no logging: time is a value, and the same input gives the
//! same output on every controller.

mod apply;
pub mod command;
pub mod config;
pub mod database;
pub mod decide;
pub mod dns;
pub mod event;
pub mod evidence;
pub mod explain;
pub mod goal;
pub mod hash;
pub mod incident;
pub mod invariant;
pub mod journal;
pub mod limits;
pub mod lsn;
pub mod name;
pub mod plan;
pub mod records;
pub mod seat;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod verdict;
