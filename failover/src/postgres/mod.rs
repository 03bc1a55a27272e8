//! The PostgreSQL actuator: observes and changes one local instance. It decides nothing and keeps
//! no state; every call may be repeated, also after a crash at any point of an earlier one. It
//! neither starts nor stops the server, which is the guard's right.

mod apply;
mod asker;
mod clone;
pub mod config;
pub mod controldata;
mod create;
mod durable;
pub mod error;
mod files;
mod follow;
mod hba;
pub mod history;
mod install;
mod paths;
mod progress;
mod rewind;
mod run;
mod scram;
mod segments;
pub mod settings;
mod shutdown;
mod source;
pub mod sql;
mod strays;
#[cfg(feature = "testing")]
pub mod testing;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;
use wire::host::{Clock, Host};

pub use asker::Asker;
pub use clone::Cloned;
pub use config::{Desired, Role, SyncStandbys, Upstream};
pub use controldata::{ClusterState, ControlData};
pub use error::{Class, PostgresError};
pub use files::{DataDir, Files, Postmaster};
pub use progress::Progress;
pub use rewind::{Diverged, Rewound};
pub use settings::{SLOT_PREFIX, Secret, Settings, User, slot_name};
pub use sql::{Observed, Position, Promotion, Slot, Sql, Standby, WalReceiver, WriteProbe};

use durable::Owner;
use paths::Paths;
use run::Program;

/// One local instance. Cheap to clone.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    bin_dir: PathBuf,
    version: u32,
    /// None when we are that user ourselves.
    owner: Option<Owner>,
    /// Operating system users who may be the superuser through the private socket.
    peers: Vec<String>,
    paths: Paths,
    clock: Arc<dyn Clock>,
    /// One change of files at a time, in the order asked for, also when a caller went away while
    /// its change was on the way to the disk.
    changing: Arc<Mutex<()>>,
}

/// How the server is started: by the guard, not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub argv: Vec<OsString>,
    pub env: Vec<(&'static str, OsString)>,
    pub dir: PathBuf,
    /// User and group to become, when this process is root.
    pub uid_gid: Option<(u32, u32)>,
    /// The name of that user, for its further groups (`initgroups`), such as `ssl-cert`.
    pub os_user: Option<String>,
}

impl Postgres {
    /// Checks the settings and finds the programs. Changes nothing.
    pub async fn open(settings: Settings, host: &Host) -> Result<Postgres, PostgresError> {
        settings.validate()?;
        let bin_dir = match &settings.bin_dir {
            Some(dir) => dir.clone(),
            None => install::find(install::data_version(&settings.data_dir))?,
        };
        let (owner, peers) = who(&settings)?;
        let program = Program {
            name: "postgres",
            doing: "asking for the version",
            bin_dir: &bin_dir,
            args: vec!["--version".into()],
            env: Vec::new(),
            dir: "/".into(),
            owner,
            timeout_ms: settings.program_timeout_ms,
        };
        let version = install::major(&run::run(program).await?.success(Class::Person)?.stdout)?;
        let paths = Paths::new(&settings.data_dir);
        let inner = Inner {
            settings,
            bin_dir,
            version,
            owner,
            peers,
            paths,
            clock: host.clock.clone(),
            changing: Arc::default(),
        };
        Ok(Postgres { inner: Arc::new(inner) })
    }

    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The major version of the programs.
    pub fn version(&self) -> u32 {
        self.inner.version
    }

    pub fn bin_dir(&self) -> &Path {
        &self.inner.bin_dir
    }

    /// What the guard runs. [`Postgres::write_config`] comes first: it makes what the server needs
    /// to start, also what a reboot has cleared away.
    pub fn launch(&self) -> Launch {
        let data = &self.inner.paths.data;
        let file = |name: &str, path: &str| {
            let mut argument = OsString::from(format!("{name}="));
            argument.push(data.join(path));
            argument
        };
        // Said here, no file can say otherwise.
        let argv = [
            self.inner.bin_dir.join("postgres").into(),
            "-D".into(),
            data.clone().into(),
            "-c".into(),
            file("config_file", "postgresql.conf"),
            "-c".into(),
            file("hba_file", "pg_hba.conf"),
            "-c".into(),
            file("ident_file", "pg_ident.conf"),
        ];
        let owner = self.inner.owner;
        Launch {
            argv: argv.into(),
            env: vec![("LC_ALL", "C".into()), ("PATH", "/usr/bin:/bin".into())],
            dir: data.clone(),
            uid_gid: owner.map(|owner| (owner.uid, owner.gid)),
            os_user: owner.map(|_| self.inner.settings.os_user.clone()),
        }
    }

    fn program(&self, name: &'static str, doing: &'static str, args: Vec<OsString>) -> Program<'_> {
        let passfile = self.inner.paths.passfile.clone().into();
        Program {
            name,
            doing,
            bin_dir: &self.inner.bin_dir,
            args,
            env: vec![("PGPASSFILE", passfile)],
            dir: "/".into(),
            owner: self.inner.owner,
            timeout_ms: self.inner.settings.program_timeout_ms,
        }
    }

    /// Work on files, off the threads that must answer others. It runs to its end even when the
    /// caller goes away, and before any later change.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, PostgresError> + Send + 'static,
    ) -> Result<T, PostgresError> {
        let turn = self.inner.changing.clone().lock_owned().await;
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&inner)
        });
        done.await.map_err(|error| PostgresError::Io {
            doing: "working on files in",
            path: self.inner.paths.data.clone(),
            why: error.to_string(),
        })?
    }

    /// Looking at files: not in turn with changes.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, PostgresError> + Send + 'static,
    ) -> Result<T, PostgresError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner));
        done.await.map_err(|error| PostgresError::Io {
            doing: "looking at files in",
            path: self.inner.paths.data.clone(),
            why: error.to_string(),
        })?
    }
}

/// Whose the files are, and who may be the superuser.
fn who(settings: &Settings) -> Result<(Option<Owner>, Vec<String>), PostgresError> {
    let unknown = |what: String| PostgresError::Config { what };
    let me = nix::unistd::geteuid();
    let own = nix::unistd::User::from_uid(me)
        .ok()
        .flatten()
        .ok_or_else(|| unknown(format!("this process runs as uid {me}, which has no name")))?;
    if !me.is_root() {
        return Ok((None, vec![own.name]));
    }
    let user = nix::unistd::User::from_name(&settings.os_user).ok().flatten().ok_or_else(|| {
        unknown(format!(
            "there is no operating system user {:?}; create it, or set os_user",
            settings.os_user
        ))
    })?;
    if user.uid.is_root() {
        return Err(unknown("PostgreSQL does not run as root; set os_user to another".to_owned()));
    }
    let owner = Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw() };
    Ok((Some(owner), vec![own.name, user.name]))
}
