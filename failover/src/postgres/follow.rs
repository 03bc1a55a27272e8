//! Whether an instance can ever follow its primary as it is. PostgreSQL says so in its log alone, and
//! tries again for ever.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use decision::lsn::Lsn;

use super::clone::upstream_of;
use super::config::{Desired, Upstream};
use super::error::PostgresError;
use super::history;
use super::segments::segments;
use super::source::{Lineage, SQL, not_understood};
use super::{DataDir, Files, Postgres, durable};

impl Postgres {
    /// Why not; none: nothing is known against it. It may run meanwhile. `has`: the end of its log, where
    /// a running server tells.
    pub async fn cannot_follow(
        &self,
        desired: &Desired,
        has: Option<Lsn>,
    ) -> Result<Option<String>, PostgresError> {
        let upstream = upstream_of(desired)?;
        let (source, Lineage { history: theirs, .. }) = self.identify_lineage(upstream).await?;
        let files = match self.observe_files(Some(source.system_identifier)).await? {
            DataDir::Present(files) => files,
            other => return Err(other.into_error(&self.inner.paths.data)),
        };
        let (ours, our_timeline) = self.own_history(&files).await?;
        let Some(fork) = history::divergence((&ours, our_timeline), (&theirs, source.timeline)) else {
            return Ok(Some("its timelines have no common ancestor with the primary's".into()));
        };
        let end = has.unwrap_or_default().max(files.control.checkpoint).max(files.control.min_recovery_end);
        if end > fork.at {
            let (server, timeline) = (upstream.server(), fork.timeline);
            return Ok(Some(format!(
                "{server} left timeline {timeline} at {}, and it went on to {end}",
                fork.at
            )));
        }
        self.lacks_log(upstream, &files).await
    }

    /// The log from where recovery begins to where the primary goes on, here or there.
    pub(super) async fn lacks_log(
        &self,
        upstream: &Upstream,
        files: &Files,
    ) -> Result<Option<String>, PostgresError> {
        let (redo, bytes) = (files.control.redo, files.control.wal_segment_bytes);
        let needed = self
            .look(move |inner| {
                let data = &inner.paths.data;
                let label = durable::read(&data.join("backup_label"))?;
                first_lacking(data, label.as_deref().and_then(recovers_from).unwrap_or(redo), bytes)
            })
            .await?;
        let sql = "select pg_ls_dir('pg_wal', true, false)";
        let reply = self.ask(upstream, SQL, sql).await?;
        let theirs: BTreeSet<u64> = reply
            .lines()
            .filter_map(|name| history::segment_of(name.trim(), bytes))
            .map(|(_, n)| n)
            .collect();
        match theirs.last() {
            None => Err(not_understood(upstream, "pg_ls_dir", &reply)),
            Some(_) if theirs.contains(&needed) => Ok(None),
            // Not written yet: it had everything.
            Some(last) if needed > *last => Ok(None),
            Some(_) => Ok(Some(format!(
                "{} has no more of its log from {} on, which is needed here",
                upstream.server(),
                Lsn(needed.saturating_mul(bytes))
            ))),
        }
    }
}

/// By the label of a backup or a rewind, which counts before what the control file says.
fn recovers_from(label: &str) -> Option<Lsn> {
    let line = label.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// From where recovery begins, the first segment that is not whole here: a replica asks for that one, from
/// its beginning. Segments made ready for later use are there with old pages in them.
fn first_lacking(data: &Path, redo: Lsn, segment_bytes: u64) -> Result<u64, PostgresError> {
    let segments = segments(data, segment_bytes)?;
    let mut next = redo.0 / segment_bytes;
    loop {
        let start = next.saturating_mul(segment_bytes);
        let last_page = start.saturating_add(segment_bytes - PAGE_BYTES);
        let mut same = segments.iter().filter(|segment| segment.number == next);
        if !same.any(|segment| has_page(&segment.path, segment_bytes - PAGE_BYTES, last_page)) {
            return Ok(next);
        }
        next += 1;
    }
}

/// `XLOG_BLCKSZ`, of every build that is packaged.
const PAGE_BYTES: u64 = 8192;

/// Whether the page there says that it is of this position (`xlp_pageaddr` in `XLogPageHeaderData`).
fn has_page(path: &Path, offset: u64, position: u64) -> bool {
    let mut address = [0; 8];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut address, offset + 8));
    read.is_ok() && u64::from_ne_bytes(address) == position
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 1 << 20;

    fn segment(data: &Path, timeline: u32, number: u64, pages: u64) {
        let path = data.join(format!("pg_wal/{timeline:08X}00000000{number:08X}"));
        let file = File::create(path).unwrap();
        file.set_len(BYTES).unwrap();
        for page in 0..pages {
            let address = number * BYTES + page * PAGE_BYTES;
            file.write_all_at(&address.to_ne_bytes(), page * PAGE_BYTES + 8).unwrap();
        }
    }

    #[test]
    fn a_label_is_read() {
        let label =
            "START WAL LOCATION: 1/2000028 (file 000000010000000100000002)\nCHECKPOINT LOCATION: 1/3\n";
        assert_eq!(recovers_from(label), Some(Lsn(0x1_0200_0028)));
        assert_eq!(recovers_from("START WAL LOCATION: \n"), None);
        assert_eq!(recovers_from(""), None);
    }

    #[test]
    fn the_first_segment_that_is_not_whole() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("pg_wal")).unwrap();
        let whole = BYTES / PAGE_BYTES;
        let lacking = |redo: u64| first_lacking(data.path(), Lsn(redo), BYTES).unwrap();
        assert_eq!(lacking(5 * BYTES + 77), 5);
        segment(data.path(), 1, 5, whole);
        segment(data.path(), 2, 6, whole);
        segment(data.path(), 2, 7, 3);
        // Made ready for later.
        segment(data.path(), 2, 8, 0);
        assert_eq!(lacking(5 * BYTES + 77), 7);
        assert_eq!(lacking(4 * BYTES), 4);
        segment(data.path(), 3, 7, whole);
        assert_eq!(lacking(5 * BYTES + 77), 8);
    }
}
