//! A replica made anew from its primary: copied beside, then renamed. What was there before is
//! moved aside and not deleted.

use std::path::{Path, PathBuf};

use wire::failpoint;

use super::config::{Desired, Role, Upstream};
use super::create::remove_folder;
use super::error::{Class, PostgresError};
use super::files::{self, DataDir};
use super::progress::{Progress, Reader};
use super::{Inner, Postgres, apply, durable, run};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloned {
    /// Where the data folder went that was there before.
    pub aside: Option<PathBuf>,
}

/// Configuration of the user's own, which a clone or a rewind would replace by the primary's.
pub(super) const OWN_FILES: [&str; 5] =
    ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf", super::config::FILE];

/// Beyond the primary's estimate: the log that is written meanwhile, and room to start.
const SPARE_BYTES: u64 = 256 << 20;

pub(super) fn upstream_of(desired: &Desired) -> Result<&Upstream, PostgresError> {
    match &desired.role {
        Role::Replica { upstream: Some(upstream) } => Ok(upstream),
        _ => Err(PostgresError::Config { what: "a clone or a rewind needs a primary to follow".to_owned() }),
    }
}

impl Postgres {
    /// Replaces the data folder by a copy of the primary that `desired` names, configured so. A copy
    /// that an earlier call had finished for the same epoch is used (S3: at another it may be of another
    /// history); any other begins anew. Refused while a server runs here, and when the data here are of
    /// another cluster.
    pub async fn clone_from(
        &self,
        desired: &Desired,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Cloned, PostgresError> {
        let upstream = upstream_of(desired)?.clone();
        let source = self.identify(&upstream).await?;
        let before = self.observe_files(Some(source.system_identifier)).await?;
        if matches!(before, DataDir::Foreign { .. }) {
            return Err(before.into_error(&self.inner.paths.data));
        }
        let marker = self.inner.paths.cloned_marker.clone();
        let whole = self.look(move |_| durable::read(&marker)).await?;
        let resumes = matches!(before, DataDir::Absent)
            && whole.is_some_and(|text| text == mark(source.system_identifier, desired))
            && self.inner.paths.new.exists();
        if !resumes {
            self.check_stopped().await?;
            self.fresh_folder().await?;
            self.copy(&upstream, &mut progress).await?;
        }
        let desired = desired.clone();
        let keep_own = matches!(before, DataDir::Present(_));
        let cloned = self
            .change(move |inner| put_in_place(inner, &desired, keep_own, source.system_identifier))
            .await?;
        // Whatever of it fails, the copy is in place.
        let newest = cloned.aside.clone();
        if let Err(error) = self.look(move |inner| tidy(inner, newest.as_deref())).await {
            tracing::warn!(%error, "what older copies left is not cleared away: make room by hand");
        }
        Ok(cloned)
    }

    async fn check_stopped(&self) -> Result<(), PostgresError> {
        self.look(stopped).await
    }

    async fn copy(
        &self,
        upstream: &Upstream,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), PostgresError> {
        let mut args = vec![
            "-D".into(),
            self.inner.paths.new.clone().into(),
            "-d".into(),
            self.conninfo_to(upstream)?.into(),
            "-X".into(),
            "stream".into(),
            "-c".into(),
            "fast".into(),
            "-w".into(),
            "--progress".into(),
            "--no-sync".into(),
        ];
        if let Some(slot) = &upstream.slot {
            // So that nothing is missing between the copy and the first start.
            args.extend(["-S".into(), slot.into()]);
        }
        let mut program = self.program("pg_basebackup", "cloning", args);
        program.dir = self.inner.paths.new.clone();
        program.timeout_ms = self.inner.settings.transfer_timeout_ms;
        let new = self.inner.paths.new.clone();
        let mut reader = Reader::default();
        let mut first = true;
        let finished = run::run_watched(program, |piece| {
            let mut short = Ok(());
            reader.feed(piece, |seen| {
                if std::mem::take(&mut first) {
                    short = enough_room(&new, seen.total_bytes);
                }
                progress(seen);
            });
            short
        })
        .await?;
        if finished.status.success() {
            return self.look(|inner| durable::sync_data(&inner.paths.new)).await;
        }
        Err(self.remote_failure(upstream, &finished, Class::Retry))
    }
}

/// Logs of older copies that stay.
const LOGS_KEPT: usize = 4;

/// One of before is kept: to look into, or should this turn out to be the worse of the two. Of those before
/// it the logs are, which may have what nobody else has (S3), and of these the newest.
fn tidy(inner: &Inner, newest: Option<&Path>) -> Result<(), PostgresError> {
    let mut all = inner.paths.all_aside();
    if newest.is_none() {
        all.pop();
    }
    all.retain(|aside| Some(aside.as_path()) != newest);
    all.iter().try_for_each(|aside| give_way(inner, aside))?;
    let logs = inner.paths.all_logs_aside();
    logs[..logs.len().saturating_sub(LOGS_KEPT)].iter().try_for_each(|log| {
        tracing::warn!(log = %log.display(), "deleting the log of an older copy: there are newer ones");
        remove_folder(log)
    })
}

fn give_way(inner: &Inner, aside: &Path) -> Result<(), PostgresError> {
    // A link to elsewhere is the user's to follow.
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    if !is_folder(aside) {
        return Ok(());
    }
    let (log, kept) = (aside.join("pg_wal"), inner.paths.log_of(aside));
    if is_folder(&log) && kept.symlink_metadata().is_err() {
        durable::rename(&log, &kept)?;
    }
    remove_folder(aside)
}

/// The primary names its size before it sends anything.
fn enough_room(new: &Path, total_bytes: u64) -> Result<(), PostgresError> {
    let free = durable::free_bytes(new)?;
    let needed = total_bytes.saturating_add(SPARE_BYTES);
    if free >= needed {
        return Ok(());
    }
    Err(PostgresError::DiskFull {
        doing: "cloning",
        path: new.to_owned(),
        detail: format!(
            "{} MiB are needed beside the data that are there now, and {} MiB are free; an older copy ends in \
             .regent-old-TIME, the logs of those before it in .regent-wal-TIME, saved tails are in -diverged",
            needed >> 20,
            free >> 20
        ),
        left: "Nothing was copied or changed",
    })
}

pub(super) fn stopped(inner: &Inner) -> Result<(), PostgresError> {
    match files::postmaster(&inner.paths.data) {
        // A folder that is not there has no server.
        Ok(Some(files::Postmaster { pid, alive: true })) => Err(PostgresError::State {
            what: format!("PostgreSQL (process {pid}) runs in {}", inner.paths.data.display()),
            remedy: "stop it first",
        }),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

fn put_in_place(
    inner: &Inner,
    desired: &Desired,
    keep_own: bool,
    system_identifier: u64,
) -> Result<Cloned, PostgresError> {
    stopped(inner)?;
    let paths = &inner.paths;
    if keep_own {
        for name in OWN_FILES {
            if let Some(text) = durable::read(&paths.data.join(name))? {
                durable::write(&paths.new.join(name), text.as_bytes(), inner.owner)?;
            }
        }
    }
    apply::write(inner, &paths.new, desired, apply::Lasts::Surely)?;
    durable::write(&paths.cloned_marker, mark(system_identifier, desired).as_bytes(), None)?;
    let aside = match std::fs::read_dir(&paths.data).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            let aside = paths.aside(inner.clock.now());
            durable::rename(&paths.data, &aside)?;
            Some(aside)
        }
        // Absent, or empty, which a rename replaces.
        _ => None,
    };
    // It was of the folder that went aside.
    durable::remove(&paths.rewind_marker)?;
    failpoint::before("swap-folders");
    durable::rename(&paths.new, &paths.data)?;
    failpoint::after("swap-folders");
    durable::remove(&paths.cloned_marker)?;
    Ok(Cloned { aside })
}

/// Of what a whole copy is.
fn mark(system_identifier: u64, desired: &Desired) -> String {
    format!("{system_identifier} at epoch {}\n", desired.epoch)
}
