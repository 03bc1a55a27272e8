//! The end of a shutdown in order. Whoever connects too late is answered by a process of its own, which waits for
//! the client's first words, for up to `authentication_timeout`; PostgreSQL ends after the last of those, although
//! everything is done long before.

use std::fs;
use std::io;

use nix::errno::Errno;

use super::Postgres;
use super::error::PostgresError;

/// Of processes that do nothing any more for the data: the one that writes the server's own log, and from
/// version 18 on those that turn clients away, which have no name before.
const IDLE: [&str; 2] = ["logger", "dead-end client"];

impl Postgres {
    /// Whether a server that was told to end has done everything and only turns clients away: its files say that
    /// it was shut down, and nobody is left who sends or archives. It may be killed then.
    ///
    /// # Errors
    /// Its files or processes cannot be read.
    pub async fn only_turns_away(&self, postmaster: i32) -> Result<bool, PostgresError> {
        let is_idle = self.look(move |inner| {
            is_idle(postmaster).map_err(|error| {
                PostgresError::io("looking at the processes of the server in", &inner.paths.data, &error)
            })
        });
        Ok(is_idle.await? && self.control_data().await?.state.is_clean())
    }
}

fn is_idle(postmaster: i32) -> io::Result<bool> {
    let own = fs::read(format!("/proc/{postmaster}/cmdline"))?;
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    for child in children.split_whitespace() {
        let name = match fs::read(format!("/proc/{child}/cmdline")) {
            Ok(name) => name,
            Err(error) if has_ended(&error) => continue,
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&name);
        // One that ended and was not waited for has no name.
        if !name.is_empty() && name != own && !IDLE.iter().any(|idle| text.contains(idle)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}
