//! The guard with real PostgreSQL below it , and with a shell in its place where only the guard
//! itself is looked at (`postgres_socket`).
#![allow(clippy::unwrap_used, reason = "a test that fails where it stands says most")]

#[path = "guard/agent.rs"]
mod agent;
#[path = "guard/fencing.rs"]
mod postgres_fencing;
#[path = "guard/holding.rs"]
mod postgres_holding;
#[path = "guard/socket.rs"]
mod postgres_socket;
#[path = "guard/support.rs"]
mod support;
