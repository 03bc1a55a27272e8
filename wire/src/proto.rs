//! What prost and tonic made of `proto/`: one module a package, as in `proto::regent::v1`.
//! Wire types stop at the door: only the conversions beside this know both sides.
#![allow(clippy::all, clippy::pedantic, clippy::unwrap_used, unreachable_pub, missing_docs)]

include!(concat!(env!("OUT_DIR"), "/packages.rs"));
