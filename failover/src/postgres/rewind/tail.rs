//! Copies the tail of the log aside. The report comes last: a folder without one was cut off.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use decision::lsn::Lsn;
use decision::time::Time;
use nix::fcntl::OFlag;

use super::report::Diverged;
use crate::postgres::create::remove_folder;
use crate::postgres::error::PostgresError;
use crate::postgres::history::Left;
use crate::postgres::segments::segments;
use crate::postgres::{Inner, durable, paths};

#[derive(Clone)]
pub(super) struct Wanted {
    pub system_identifier: u64,
    pub timeline: u32,
    /// Its ancestors.
    pub history: Vec<Left>,
    pub fork: Left,
    pub to: Lsn,
    pub segment_bytes: u64,
}

/// Copied, and not reported yet.
pub(super) struct Partial {
    pub folder: PathBuf,
    wanted: Wanted,
}

impl Partial {
    /// What to look through for commits: of each timeline, what was written on it.
    pub fn stretches(&self) -> Vec<(u32, Lsn, Lsn)> {
        self.wanted.stretches()
    }
}

impl Wanted {
    fn stretches(&self) -> Vec<(u32, Lsn, Lsn)> {
        let newest = Left { timeline: self.timeline, at: self.to };
        let mut from = self.fork.at;
        let mut stretches = Vec::new();
        for left in self.history.iter().chain([&newest]) {
            let to = left.at.min(self.to);
            if left.timeline >= self.fork.timeline && to > from {
                stretches.push((left.timeline, from, to));
                from = to;
            }
        }
        stretches
    }
}

pub(super) enum Copied {
    /// By an earlier call that was cut off after it.
    Before(Diverged),
    Now(Partial),
}

const REPORT: &str = "report.json";

pub(super) fn copy(inner: &Inner, wanted: &Wanted, at: Time) -> Result<Copied, PostgresError> {
    let all = &inner.paths.diverged;
    durable::folder(all, inner.owner)?;
    let failed = |error: std::io::Error| PostgresError::io("saving the tail of the log to", all, &error);
    for entry in fs::read_dir(all).map_err(failed)? {
        let folder = entry.map_err(failed)?.path();
        match durable::read(&folder.join(REPORT))? {
            Some(text) => {
                if let Ok(report) = serde_json::from_str::<Diverged>(&text)
                    && (report.system_identifier, report.timeline, report.from, report.to)
                        == (wanted.system_identifier, wanted.timeline, wanted.fork.at, wanted.to)
                {
                    return Ok(Copied::Before(report));
                }
            }
            None => remove_folder(&folder)?,
        }
    }
    let (first, last) = (wanted.fork.at.0 / wanted.segment_bytes, wanted.to.0 / wanted.segment_bytes);
    let mut segments = segments(&inner.paths.data, wanted.segment_bytes)?;
    segments.retain(|segment| {
        (first..=last).contains(&segment.number)
            && (wanted.fork.timeline..=wanted.timeline).contains(&segment.timeline)
    });
    let needed = segments.len() as u64 * wanted.segment_bytes;
    let free = durable::free_bytes(all)?;
    if free < needed.saturating_add(wanted.segment_bytes) {
        return Err(PostgresError::DiskFull {
            doing: "saving the tail of the log",
            path: all.clone(),
            detail: format!("{} MiB are needed, and {} MiB are free", needed >> 20, free >> 20),
            left: "The data folder is as it was",
        });
    }
    let folder = all.join(paths::stamp(at));
    durable::folder(&folder, inner.owner)?;
    for segment in &segments {
        let Some(name) = segment.path.file_name() else { continue };
        copy_file(inner, &segment.path, &folder.join(name))?;
    }
    durable::sync_parent(&folder.join(REPORT))?;
    Ok(Copied::Now(Partial { folder, wanted: wanted.clone() }))
}

/// A copy and not a link: `pg_rewind` writes into the segments.
fn copy_file(inner: &Inner, from: &Path, to: &Path) -> Result<(), PostgresError> {
    let copied = (|| {
        let mut from = OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(from)?;
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        std::io::copy(&mut from, &mut to)?;
        if let Some(owner) = inner.owner {
            fchown(&to, Some(owner.uid), Some(owner.gid))?;
        }
        to.sync_all()
    })();
    copied.map_err(|error| PostgresError::io("copying a segment to", to, &error))
}

pub(super) fn seal(inner: &Inner, partial: Partial, commits: Option<u64>) -> Result<Diverged, PostgresError> {
    let Partial { folder, wanted } = partial;
    let report = Diverged {
        system_identifier: wanted.system_identifier,
        timeline: wanted.timeline,
        from: wanted.fork.at,
        to: wanted.to,
        bytes: wanted.to.ahead_of(wanted.fork.at),
        commits,
        saved_to: folder.clone(),
    };
    let path = folder.join(REPORT);
    let text = serde_json::to_string_pretty(&report)
        .map_err(|error| PostgresError::io("writing", &path, &std::io::Error::other(error)))?;
    durable::write(&path, format!("{text}\n").as_bytes(), inner.owner)?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timeline_is_looked_through_where_it_was_written() {
        let left = |timeline, at| Left { timeline, at: Lsn(at) };
        let mut wanted = Wanted {
            system_identifier: 1,
            timeline: 3,
            history: vec![left(1, 100), left(2, 200)],
            fork: left(1, 50),
            to: Lsn(300),
            segment_bytes: 16 << 20,
        };
        let stretch = |timeline, from, to| (timeline, Lsn(from), Lsn(to));
        assert_eq!(wanted.stretches(), [stretch(1, 50, 100), stretch(2, 100, 200), stretch(3, 200, 300)]);
        wanted.fork = left(2, 200);
        assert_eq!(wanted.stretches(), [stretch(3, 200, 300)]);
        wanted.to = Lsn(150);
        assert_eq!(wanted.stretches(), []);
    }
}
