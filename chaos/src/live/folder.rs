//! A scratch folder that PostgreSQL's user can pass through, on a disk; removed when dropped.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;

/// Unlike /tmp never in memory, and open to all. The process and a number follow.
pub(super) const OF_RUNS: &str = "/var/tmp/regent-live-";

pub(super) struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    pub fn make() -> anyhow::Result<Folder> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let n = MADE.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("{OF_RUNS}{}-{n}", std::process::id()));
        // Of a process of that number that was killed.
        let _ = fs::remove_dir_all(&path);
        DirBuilder::new().mode(0o755).create(&path).with_context(|| path.display().to_string())?;
        Ok(Folder { path, kept: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For a person to look into.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.kept {
            eprintln!("{} is kept", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{} stays: {error}", self.path.display());
        }
    }
}
