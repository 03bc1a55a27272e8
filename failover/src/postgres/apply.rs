//! Writes an instance's configuration, in an order that a crash cannot turn into a second primary.

use std::path::Path;

use super::config::{self, Desired, Role};
use super::durable;
use super::error::PostgresError;
use super::files::DataDir;
use super::{Inner, Postgres, hba, install};

/// When what is written must be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// Before the call returns.
    Surely,
    /// At some time: it is for the server that runs, and before one is started all of it is written anew.
    WhileItRuns,
}

pub(super) const STANDBY_SIGNAL: &str = "standby.signal";

impl Postgres {
    /// Makes the files say so; a running server reads most of them at [`super::sql::Sql::reload`]. Refused
    /// when the files say a newer epoch already. A `standby.signal` is made for a replica, and taken
    /// away by PostgreSQL alone, when it is promoted.
    pub async fn write_config(&self, desired: &Desired) -> Result<(), PostgresError> {
        self.write_config_to(desired, Lasts::Surely).await
    }

    pub(super) async fn write_config_to(&self, desired: &Desired, lasts: Lasts) -> Result<(), PostgresError> {
        let desired = desired.clone();
        self.change(move |inner| write(inner, &inner.paths.data, &desired, lasts)).await
    }

    /// Takes over a data folder that was run by other means and is stopped: our configuration is
    /// included, the user's stays. Settings of `postgresql.auto.conf` that would win over ours are
    /// taken out, and the file as it was is kept beside it.
    pub async fn adopt(&self, desired: &Desired) -> Result<(), PostgresError> {
        let files = match self.observe_files(None).await? {
            DataDir::Present(files) => files,
            DataDir::Absent | DataDir::Empty => {
                return Err(PostgresError::State {
                    what: format!("{} has no data to take over", self.inner.paths.data.display()),
                    remedy: "create it, or set data_dir",
                });
            }
            other => return Err(other.into_error(&self.inner.paths.data)),
        };
        if files.is_running() {
            return Err(PostgresError::State {
                what: format!("PostgreSQL runs in {}", self.inner.paths.data.display()),
                remedy: "stop it, and keep its own service from starting it (systemctl disable --now)",
            });
        }
        if matches!(desired.role, Role::Primary) && files.standby_signal {
            return Err(PostgresError::State {
                what: format!("{} is of a replica", self.inner.paths.data.display()),
                remedy: "adopt it as a replica and promote it",
            });
        }
        if files.recovery_signal {
            return Err(PostgresError::State {
                what: format!("{} is in a recovery to a point in time", self.inner.paths.data.display()),
                remedy: "let it finish first",
            });
        }
        self.write_config(desired).await
    }
}

pub(super) fn write(inner: &Inner, dir: &Path, desired: &Desired, lasts: Lasts) -> Result<(), PostgresError> {
    let settings = &inner.settings;
    let owner = inner.owner;
    let passfile = inner.paths.passfile.display().to_string();
    // What can be refused is refused before anything is written.
    let regent_conf = config::regent_conf(settings, desired, inner.version, &passfile)?;
    if install::data_version(dir).is_none() {
        return Err(PostgresError::State {
            what: format!("{} is not a data folder", dir.display()),
            remedy: "create or clone it first",
        });
    }
    let regent_path = dir.join(config::FILE);
    let before = durable::read(&regent_path)?;
    if let Some(theirs) = before.as_deref().and_then(config::epoch_of)
        && theirs > desired.epoch
    {
        return Err(PostgresError::Stale { ours: desired.epoch, theirs });
    }
    let main_path = dir.join("postgresql.conf");
    let Some(main) = durable::read(&main_path)? else {
        return Err(PostgresError::State {
            what: format!("{} is missing", main_path.display()),
            remedy: "copy postgresql.conf, conf.d, pg_hba.conf and pg_ident.conf into the data folder from where \
                     this instance's are (Debian: /etc/postgresql/VERSION/NAME), without data_directory, hba_file \
                     and ident_file",
        });
    };
    // First of all: a crash after this leaves a replica that receives nothing, never a primary.
    let signal = dir.join(STANDBY_SIGNAL);
    if matches!(desired.role, Role::Replica { .. }) && !signal.exists() {
        durable::write(&signal, b"", owner)?;
    }
    if !durable::is_folder(&settings.socket_dir, owner) {
        durable::folder(&settings.socket_dir, owner)?;
    }
    replace(&inner.paths.passfile, config::passfile(settings), owner)?;
    for (name, lines) in [
        ("pg_hba.conf", hba::lines(settings)),
        ("pg_ident.conf", config::ident_lines(settings, &inner.peers)),
    ] {
        let path = dir.join(name);
        let file = durable::read(&path)?.unwrap_or_default();
        if let Some(text) = config::with_block(&file, &lines) {
            durable::write(&path, text.as_bytes(), owner)?;
        }
    }
    let auto_path = dir.join("postgresql.auto.conf");
    let auto = durable::read(&auto_path)?.unwrap_or_default();
    if let Some(text) = config::without_decided(&auto) {
        let kept = dir.join("postgresql.auto.conf.before-regent");
        if !kept.exists() {
            durable::write(&kept, auto.as_bytes(), owner)?;
        }
        durable::write(&auto_path, text.as_bytes(), owner)?;
    }
    if before.as_ref() != Some(&regent_conf) {
        match lasts {
            Lasts::Surely => durable::write(&regent_path, regent_conf.as_bytes(), owner)?,
            Lasts::WhileItRuns => durable::write_unsynced(&regent_path, regent_conf.as_bytes(), owner)?,
        }
    }
    if let Some(text) = config::with_include(&main) {
        durable::write(&main_path, text.as_bytes(), owner)?;
    }
    Ok(())
}

/// Written only when it differs: a sync costs, and goals are carried out again and again.
fn replace(path: &Path, text: String, owner: Option<durable::Owner>) -> Result<(), PostgresError> {
    match durable::read(path) {
        Ok(Some(before)) if before == text => Ok(()),
        _ => durable::write(path, text.as_bytes(), owner),
    }
}
