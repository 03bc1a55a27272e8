//! Who decides: the Raft group, the leader's loop, and what controllers serve.

pub mod authorize;
mod boundary;
pub mod controller;
pub mod documents;
mod drill;
pub mod execute;
pub mod freshness;
pub mod grpc;
pub mod heard;
pub mod http;
pub mod leader;
mod leases;
pub mod raft;
mod rounds;
mod run;
mod seat;
mod telling;
#[cfg(test)]
mod testing;
mod vacancies;
pub mod view;

pub use run::{Settings, StartError, run, run_on};
