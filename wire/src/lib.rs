//! How the parts talk: protobuf and its conversions, identities, and gRPC over mutual TLS.

pub mod proto;
