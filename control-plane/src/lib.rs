//! Who decides: the replicated log, the leader's loop, and what controllers serve.

pub mod raft;
