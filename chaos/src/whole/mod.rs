//! The whole depth of `chaos sim`: controllers as they are, with openraft, gRPC and TLS, in `turmoil`'s virtual network
//! and clock, each on a simulated disk (`controller`). The same faults as in the fast depth strike them (`faults`,
//! `ways`), the same invariants judge (`judge`). Agents are played: they speak with the real controllers, and do what
//! their goals say to a database of a few numbers (`agent`).
//!
//! One seed decides a run. That needs tokio's own chance to be seeded too (`--cfg tokio_unstable`), and so it is built
//! by `cargo xtask whole` alone.

mod agent;
mod controller;
mod disk;
mod faults;
mod ground;
mod judge;
mod machine;
mod network;
mod operators;
mod std_clock;
#[cfg(test)]
mod tests;
mod verdict;
mod ways;
mod world;
mod writers;

use crate::sim::Bug;
use crate::sim::planted::Around;

pub use world::run;

/// Bugs that can be put in here: in what is played or simulated, since all else is as it is.
pub const BUGS: [Bug; 2] = [Bug::Around(Around::SaysBeforeSync), Bug::Around(Around::PromotesUnguarded)];
