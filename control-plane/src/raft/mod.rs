//! The replicated log and state: openraft over gRPC, on a disk that is truly synced.
//!
//! [`start`] gives a [`Node`], through which all else proposes, reads and changes members. What S7 needs
//! is here: an outcome is told only when committed, a read only after a quorum round begun after it.

mod client;
mod convert;
mod data_dir;
mod disk;
mod error;
mod frames;
/// For `fuzz/` and tests only.
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod log_store;
mod logged;
mod members;
mod memory_disk;
mod node;
mod runtime;
mod server;
mod settings;
mod snapshot;
mod standing;
mod state_machine;
mod status;
mod types;
mod writer;

pub use client::Dial;
pub use data_dir::{DataDirError, Identity};
pub use disk::{Disk, Fsync, Op, SledDisk, Table, Visit, fdatasync};
pub use error::{MembersError, ProposeError, ReadError, StartError};
pub use log_store::Store;
pub use logged::Logged;
pub use memory_disk::MemoryDisk;
pub use node::{Committed, Node, open_disk, open_store, start, start_on};
pub use runtime::{Runtime, draw_from};
pub use server::{Service, uncertified};
pub use settings::Settings;
pub use state_machine::{StateMachine, View};
pub use status::{MemberStatus, Status, StatusWatch};
pub use types::{LogId, Member, Proposal, Raft, TypeConfig};
pub use writer::{Commit, SyncTakes};

#[cfg(test)]
mod tests;
