//! Files that are whole or not there, and on the disk, before anything builds on them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown,
};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::error::PostgresError;

/// Whom PostgreSQL's files belong to, when that is not who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Replaces a file as a whole, mode 0600. Nothing in the folder is trusted: as root, following a
/// link there would write for its owner where only root may.
pub(super) fn write(path: &Path, content: &[u8], owner: Option<Owner>) -> Result<(), PostgresError> {
    put(path, content, owner, true)
}

/// The same for what is written anew whenever the machine has been down: on a busy disk syncs take long.
pub(super) fn write_unsynced(path: &Path, content: &[u8], owner: Option<Owner>) -> Result<(), PostgresError> {
    put(path, content, owner, false)
}

fn put(path: &Path, content: &[u8], owner: Option<Owner>, synced: bool) -> Result<(), PostgresError> {
    let failed = |error: io::Error| PostgresError::io("writing", path, &error);
    let temporary = suffixed(path, ".regent-tmp");
    let _ = fs::remove_file(&temporary);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        if let Some(owner) = owner {
            fchown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        file.write_all(content)?;
        if synced {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(failed(error));
    }
    if synced { sync_parent(path) } else { Ok(()) }
}

/// None when it is not there. Not through a link, as above; not without bound.
pub(super) fn read(path: &Path) -> Result<Option<String>, PostgresError> {
    const MOST: u64 = 4 << 20;
    let failed = |error: io::Error| PostgresError::io("reading", path, &error);
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST {
        return Err(failed(io::Error::other("it is larger than any configuration")));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| failed(io::Error::other("it is not UTF-8")))
}

/// Removed for good; that it was not there is well.
pub(super) fn remove(path: &Path) -> Result<(), PostgresError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PostgresError::io("removing", path, &error)),
    }
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), PostgresError> {
    fs::rename(from, to).map_err(|error| PostgresError::io("renaming", from, &error))?;
    sync_parent(to)
}

/// Everything in a data folder, also where it links to. One call for each file system instead of one for
/// each file, of which there are a thousand in an empty cluster: the programs are told not to sync. An error
/// of writing since the folder was opened is told (Linux 5.8).
pub(super) fn sync_data(data: &Path) -> Result<(), PostgresError> {
    let failed = |path: &Path, error: &io::Error| PostgresError::io("syncing", path, error);
    let tablespaces = match fs::read_dir(data.join("pg_tblspc")) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => Vec::new(),
    };
    for path in [data.to_owned(), data.join("pg_wal")].into_iter().chain(tablespaces) {
        let folder = fs::File::open(&path).map_err(|error| failed(&path, &error))?;
        nix::unistd::syncfs(&folder).map_err(|error| failed(&path, &error.into()))?;
    }
    Ok(())
}

pub(super) fn sync_parent(path: &Path) -> Result<(), PostgresError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| PostgresError::io("syncing", parent, &error))
}

/// Whether it is there already as [`folder`] would make it.
pub(super) fn is_folder(path: &Path, owner: Option<Owner>) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| {
        let is_owned = owner.is_none_or(|owner| (found.uid(), found.gid()) == (owner.uid, owner.gid));
        found.is_dir() && found.permissions().mode() & 0o777 == 0o700 && is_owned
    })
}

/// A folder of mode 0700, and its parents, which others may pass.
pub(super) fn folder(path: &Path, owner: Option<Owner>) -> Result<(), PostgresError> {
    let failed = |error: io::Error| PostgresError::io("making", path, &error);
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !fs::symlink_metadata(path).map_err(failed)?.is_dir() {
                return Err(failed(io::Error::other("something that is not a folder is there")));
            }
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    if let Some(owner) = owner {
        lchown(path, Some(owner.uid), Some(owner.gid)).map_err(failed)?;
    }
    sync_parent(path)
}

pub(super) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    PathBuf::from(text)
}

/// What a person without special rights may still write there.
pub(super) fn free_bytes(path: &Path) -> Result<u64, PostgresError> {
    let stat = nix::sys::statvfs::statvfs(path)
        .map_err(|error| PostgresError::io("asking for room", path, &error.into()))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_way_is_neither_read_nor_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let path = dir.path().join("regent.conf");
        std::os::unix::fs::symlink(&secret, suffixed(&path, ".regent-tmp")).unwrap();
        write(&path, b"ours", None).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("ours"));
        std::os::unix::fs::symlink(&secret, dir.path().join("pg_hba.conf")).unwrap();
        assert!(read(&dir.path().join("pg_hba.conf")).is_err());
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let dir = tempfile::tempdir().unwrap();
        remove(&dir.path().join("nothing")).unwrap();
        assert_eq!(read(&dir.path().join("nothing")).unwrap(), None);
    }
}
