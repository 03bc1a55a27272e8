//! A new cluster: made beside, then renamed, so that a crash leaves nothing half.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::config::Desired;
use super::error::{Class, PostgresError};
use super::files::DataDir;
use super::{Inner, Postgres, apply, durable, run};

impl Postgres {
    /// A new, empty cluster with data checksums, in a data folder that is absent or empty. The roles
    /// are made by [`super::sql::Sql::ensure_roles`] once it runs.
    pub async fn create(&self, desired: &Desired) -> Result<(), PostgresError> {
        match self.observe_files(None).await? {
            DataDir::Absent | DataDir::Empty => {}
            other => return Err(other.into_error(&self.inner.paths.data)),
        }
        self.fresh_folder().await?;
        let settings = &self.inner.settings;
        let args = vec![
            "-D".into(),
            self.inner.paths.new.clone().into(),
            "--data-checksums".into(),
            "--encoding=UTF8".into(),
            format!("--locale={}", settings.locale).into(),
            format!("--username={}", settings.superuser).into(),
            "--auth-local=peer".into(),
            "--auth-host=scram-sha-256".into(),
            "--no-sync".into(),
        ];
        let mut program = self.program("initdb", "creating a cluster", args);
        program.dir = self.inner.paths.new.clone();
        program.timeout_ms = settings.transfer_timeout_ms;
        run::run(program).await?.success(Class::Person)?;
        let desired = desired.clone();
        self.change(move |inner| {
            apply::write(inner, &inner.paths.new, &desired, apply::Lasts::Surely)?;
            durable::sync_data(&inner.paths.new)?;
            durable::rename(&inner.paths.new, &inner.paths.data)
        })
        .await
    }

    /// An empty folder beside the data folder, of the right owner, that nobody else works in.
    pub(super) async fn fresh_folder(&self) -> Result<(), PostgresError> {
        run::end_leftovers(&self.inner.paths.new).await?;
        self.change(|inner| {
            let new = &inner.paths.new;
            durable::remove(&inner.paths.cloned_marker)?;
            remove_folder(new)?;
            durable::folder(new, inner.owner)?;
            same_file_system(inner)
        })
        .await
    }
}

/// A rename onto a mount point is impossible; better said before hours of copying.
fn same_file_system(inner: &Inner) -> Result<(), PostgresError> {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let data = &inner.paths.data;
    if device(data).is_some_and(|dev| Some(dev) != device(&inner.paths.new)) {
        return Err(PostgresError::Config {
            what: format!("{} is a mount point; set data_dir to a folder inside of it", data.display()),
        });
    }
    Ok(())
}

pub(super) fn remove_folder(path: &Path) -> Result<(), PostgresError> {
    match fs::remove_dir_all(path) {
        Ok(()) => durable::sync_parent(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PostgresError::io("removing", path, &error)),
    }
}
