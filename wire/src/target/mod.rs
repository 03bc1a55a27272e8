//! Reaching what is not Regent's own, as any client of it would: services that agents probe, and that drills watch.

mod open;
mod tls;

use std::io;

pub use open::{Opener, Origin};
pub use tls::{Inside, Roots};

/// An error of the network in the words that people know.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => "connection broken".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => crate::tls::reason(error),
    }
}
