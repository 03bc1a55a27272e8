//! Regent's own authoritative DNS server: answers from the newest generation it holds, on disk
//! too, and keeps answering with no controller alive.
//!
//! `zone` and `table` turn the desired state into what is served; `answer` turns a request into
//! its answer, purely, with `prebuilt` as its fast path; `udp`, `tcp` and `notify` carry octets.

pub mod answer;
/// For `fuzz/` and tests only.
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod key;
mod metrics;
mod notify;
mod prebuilt;
mod publish;
mod rdata;
mod resolve;
#[cfg(any(test, feature = "fuzzing"))]
mod sample;
mod secondaries;
mod server;
mod shared;
mod store;
pub mod table;
mod tcp;
mod transfer;
mod udp;
mod weighted;
pub mod zone;

pub use metrics::Metrics;
pub use server::{DnsServer, Settings};
pub use table::{Reason, Refused};
