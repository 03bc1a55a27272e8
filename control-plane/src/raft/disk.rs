//! The seam to the disk: ordered tables whose writes become durable at a sync, not before.
//! The only file that knows sled.
//!
//! What sled 0.34 promises and what is added here (read from its source):
//! - Its `flush()` issues `sync_file_range`, which leaves data in the drive's cache and a grown file's
//!   size unwritten. [`Disk::sync`] therefore follows it with `fdatasync` on a second handle of the file
//!   `db`, and nothing is acknowledged before that returned.
//! - Pages over a quarter segment (128 KiB) go to files in `blobs/` that it never syncs. A leaf holds
//!   about 17 values before it splits, so no value here may exceed [`VALUE_MAX`], and all bytes stay in `db`.
//! - Its `snap.*` files only cache the index of `db`, but a half-written one (`snap.….generating`) makes
//!   it refuse to open. They are removed first, so recovery reads `db` alone: one path, always tested.
//! - It reuses a segment once its pages were rewritten at least a segment (512 KiB) later in the log, and
//!   trusts its own flush for that. Here a sync comes at least every [`UNSYNCED_MAX`] bytes, also amid a
//!   write, so what replaced those pages is durable before they are overwritten.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::data_dir::DataDir;

/// The largest value a table takes, in bytes.
pub const VALUE_MAX: usize = 4 * 1024;
/// How many bytes sled may have added to its log between two syncs: half a segment.
const UNSYNCED_MAX: usize = 256 * 1024;
/// Pages are read through this; the newest log entries are held elsewhere anyway.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    Log,
    Meta,
    Snapshot,
}

#[derive(Clone, Debug)]
pub enum Op {
    Put(Table, Vec<u8>, Vec<u8>),
    Delete(Table, Vec<u8>),
    /// All keys of `[from, to)`, the last first.
    DeleteRange {
        table: Table,
        from: Vec<u8>,
        to: Vec<u8>,
    },
}

/// Tables of ordered keys. Writes are readable at once; a crash keeps some prefix of them, in the order
/// written, that holds at least everything before the last [`sync`](Disk::sync) that returned.
pub trait Disk: Send + Sync + 'static {
    fn write(&self, ops: Vec<Op>) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>>;
    /// Visits keys from `from` on, in order, until told to stop.
    fn scan(&self, table: Table, from: &[u8], visit: Visit<'_>) -> io::Result<()>;
}

pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Puts the file's bytes on the medium. Handed in so that a test can tell what a power loss would leave.
pub type Fsync = Arc<dyn Fn(&File) -> io::Result<()> + Send + Sync>;

pub fn fdatasync() -> Fsync {
    Arc::new(|file| file.sync_data())
}

pub struct SledDisk {
    trees: [sled::Tree; 3],
    db: sled::Db,
    file: File,
    fsync: Fsync,
    /// Bytes added since the last sync, about.
    unsynced: AtomicUsize,
    /// Released last.
    dir: DataDir,
}

impl SledDisk {
    /// Opens or makes the database in `dir`.
    ///
    /// # Errors
    /// The file is damaged, or cannot be read or written.
    pub fn open(dir: DataDir, fsync: Fsync) -> io::Result<SledDisk> {
        let path = dir.path.join("db");
        // What recovery will build on has to be durable itself: the last process may have died unsynced.
        if path.exists() {
            fsync(&File::open(&path)?)?;
        }
        for cache in index_caches(&dir.path)? {
            std::fs::remove_file(cache)?;
        }
        let config = sled::Config::new().path(&dir.path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        // sled asserts where a file is damaged in ways it did not foresee.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let db = open_when_free(&config)?;
            let trees = [db.open_tree("log")?, db.open_tree("meta")?, db.open_tree("snapshot")?];
            Ok::<_, sled::Error>((db, trees))
        }));
        let (db, trees) = opened
            .map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, "the database panicked while recovering")
            })?
            .map_err(to_io)?;
        let disk =
            SledDisk { trees, db, file: File::open(&path)?, fsync, unsynced: AtomicUsize::new(0), dir };
        disk.sync()?;
        File::open(disk.dir.path.join("conf"))?.sync_all()?;
        File::open(&disk.dir.path)?.sync_all()?;
        Ok(disk)
    }

    fn tree(&self, table: Table) -> &sled::Tree {
        &self.trees[table as usize]
    }

    fn put(&self, table: Table, key: &[u8], value: Vec<u8>) -> io::Result<()> {
        if value.len() > VALUE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "value over VALUE_MAX"));
        }
        let len = key.len() + value.len();
        self.tree(table).insert(key, value).map_err(to_io)?;
        self.spend(len)
    }

    fn delete(&self, table: Table, key: &[u8]) -> io::Result<()> {
        let old = self.tree(table).remove(key).map_err(to_io)?;
        self.spend(key.len() + old.map_or(0, |old| old.len()))
    }

    /// Counts a change of a pair of `len` bytes: its record, and a tenth of the leaf of up to 17 such pairs
    /// that sled writes anew after every ten records.
    fn spend(&self, len: usize) -> io::Result<()> {
        const RECORD: usize = 64;
        let cost = 3 * (RECORD + len);
        match self.unsynced.fetch_add(cost, Ordering::Relaxed) + cost > UNSYNCED_MAX {
            true => self.sync(),
            false => Ok(()),
        }
    }
}

impl Disk for SledDisk {
    fn write(&self, ops: Vec<Op>) -> io::Result<()> {
        for op in ops {
            match op {
                Op::Put(table, key, value) => self.put(table, &key, value)?,
                Op::Delete(table, key) => self.delete(table, &key)?,
                Op::DeleteRange { table, from, to } => {
                    for key in self.tree(table).range(from..to).keys().rev() {
                        self.delete(table, &key.map_err(to_io)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.unsynced.store(0, Ordering::Relaxed);
        self.db.flush().map_err(to_io)?;
        (self.fsync)(&self.file)
    }

    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.tree(table).get(key).map_err(to_io)?.map(|value| value.to_vec()))
    }

    fn scan(&self, table: Table, from: &[u8], visit: Visit<'_>) -> io::Result<()> {
        for pair in self.tree(table).range(from..) {
            let (key, value) = pair.map_err(to_io)?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// sled's own threads may hold the file a moment longer than the handle that was dropped.
fn open_when_free(config: &sled::Config) -> sled::Result<sled::Db> {
    let give_up = Instant::now() + Duration::from_secs(5);
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && Instant::now() < give_up =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

fn index_caches(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn to_io(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        sled::Error::Corruption { .. } => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        other => io::Error::other(other.to_string()),
    }
}
