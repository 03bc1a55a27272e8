//! How the parts talk: protobuf and its conversions, identities, and gRPC over mutual TLS.

pub mod agent;
pub mod api;
#[cfg(feature = "authority")]
pub mod authority;
pub mod connect;
pub mod drill;
pub mod failpoint;
pub mod host;
pub mod identity;
pub mod lease;
pub mod listen;
pub mod log;
pub mod proto;
pub mod serve;
pub mod target;
pub mod tls;
