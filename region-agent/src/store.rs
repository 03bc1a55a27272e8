//! The agent's folder: whose it is, and the newest goal, so that an agent that restarts with no
//! controller alive goes on watching.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use decision::goal::Goal;
use decision::name::AgentId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const LOCK_FILE: &str = "lock";
const IDENTITY_FILE: &str = "identity.json";
const GOAL_FILE: &str = "goal.json";
const GOAL_ASIDE: &str = "goal.json.corrupt";
const GOAL_FORMAT: &str = "regent-goal-1";

/// The folder could not be taken. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {doing} {}: {error}", path.display())]
    Io { doing: &'static str, path: PathBuf, error: io::Error },
    #[error("{} is in use by another process: is this agent running already?", dir.display())]
    Locked { dir: PathBuf },
    #[error("{} belongs to {found}, and this is {this}; give each agent a folder of its own", dir.display())]
    OtherOwner { dir: PathBuf, found: Box<Owner>, this: Box<Owner> },
    #[error("{} does not say whose folder it is ({why}); if it is this agent's, remove that file", path.display())]
    BadIdentity { path: PathBuf, why: String },
}

/// Whose folder it is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub cluster: String,
    pub agent: AgentId,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agent {} of cluster {:?}", self.agent, self.cluster)
    }
}

/// One agent's folder, held against others while this lives.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    _lock: File,
}

impl Store {
    /// Makes the folder if need be, and refuses one that is another's.
    pub fn open(dir: &Path, cluster: &str, agent: &AgentId) -> Result<Store, StoreError> {
        fs::create_dir_all(dir).map_err(at("make the folder", dir))?;
        let lock_path = dir.join(LOCK_FILE);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(at("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(at("lock", &lock_path)(error)),
        }
        let owner = Owner { cluster: cluster.to_owned(), agent: agent.clone() };
        match read_owner(dir)? {
            Some(found) if found == owner => {}
            Some(found) => {
                let (found, this) = (Box::new(found), Box::new(owner));
                return Err(StoreError::OtherOwner { dir: dir.to_owned(), found, this });
            }
            None => {
                let json = serde_json::to_vec(&owner).expect("has only string keys");
                replace(dir, IDENTITY_FILE, &[&json]).map_err(at("write", &dir.join(IDENTITY_FILE)))?;
            }
        }
        Ok(Store { dir: dir.to_owned(), _lock: lock })
    }

    /// The goal of the last run. A corrupt one is moved aside and counts as none: the controllers
    /// give it again, whereas a refusal to start would leave the region without eyes.
    pub fn load_goal(&self) -> Result<Option<Goal>, StoreError> {
        let path = self.dir.join(GOAL_FILE);
        let octets = match fs::read(&path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("read", &path)(error)),
        };
        match parse(&octets) {
            Ok(goal) => Ok(Some(goal)),
            Err(why) => {
                let aside = self.dir.join(GOAL_ASIDE);
                fs::rename(&path, &aside).map_err(at("move aside", &path))?;
                tracing::warn!(why, aside = %aside.display(), "the saved goal is corrupt; starting without one");
                Ok(None)
            }
        }
    }

    /// On disk once this returns. Blocks.
    ///
    /// # Errors
    /// The old goal is left as it was, unless only the last sync failed.
    pub fn save_goal(&self, goal: &Goal) -> io::Result<()> {
        let body = serde_json::to_vec(goal).map_err(io::Error::other)?;
        let head = format!("{GOAL_FORMAT} {}\n", digest(&body));
        replace(&self.dir, GOAL_FILE, &[head.as_bytes(), &body])
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn read_owner(dir: &Path) -> Result<Option<Owner>, StoreError> {
    let path = dir.join(IDENTITY_FILE);
    match fs::read(&path) {
        Ok(json) => serde_json::from_slice(&json)
            .map(Some)
            .map_err(|error| StoreError::BadIdentity { path, why: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("read", &path)(error)),
    }
}

/// Written beside, synced, renamed over, and the folder synced: a crash leaves the old file or the
/// new one (S2).
pub(crate) fn replace(dir: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let beside = dir.join(format!("{name}.new"));
    let mut file = File::create(&beside)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()?;
    fs::rename(&beside, dir.join(name))?;
    File::open(dir)?.sync_all()
}

fn parse(octets: &[u8]) -> Result<Goal, String> {
    let newline = octets.iter().position(|octet| *octet == b'\n').ok_or("it has no first line")?;
    let (head, body) = (&octets[..newline], &octets[newline + 1..]);
    if head != format!("{GOAL_FORMAT} {}", digest(body)).as_bytes() {
        return Err("its checksum does not match its content".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| format!("its content is not understood: {error}"))
}

pub(crate) fn digest(octets: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(octets))
}

fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::Io { doing, path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> AgentId {
        AgentId::new("eu", 1)
    }

    fn goal() -> Goal {
        Goal { generation: 7, ..Goal::default() }
    }

    #[test]
    fn a_goal_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("made"), "c", &agent()).unwrap();
        assert_eq!(store.load_goal().unwrap(), None);
        store.save_goal(&goal()).unwrap();
        assert_eq!(store.load_goal().unwrap(), Some(goal()));
    }

    #[test]
    fn another_agents_folder_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), "c", &agent()).unwrap());
        for (cluster, agent) in [("d", agent()), ("c", AgentId::new("eu", 2))] {
            let error = Store::open(dir.path(), cluster, &agent).unwrap_err();
            assert!(matches!(error, StoreError::OtherOwner { .. }), "{error}");
            assert!(error.to_string().contains("belongs to agent eu/1 of cluster \"c\""), "{error}");
        }
        Store::open(dir.path(), "c", &agent()).unwrap();
    }

    #[test]
    fn two_at_once_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = Store::open(dir.path(), "c", &agent()).unwrap();
        assert!(matches!(Store::open(dir.path(), "c", &agent()), Err(StoreError::Locked { .. })));
        drop(held);
        Store::open(dir.path(), "c", &agent()).unwrap();
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_the_file_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), "c", &agent()).unwrap();
        store.save_goal(&goal()).unwrap();
        let good = fs::read(dir.path().join(GOAL_FILE)).unwrap();
        for octet in 0..good.len() {
            let mut bad = good.clone();
            bad[octet] ^= 0x10;
            fs::write(dir.path().join(GOAL_FILE), &bad).unwrap();
            assert_eq!(store.load_goal().unwrap(), None);
            assert_eq!(fs::read(dir.path().join(GOAL_ASIDE)).unwrap(), bad);
        }
    }

    #[test]
    fn a_crash_while_writing_leaves_the_old_goal() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), "c", &agent()).unwrap();
        store.save_goal(&goal()).unwrap();
        fs::write(dir.path().join("goal.json.new"), b"half").unwrap();
        assert_eq!(store.load_goal().unwrap(), Some(goal()));
    }
}
