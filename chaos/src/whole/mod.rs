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
mod ways;
mod world;
mod writers;

pub use world::run;
