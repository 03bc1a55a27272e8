//! What can go wrong with an instance, what was left as it was, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use decision::plan::Epoch;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Another attempt may succeed, and is safe.
    Retry,
    /// A safety rule said no; the same call gets the same answer until something else changes.
    Refused,
    /// This data folder cannot follow any more: clone it from the primary.
    Reclone,
    /// Something outside must be put right first.
    Person,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresError {
    #[error("the settings of the database cannot work: {what}. Nothing was changed")]
    Config { what: String },

    #[error("{program} was not found ({looked}); install PostgreSQL 13 to 17, or set bin_dir")]
    Missing { program: String, looked: String },

    #[error("PostgreSQL {found} is not supported; 13 to 17 are. Nothing was changed")]
    Version { found: String },

    #[error("{doing} {}: {why}", path.display())]
    Io { doing: &'static str, path: PathBuf, why: String },

    #[error("no room while {doing} in {}: {detail}; make room there. {left}", path.display())]
    DiskFull { doing: &'static str, path: PathBuf, detail: String, left: &'static str },

    #[error("{program} failed while {doing} ({status}): {output}")]
    Program { program: &'static str, doing: &'static str, status: String, output: String, class: Class },

    #[error("{doing} took longer than {after_ms} ms")]
    TimedOut { doing: &'static str, after_ms: u64 },

    #[error("{server} was not reached while {doing}: {why}")]
    Unreachable { server: String, doing: &'static str, why: String },

    #[error(
        "{server} did not let {user:?} in: {why}. Nothing was changed; check the role, its password, and \
         pg_hba.conf there"
    )]
    Login { server: String, user: String, why: String },

    #[error("{server} has no connection left but for superusers: end some, or raise max_connections: {why}")]
    TooManyConnections { server: String, why: String },

    #[error("{what}; it may be so later")]
    NotYet { what: String },

    #[error("{what}. Nothing was changed; {remedy}")]
    State { what: String, remedy: &'static str },

    #[error("{} belongs to another: {what}. Nothing was changed; {remedy}", path.display())]
    Foreign { path: PathBuf, what: String, remedy: &'static str },

    #[error("{} cannot be used any more: {what}; clone it from the primary", path.display())]
    Broken { path: PathBuf, what: String },

    #[error("this configuration is of epoch {ours}, but epoch {theirs} is in force. Nothing was changed")]
    Stale { ours: Epoch, theirs: Epoch },

    #[error("the primary no longer has the log that is needed: {what}; clone from it")]
    WalRemoved { what: String },

    #[error("{name} is {found:?} and not {wanted:?} in the running server ({source_of_it})")]
    NotInForce { name: String, found: String, wanted: String, source_of_it: String },

    #[error("{doing}: the server said {code}: {message}")]
    Sql { doing: &'static str, code: String, message: String },
}

impl PostgresError {
    pub fn class(&self) -> Class {
        match self {
            PostgresError::TimedOut { .. }
            | PostgresError::Unreachable { .. }
            | PostgresError::NotYet { .. }
            | PostgresError::TooManyConnections { .. }
            | PostgresError::NotInForce { .. } => Class::Retry,
            PostgresError::State { .. } | PostgresError::Stale { .. } => Class::Refused,
            PostgresError::Broken { .. } | PostgresError::WalRemoved { .. } => Class::Reclone,
            PostgresError::Config { .. }
            | PostgresError::Missing { .. }
            | PostgresError::Version { .. }
            | PostgresError::Io { .. }
            | PostgresError::DiskFull { .. }
            | PostgresError::Login { .. }
            | PostgresError::Foreign { .. } => Class::Person,
            PostgresError::Program { class, .. } => *class,
            PostgresError::Sql { code, .. } => of_sqlstate(code),
        }
    }

    /// Disk full is told apart: a person can see at once what to do.
    pub(super) fn io(doing: &'static str, path: &Path, error: &io::Error) -> PostgresError {
        let path = path.to_owned();
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            let left = "What was there before is as it was";
            return PostgresError::DiskFull { doing, path, detail: error.to_string(), left };
        }
        PostgresError::Io { doing, path, why: error.to_string() }
    }
}

fn of_sqlstate(code: &str) -> Class {
    // Connections, transactions to be repeated, too few resources for the moment, a server that
    // starts or stops, an object in use.
    let passing = ["08", "40", "57P", "53300", "53200", "55006", "55P03", "57014", "55000"];
    if passing.iter().any(|prefix| code.starts_with(prefix)) { Class::Retry } else { Class::Person }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_tried_again() {
        let of = |code: &str| {
            PostgresError::Sql { doing: "asking", code: code.into(), message: String::new() }.class()
        };
        for code in ["57P03", "57P01", "53300", "08006", "40001", "55006"] {
            assert_eq!(of(code), Class::Retry, "{code}");
        }
        for code in ["53100", "42501", "28P01", "XX001", ""] {
            assert_eq!(of(code), Class::Person, "{code}");
        }
    }
}
