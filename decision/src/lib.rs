//! What should happen: topology, health, plans, state and their invariants, as pure functions.
//! No I/O, no clock, no randomness, no logging: time is a value, and the same input gives the
//! same output on every controller. What agents and guards decide by themselves is here, too.

mod apply;
pub mod command;
pub mod config;
pub mod database;
pub mod decide;
pub mod dns;
pub mod drill;
pub mod event;
pub mod evidence;
pub mod explain;
pub mod goal;
pub mod hash;
pub mod heard;
pub mod incident;
pub mod invariant;
pub mod journal;
pub mod limits;
pub mod lsn;
pub mod name;
pub mod plan;
pub mod planted;
pub mod records;
pub mod seat;
pub mod sick;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod threshold;
pub mod time;
pub mod turns;
pub mod vacancies;
pub mod verdict;
