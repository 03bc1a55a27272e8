//! What lies beside the data folder. Beside and not inside, for a clone and a rewind replace what
//! is inside; beside and not elsewhere, for a rename must be one step.

use std::path::{Path, PathBuf};

use decision::time::{Time, rfc3339};

use super::durable::suffixed;

pub(super) struct Paths {
    pub data: PathBuf,
    /// What becomes the data folder when it is whole.
    pub new: PathBuf,
    /// Lies there when `new` is whole, from then until it is the data folder.
    pub cloned_marker: PathBuf,
    /// Lies there while a rewind is under way.
    pub rewind_marker: PathBuf,
    pub passfile: PathBuf,
    /// Tails of the log that no other instance has.
    pub diverged: PathBuf,
}

impl Paths {
    pub fn new(data: &Path) -> Paths {
        Paths {
            data: data.to_owned(),
            new: suffixed(data, ".regent-new"),
            cloned_marker: suffixed(data, ".regent-cloned"),
            rewind_marker: suffixed(data, ".regent-rewind"),
            passfile: suffixed(data, ".regent-passfile"),
            diverged: suffixed(data, "-diverged"),
        }
    }

    /// Where a data folder goes that a clone replaces.
    pub fn aside(&self, at: Time) -> PathBuf {
        suffixed(&self.data, &format!("{ASIDE}{}", stamp(at)))
    }

    /// Where the log goes of one that was moved aside and is deleted.
    pub fn log_of(&self, aside: &Path) -> PathBuf {
        let name = aside.file_name().unwrap_or_default().to_string_lossy();
        let stamp = name.rsplit_once(ASIDE).map_or("", |(_, stamp)| stamp);
        suffixed(&self.data, &format!("{LOG_ASIDE}{stamp}"))
    }

    /// All that were moved aside, oldest first.
    pub fn all_aside(&self) -> Vec<PathBuf> {
        self.all_of(ASIDE)
    }

    /// The logs of those that were deleted, oldest first.
    pub fn all_logs_aside(&self) -> Vec<PathBuf> {
        self.all_of(LOG_ASIDE)
    }

    fn all_of(&self, mark: &str) -> Vec<PathBuf> {
        let (Some(parent), Some(name)) = (self.data.parent(), self.data.file_name()) else {
            return Vec::new();
        };
        let prefix = format!("{}{mark}", name.to_string_lossy());
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .collect();
        found.sort();
        found
    }
}

const ASIDE: &str = ".regent-old-";
const LOG_ASIDE: &str = ".regent-wal-";

/// Sorts as time does, and needs no quoting in a shell.
pub(super) fn stamp(at: Time) -> String {
    rfc3339(at).replace(':', "")
}
