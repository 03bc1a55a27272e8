//! What should happen: topology, health, plans, state and their invariants, as pure functions.
//! No I/O, no clock, no randomness, no logging: time is a value, and the same input gives the
//! same output on every controller.

pub mod config;
pub mod dns;
pub mod name;
pub mod time;
