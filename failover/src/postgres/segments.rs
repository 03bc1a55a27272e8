//! The log's segments in a data folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::PostgresError;
use super::history;

pub(super) struct Segment {
    pub timeline: u32,
    pub number: u64,
    pub path: PathBuf,
}

/// By the names of its segments: the control file lags behind.
pub(super) fn newest_timeline(data: &Path) -> Result<Option<u32>, PostgresError> {
    if !data.join("pg_wal").exists() {
        return Ok(None);
    }
    // The smallest that there are: their numbers do not matter here.
    Ok(segments(data, 1 << 20)?.iter().map(|segment| segment.timeline).max())
}

/// Those of a data folder.
pub(super) fn segments(data: &Path, segment_bytes: u64) -> Result<Vec<Segment>, PostgresError> {
    let wal = data.join("pg_wal");
    let failed = |error: std::io::Error| PostgresError::io("looking into", &wal, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(&wal).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some((timeline, number)) = history::segment_of(name, segment_bytes) {
            found.push(Segment { timeline, number, path });
        }
    }
    found.sort_by_key(|segment| (segment.timeline, segment.number));
    Ok(found)
}
