//! What is known of a tail that was saved, and what programs print of it.

use std::path::PathBuf;

use decision::lsn::Lsn;
use serde::{Deserialize, Serialize};

use crate::postgres::history::Left;

/// The part of an old primary's log that no other instance has; beside it, as `report.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diverged {
    pub system_identifier: u64,
    /// The timeline that ends with `to`.
    pub timeline: u32,
    pub from: Lsn,
    pub to: Lsn,
    pub bytes: u64,
    /// Transactions that were committed there; none when it could not be told.
    pub commits: Option<u64>,
    /// Where the segments lie.
    pub saved_to: PathBuf,
}

/// `pg_rewind: servers diverged at WAL location 0/3000110 on timeline 1`
pub(super) fn diverged_at(output: &str) -> Option<Left> {
    let (_, rest) = output.split_once("servers diverged at WAL location ")?;
    let (at, rest) = rest.split_once(" on timeline ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Left { timeline: digits.parse().ok()?, at: at.parse().ok()? })
}

/// It has said where they diverged, and found from where it can rewind; what follows is the fetching.
/// `pg_rewind: rewinding from last common checkpoint at 0/2000060 on timeline 1`
pub(super) fn is_decided(output: &str) -> bool {
    output
        .split_once("rewinding from last common checkpoint at ")
        .is_some_and(|(_, rest)| rest.contains('\n'))
}

/// Of `pg_waldump --stats=record`: `Transaction/COMMIT   12 ( 92.31)   408 …`
pub(super) fn commits(stats: &str) -> Option<u64> {
    // Without the line of totals it did not come to its end.
    stats.lines().find(|line| line.starts_with("Total"))?;
    let count = |line: &str| -> Option<u64> {
        let mut words = line.split_whitespace();
        let is_commit = matches!(words.next()?, "Transaction/COMMIT" | "Transaction/COMMIT_PREPARED");
        if is_commit { words.next()?.parse().ok() } else { None }
    };
    Some(stats.lines().filter_map(count).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_servers_diverged_is_read() {
        let output = "pg_rewind: connected to server\n\
                      pg_rewind: servers diverged at WAL location 0/3000110 on timeline 1\n\
                      pg_rewind: rewinding from last common checkpoint at 0/2000060 on timeline 1\n";
        assert_eq!(diverged_at(output), Some(Left { timeline: 1, at: Lsn(0x300_0110) }));
        assert!(is_decided(output));
        assert!(!is_decided(output.trim_end()), "the line is not whole");
        for output in [
            "",
            "pg_rewind: no rewind required",
            "servers diverged at WAL location x on timeline 1",
            "servers diverged at WAL location 0/1 on timeline ",
            "servers diverged at WAL location 0/1 on timeline 99999999999",
        ] {
            assert_eq!(diverged_at(output), None, "{output:?}");
        }
    }

    #[test]
    fn commits_are_counted() {
        let stats = "\
WAL statistics between 0/3000110 and 0/3000500:
Type                 N      (%)          Record size
----                 -      ---          -----------
Transaction/COMMIT               12 ( 85.71)                  408 ( 90.07)
Transaction/COMMIT_PREPARED       2 ( 14.29)                   45 (  9.93)
Transaction/ABORT                 3 (  7.69)
                    --------
Total                            17
";
        assert_eq!(commits(stats), Some(14));
        assert_eq!(commits("Total 0"), Some(0));
        assert_eq!(commits("pg_waldump: error"), None);
        assert_eq!(commits(""), None);
    }
}
