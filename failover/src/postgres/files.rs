//! What the data folder says of its instance, without a server.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use decision::plan::Epoch;
use serde::{Deserialize, Serialize};

use super::apply::STANDBY_SIGNAL;
use super::controldata::{self, ControlData};
use super::error::{Class, PostgresError};
use super::{Inner, Postgres, config, durable, install, run};

/// The data folder as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataDir {
    Absent,
    Empty,
    Present(Box<Files>),
    /// Not to be touched: another's, or not what we may use as it is. A person looks.
    Foreign {
        what: String,
        remedy: &'static str,
    },
    /// Ours once, and of no more use than as a thing to look into: clone again.
    Broken {
        what: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The major version that wrote the data.
    pub version: u32,
    pub control: ControlData,
    pub standby_signal: bool,
    pub recovery_signal: bool,
    /// What `postmaster.pid` names.
    pub postmaster: Option<Postmaster>,
    /// A rewind began and has changed nothing that matters yet: it must be called again, or a clone,
    /// before the server is started.
    pub rewind_begun: bool,
    /// Of the configuration that Regent wrote; none: it never did.
    pub epoch: Option<Epoch>,
    pub free_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Postmaster {
    pub pid: i32,
    pub alive: bool,
}

impl Files {
    pub fn is_running(&self) -> bool {
        self.postmaster.is_some_and(|postmaster| postmaster.alive)
    }
}

impl DataDir {
    /// For a caller who needs an instance and found none.
    pub(super) fn into_error(self, path: &Path) -> PostgresError {
        let path = path.to_owned();
        match self {
            DataDir::Foreign { what, remedy } => PostgresError::Foreign { path, what, remedy },
            DataDir::Broken { what } => PostgresError::Broken { path, what },
            DataDir::Absent | DataDir::Empty => {
                PostgresError::Broken { path, what: "there is no data".to_owned() }
            }
            DataDir::Present(_) => PostgresError::State {
                what: format!("{} has data", path.display()),
                remedy: "move it away if it is not wanted",
            },
        }
    }
}

/// What lies beside the data folder while a rewind is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RewindPhase {
    /// Crash recovery and saving the tail: may be repeated.
    Preparing,
    /// Pages of two instances lie mixed until it ends.
    Rewinding,
}

impl RewindPhase {
    pub fn read(path: &Path) -> Result<Option<RewindPhase>, PostgresError> {
        // What cannot be read was begun by someone: the worse of the two.
        Ok(durable::read(path)?.map(|text| serde_json::from_str(&text).unwrap_or(RewindPhase::Rewinding)))
    }

    pub fn write(self, path: &Path) -> Result<(), PostgresError> {
        let text = match self {
            RewindPhase::Preparing => "\"preparing\"\n",
            RewindPhase::Rewinding => "\"rewinding\"\n",
        };
        durable::write(path, text.as_bytes(), None)
    }
}

enum Looked {
    Decided(DataDir),
    Data(Box<Partly>),
}

/// All but the control file, for which a program is needed.
struct Partly {
    version: u32,
    standby_signal: bool,
    recovery_signal: bool,
    postmaster: Option<Postmaster>,
    rewind_begun: bool,
    epoch: Option<Epoch>,
    free_bytes: u64,
}

impl Postgres {
    /// Left for the data or for the log, whichever has less.
    pub async fn free_bytes(&self) -> Result<u64, PostgresError> {
        self.look(|inner| {
            let data = &inner.paths.data;
            Ok(durable::free_bytes(data)?.min(durable::free_bytes(&data.join("pg_wal"))?))
        })
        .await
    }

    /// `expected` is the cluster's system identifier where it is known: the folder of another is
    /// foreign.
    pub async fn observe_files(&self, expected: Option<u64>) -> Result<DataDir, PostgresError> {
        let partly = match self.look(look).await? {
            Looked::Decided(found) => return Ok(found),
            Looked::Data(partly) => partly,
        };
        let control = match self.control_data().await {
            Ok(control) => control,
            Err(PostgresError::Program { output, .. }) => {
                return Ok(DataDir::Broken { what: format!("its control file cannot be read ({output})") });
            }
            Err(error) => return Err(error),
        };
        if let Some(expected) = expected
            && control.system_identifier != expected
        {
            return Ok(DataDir::Foreign {
                what: format!(
                    "its system identifier is {}, and this database's is {expected}",
                    control.system_identifier
                ),
                remedy: "move it away, or set data_dir",
            });
        }
        let Partly { version, standby_signal, recovery_signal, postmaster, rewind_begun, epoch, free_bytes } =
            *partly;
        Ok(DataDir::Present(Box::new(Files {
            version,
            control,
            standby_signal,
            recovery_signal,
            postmaster,
            rewind_begun,
            epoch,
            free_bytes,
        })))
    }

    pub(super) async fn control_data(&self) -> Result<ControlData, PostgresError> {
        let args = vec!["-D".into(), self.inner.paths.data.clone().into()];
        let doing = "reading the control file";
        let finished = run::run(self.program("pg_controldata", doing, args)).await?.success(Class::Person)?;
        // It warns of a wrong checksum, and goes on.
        let unsound = finished.stdout.contains("WARNING") || finished.stderr.contains("WARNING");
        controldata::parse(&finished.stdout)
            .and_then(|data| if unsound { Err("its checksum is wrong".to_owned()) } else { Ok(data) })
            .map_err(|output| PostgresError::Program {
                program: "pg_controldata",
                doing,
                status: "its output is not understood".to_owned(),
                output,
                class: Class::Reclone,
            })
    }
}

fn look(inner: &Inner) -> Result<Looked, PostgresError> {
    let data = &inner.paths.data;
    let decided = |found: DataDir| Ok(Looked::Decided(found));
    let failed = |error: &std::io::Error| PostgresError::io("looking into", data, error);
    let metadata = match fs::metadata(data) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return decided(DataDir::Absent);
        }
        Err(error) => return Err(failed(&error)),
    };
    if !metadata.is_dir() {
        let what = "it is not a folder".to_owned();
        return decided(DataDir::Foreign { what, remedy: "set data_dir to a folder" });
    }
    if fs::read_dir(data).map_err(|error| failed(&error))?.next().is_none() {
        return decided(DataDir::Empty);
    }
    let Some(version) = install::data_version(data) else {
        let what = "it has files, but is not a data folder of PostgreSQL (no PG_VERSION)".to_owned();
        return decided(DataDir::Foreign {
            what,
            remedy: "set data_dir to a folder that is empty or not there",
        });
    };
    if version != inner.version {
        let what = format!("it is of PostgreSQL {version}, and the programs are {}", inner.version);
        return decided(DataDir::Foreign { what, remedy: "set bin_dir, or run pg_upgrade" });
    }
    let uid = inner.owner.map_or_else(|| nix::unistd::geteuid().as_raw(), |owner| owner.uid);
    if metadata.uid() != uid {
        let what = format!("its owner is uid {}, and PostgreSQL runs as uid {uid}", metadata.uid());
        return decided(DataDir::Foreign { what, remedy: "set os_user, or change the owner" });
    }
    // As PostgreSQL itself has it: 0700, or 0750 with group access.
    if metadata.mode() & 0o027 != 0 {
        let what = format!("its mode is {:04o}, and PostgreSQL wants 0700", metadata.mode() & 0o7777);
        return decided(DataDir::Foreign { what, remedy: "chmod 0700" });
    }
    let phase = RewindPhase::read(&inner.paths.rewind_marker)?;
    if phase == Some(RewindPhase::Rewinding) {
        return decided(DataDir::Broken { what: "a rewind of it was cut off".to_owned() });
    }
    if !data.join("global/pg_control").is_file() {
        return decided(DataDir::Broken { what: "it has no control file".to_owned() });
    }
    let epoch = durable::read(&data.join(config::FILE))?.as_deref().and_then(config::epoch_of);
    Ok(Looked::Data(Box::new(Partly {
        version,
        standby_signal: data.join(STANDBY_SIGNAL).exists(),
        recovery_signal: data.join("recovery.signal").exists(),
        postmaster: postmaster(data)?,
        rewind_begun: phase.is_some(),
        epoch,
        free_bytes: durable::free_bytes(data)?,
    })))
}

/// The first line of `postmaster.pid`. A server works in its data folder: another process that was
/// given the same number since does not.
pub(super) fn postmaster(data: &Path) -> Result<Option<Postmaster>, PostgresError> {
    let Some(text) = durable::read(&data.join("postmaster.pid"))? else { return Ok(None) };
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()) else {
        return Ok(None);
    };
    // A single-user server writes its own number negated.
    let pid = pid.saturating_abs();
    let works_in: Option<PathBuf> = fs::read_link(format!("/proc/{pid}/cwd")).ok();
    let alive = works_in.is_some() && works_in == data.canonicalize().ok();
    Ok(Some(Postmaster { pid, alive }))
}
