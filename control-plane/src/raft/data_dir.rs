//! A data folder belongs to one member of one cluster and to one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub cluster_id: String,
    pub member_id: u64,
}

/// Why a data folder cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error(
        "{dir} holds the data of cluster \"{found}\", but this controller was started for \"{wanted}\"; \
         the folder was left as it is: give the folder of \"{wanted}\", or an empty one"
    )]
    OtherCluster { dir: PathBuf, found: String, wanted: String },
    #[error(
        "{dir} holds the data of member {found}, but this controller was started as member {wanted}; \
         the folder was left as it is: two members must never share one log, so give member {wanted} its own"
    )]
    OtherMember { dir: PathBuf, found: u64, wanted: u64 },
    #[error(
        "{dir} is not empty and not a controller's data folder ({why}); it was left as it is: \
         give an empty folder, or the one this member used before"
    )]
    NotOurs { dir: PathBuf, why: String },
    #[error("{dir} is in use by another process ({holder}); stop that one first, or give another folder")]
    InUse { dir: PathBuf, holder: String },
    #[error(
        "the data in {dir} is damaged ({why}); it was left as it is: keep a copy, then remove this member \
         from the cluster and add it again with an empty folder, which the others will fill"
    )]
    Damaged { dir: PathBuf, why: String },
    #[error("{dir} cannot be used: {source}; check that it exists, its owner and the space left")]
    Io { dir: PathBuf, source: io::Error },
}

const IDENTITY: &str = "identity.json";
const LOCK: &str = "lock";
/// A controller that is just stopping still gets to finish.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// The folder, held until dropped.
#[derive(Debug)]
pub struct DataDir {
    pub path: PathBuf,
    _lock: File,
}

/// Makes or takes the folder for `identity`.
///
/// # Errors
/// See [`DataDirError`].
pub fn claim(path: &Path, identity: &Identity) -> Result<DataDir, DataDirError> {
    let io = |source| DataDirError::Io { dir: path.into(), source };
    std::fs::create_dir_all(path).map_err(io)?;
    let lock = lock(path)?;
    match std::fs::read(path.join(IDENTITY)) {
        Ok(text) => check(path, &text, identity)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            refuse_foreign(path)?;
            // Durable before the first byte of data, so that a database without it is never ours.
            write_identity(path, identity).map_err(io)?;
        }
        Err(error) => return Err(io(error)),
    }
    Ok(DataDir { path: path.into(), _lock: lock })
}

fn check(path: &Path, text: &[u8], wanted: &Identity) -> Result<(), DataDirError> {
    let found: Identity = serde_json::from_slice(text).map_err(|error| DataDirError::Damaged {
        dir: path.into(),
        why: format!("{IDENTITY} cannot be read: {error}"),
    })?;
    if found.cluster_id != wanted.cluster_id {
        return Err(DataDirError::OtherCluster {
            dir: path.into(),
            found: found.cluster_id,
            wanted: wanted.cluster_id.clone(),
        });
    }
    if found.member_id != wanted.member_id {
        let (found, wanted) = (found.member_id, wanted.member_id);
        return Err(DataDirError::OtherMember { dir: path.into(), found, wanted });
    }
    Ok(())
}

fn refuse_foreign(path: &Path) -> Result<(), DataDirError> {
    let io = |source| DataDirError::Io { dir: path.into(), source };
    for entry in std::fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        if name != LOCK && name != format!("{IDENTITY}.new") {
            let why = format!("it has \"{name}\" but no {IDENTITY}");
            return Err(DataDirError::NotOurs { dir: path.into(), why });
        }
    }
    Ok(())
}

fn write_identity(path: &Path, identity: &Identity) -> io::Result<()> {
    let fresh = path.join(format!("{IDENTITY}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec_pretty(identity)?)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path.join(IDENTITY))?;
    File::open(path)?.sync_all()?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let io = |source| DataDirError::Io { dir: path.into(), source };
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(path.join(LOCK))
        .map_err(io)?;
    let give_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: without it the refusal is the same.
                let _ = file.read_to_string(&mut holder);
                return Err(DataDirError::InUse { dir: path.into(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
    }
    file.set_len(0).map_err(io)?;
    file.rewind().map_err(io)?;
    write!(file, "process {}", std::process::id()).map_err(io)?;
    Ok(file)
}
