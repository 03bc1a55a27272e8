//! An old primary made a replica again, without copying it whole. First the tail of its log that
//! nobody else has is saved: with asynchronous replication these are acknowledged writes.

mod report;
mod tail;

use decision::lsn::Lsn;
use wire::failpoint;

use super::clone::{OWN_FILES, stopped, upstream_of};
use super::config::{Desired, Upstream};
use super::controldata::{ClusterState, ControlData};
use super::error::{Class, PostgresError};
use super::files::{DataDir, Files, RewindPhase};
use super::history::{self, Left};
use super::run::{self, Finished};
use super::segments::{newest_timeline, segments};
use super::source::Lineage;
use super::{Inner, Postgres, apply, durable};

pub use report::Diverged;

/// How a rewind ended. In every case but `Impossible` the files are a replica's, ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewound {
    /// Nothing here that the primary does not have: it can follow as it is.
    NotNeeded,
    /// A replica that was not shut down cleanly. Start it: it follows, or it says that it cannot;
    /// then stop it cleanly and call again. (Crash recovery would end its log where the primary's
    /// goes on.)
    StartFirst,
    Done(Diverged),
    /// Clone it from the primary. The saved tail, where there was one.
    Impossible {
        reason: String,
        saved: Option<Diverged>,
    },
}

/// How long a promoted primary may take for its first checkpoint while we wait.
const CHECKPOINT_WAIT_MS: u64 = 30_000;

enum Verdict {
    NotNeeded,
    Diverged(Left),
    Impossible(String),
}

impl Postgres {
    /// Makes the stopped instance here follow the primary that `desired` names. Cut off before
    /// `pg_rewind` changed anything, it may be called again; after that the data folder is broken
    /// and says so.
    pub async fn rewind_from(&self, desired: &Desired) -> Result<Rewound, PostgresError> {
        let upstream = upstream_of(desired)?.clone();
        let (source, Lineage { history: theirs, checkpointed }) = self.identify_lineage(&upstream).await?;
        let files = match self.observe_files(Some(source.system_identifier)).await? {
            DataDir::Present(files) => files,
            other => return Err(other.into_error(&self.inner.paths.data)),
        };
        self.look(stopped).await?;
        let (ours, our_timeline) = self.own_history(&files).await?;
        let Some(fork) = history::divergence((&ours, our_timeline), (&theirs, source.timeline)) else {
            return impossible("its timelines have no common ancestor with the primary's");
        };
        let control = &files.control;
        if fork.timeline == our_timeline && fork.at == Lsn(u64::MAX) {
            if was_replica(control) {
                return self.follow_as_it_is(desired, &upstream, &files).await;
            }
            // Both were promoted, at the same position, to the same number: PostgreSQL would take
            // the one log for the other.
            let fork = ours.last().copied().unwrap_or(Left { timeline: 1, at: Lsn(0) });
            let saved = match fork.at {
                Lsn(0) => None,
                _ => Some(self.save_tail(control, (&ours, our_timeline), fork).await?),
            };
            let reason = format!("it wrote timeline {our_timeline} itself, and so does the primary");
            return Ok(Rewound::Impossible { reason, saved });
        }
        if !control.state.is_clean() && was_replica(control) {
            return self.follow(desired, Rewound::StartFirst).await;
        }
        if !control.checksums && !control.wal_log_hints {
            return impossible("it has neither data checksums nor wal_log_hints");
        }
        if checkpointed != source.timeline {
            self.wait_for_checkpoint(&upstream, source.timeline).await?;
        }
        self.change(|inner| RewindPhase::Preparing.write(&inner.paths.rewind_marker)).await?;
        if !control.state.is_clean() {
            self.recover(&files).await?;
        }
        let control = self.control_data().await?;
        if !files.control.state.is_clean() && control.checkpoint < fork.at {
            return impossible(
                "its log ends before the primary left it, so its disk lost writes; what recovery wrote since \
                 contradicts the primary",
            );
        }
        let fork = match self.dry_run(&upstream).await? {
            Verdict::NotNeeded => return self.follow_as_it_is(desired, &upstream, &files).await,
            Verdict::Impossible(reason) => return Ok(Rewound::Impossible { reason, saved: None }),
            // Of two opinions, the one that saves more.
            Verdict::Diverged(theirs) => Left { timeline: theirs.timeline, at: theirs.at.min(fork.at) },
        };
        let saved = self.save_tail(&control, (&ours, our_timeline), fork).await?;
        let kept = self.change(begin).await?;
        failpoint::before("pg-rewind");
        let finished = self.pg_rewind(&upstream, &["--no-sync"], |_| Ok(())).await?;
        failpoint::after("pg-rewind");
        if !finished.status.success() {
            let reason = self.remote_failure(&upstream, &finished, Class::Reclone).to_string();
            return Ok(Rewound::Impossible { reason, saved: Some(saved) });
        }
        let desired = desired.clone();
        self.change(move |inner| {
            durable::sync_data(&inner.paths.data)?;
            finish(inner, &desired, &kept)
        })
        .await?;
        // It removes what the primary has no more, and recovery may begin before that.
        match self.lacks_log(&upstream, &files).await {
            Ok(Some(reason)) => Ok(Rewound::Impossible { reason, saved: Some(saved) }),
            // If it cannot be asked now, the replica that does not come up is looked into.
            Ok(None) | Err(_) => Ok(Rewound::Done(saved)),
        }
    }

    async fn follow_as_it_is(
        &self,
        desired: &Desired,
        upstream: &Upstream,
        files: &Files,
    ) -> Result<Rewound, PostgresError> {
        if let Some(reason) = self.lacks_log(upstream, files).await? {
            return Ok(Rewound::Impossible { reason, saved: None });
        }
        self.follow(desired, Rewound::NotNeeded).await
    }

    /// Nothing to rewind: a replica's configuration, and the end of what was begun.
    async fn follow(&self, desired: &Desired, how: Rewound) -> Result<Rewound, PostgresError> {
        let desired = desired.clone();
        self.change(move |inner| finish(inner, &desired, &[])).await?;
        Ok(how)
    }

    /// The newest timeline of the log here; none without a data folder.
    pub async fn newest_timeline(&self) -> Result<Option<u32>, PostgresError> {
        self.look(|inner| newest_timeline(&inner.paths.data)).await
    }

    /// The newest timeline that this instance wrote or received, and its ancestors.
    pub(super) async fn own_history(&self, files: &Files) -> Result<(Vec<Left>, u32), PostgresError> {
        let control = files.control.clone();
        self.look(move |inner| {
            let newest = segments(&inner.paths.data, control.wal_segment_bytes)?
                .iter()
                .map(|segment| segment.timeline)
                .fold(control.timeline.max(control.min_recovery_end_timeline), u32::max);
            if newest == 1 {
                return Ok((Vec::new(), newest));
            }
            let path = inner.paths.data.join(format!("pg_wal/{newest:08X}.history"));
            let text = durable::read(&path)?.unwrap_or_default();
            let history = history::parse(&text).map_err(|what| PostgresError::Broken {
                path: inner.paths.data.clone(),
                what: format!("{}: {what}", path.display()),
            })?;
            Ok((history, newest))
        })
        .await
    }

    async fn wait_for_checkpoint(&self, upstream: &Upstream, timeline: u32) -> Result<(), PostgresError> {
        let until = tokio::time::Instant::now() + std::time::Duration::from_millis(CHECKPOINT_WAIT_MS);
        // Not allowed before version 15; its own agent makes one then.
        let _ = self.source_do_checkpoint(upstream).await;
        loop {
            let (takes_writes, checkpointed) = self.source_checkpoint(upstream).await?;
            if takes_writes && checkpointed == timeline {
                return Ok(());
            }
            if !takes_writes {
                let what = format!("{} is not a primary", upstream.server());
                return Err(PostgresError::NotYet { what });
            }
            if tokio::time::Instant::now() > until {
                let what = format!(
                    "{} has made no checkpoint since its promotion to timeline {timeline}",
                    upstream.server()
                );
                return Err(PostgresError::NotYet { what });
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Crash recovery of an old primary, in a server for one, which nobody can connect to.
    async fn recover(&self, files: &Files) -> Result<(), PostgresError> {
        if files.standby_signal || files.recovery_signal {
            // Such a server refuses them. The marker keeps the folder from being started without.
            self.change(|inner| {
                durable::remove(&inner.paths.data.join(apply::STANDBY_SIGNAL))?;
                durable::remove(&inner.paths.data.join("recovery.signal"))
            })
            .await?;
        }
        let mut args: Vec<std::ffi::OsString> = vec!["--single".into()];
        args.extend(self.launch().argv.into_iter().skip(1));
        // The checkpoint at its end must not remove what the rewind needs. In MiB.
        for setting in ["wal_keep_size=100000000", "synchronous_standby_names="] {
            args.extend(["-c".into(), setting.into()]);
        }
        args.push("template1".into());
        let mut program = self.program("postgres", "recovering after a crash", args);
        program.timeout_ms = self.inner.settings.transfer_timeout_ms;
        run::run(program).await?.success(Class::Reclone).map(drop)
    }

    /// Ended as soon as it has said what it is asked for: it would fetch everything as the rewind itself does.
    async fn dry_run(&self, upstream: &Upstream) -> Result<Verdict, PostgresError> {
        let mut said = String::new();
        let finished = self.pg_rewind(upstream, &["--dry-run"], |piece| {
            said.push_str(piece);
            match report::is_decided(&said) {
                true => {
                    Err(PostgresError::NotYet { what: "the rest would be fetched, and thrown away".into() })
                }
                false => Ok(()),
            }
        });
        let finished = finished.await;
        if report::is_decided(&said) {
            return Ok(report::diverged_at(&said).map_or_else(|| not_understood(&said), Verdict::Diverged));
        }
        let finished = finished?;
        let output = format!("{}\n{}", finished.stdout, finished.stderr);
        if finished.status.success() {
            // It names the place in either case.
            return match report::diverged_at(&output) {
                _ if output.contains("no rewind required") => Ok(Verdict::NotNeeded),
                Some(left) => Ok(Verdict::Diverged(left)),
                None => Ok(not_understood(&output)),
            };
        }
        match self.remote_failure(upstream, &finished, Class::Reclone) {
            error @ PostgresError::Program { .. } => Ok(Verdict::Impossible(error.to_string())),
            error => Err(error),
        }
    }

    async fn pg_rewind(
        &self,
        upstream: &Upstream,
        more: &[&str],
        watch: impl FnMut(&str) -> Result<(), PostgresError>,
    ) -> Result<Finished, PostgresError> {
        let mut source: std::ffi::OsString = "--source-server=".into();
        source.push(format!("{} dbname=postgres", self.conninfo_to(upstream)?));
        let mut args = vec!["-D".into(), self.inner.paths.data.clone().into(), source];
        args.push("--no-ensure-shutdown".into());
        args.extend(more.iter().map(Into::into));
        let mut program = self.program("pg_rewind", "rewinding", args);
        program.timeout_ms = self.inner.settings.transfer_timeout_ms;
        run::run_watched(program, watch).await
    }

    async fn save_tail(
        &self,
        control: &ControlData,
        (history, timeline): (&[Left], u32),
        fork: Left,
    ) -> Result<Diverged, PostgresError> {
        let at = self.inner.clock.now();
        let mut to = control.checkpoint.max(control.min_recovery_end);
        if !control.state.is_clean() {
            // Where it ends is not known without recovery: so all there is.
            let (data, bytes) = (self.inner.paths.data.clone(), control.wal_segment_bytes);
            let segments = self.look(move |_| segments(&data, bytes)).await?;
            let ends = segments.iter().filter(|segment| segment.timeline == timeline);
            to = ends.map(|segment| Lsn((segment.number + 1).saturating_mul(bytes) - 1)).fold(to, Lsn::max);
        }
        let wanted = tail::Wanted {
            system_identifier: control.system_identifier,
            timeline,
            history: history.to_vec(),
            fork,
            to,
            segment_bytes: control.wal_segment_bytes,
        };
        let copied = self.change(move |inner| tail::copy(inner, &wanted, at)).await?;
        let partial = match copied {
            tail::Copied::Before(report) => return Ok(report),
            tail::Copied::Now(partial) => partial,
        };
        // What cannot be counted is saved all the same.
        let commits = self.count_commits(&partial).await.unwrap_or(None);
        self.change(move |inner| tail::seal(inner, partial, commits)).await
    }

    async fn count_commits(&self, tail: &tail::Partial) -> Result<Option<u64>, PostgresError> {
        let mut commits = 0;
        for (timeline, from, to) in tail.stretches() {
            let args = vec![
                "-p".into(),
                tail.folder.clone().into(),
                "-t".into(),
                timeline.to_string().into(),
                "-s".into(),
                from.to_string().into(),
                "-e".into(),
                to.to_string().into(),
                "--rmgr=Transaction".into(),
                "--stats=record".into(),
            ];
            let mut program = self.program("pg_waldump", "counting commits", args);
            program.timeout_ms = self.inner.settings.transfer_timeout_ms;
            let finished = run::run(program).await?;
            match report::commits(&finished.stdout) {
                Some(count) => commits += count,
                // It prints nothing at all where it finds none.
                None if finished.status.success() && finished.stdout.trim().is_empty() => {}
                None => return Ok(None),
            }
        }
        Ok(Some(commits))
    }
}

fn not_understood(output: &str) -> Verdict {
    Verdict::Impossible(format!("pg_rewind's output is not understood: {}", run::last_lines(output)))
}

fn impossible(reason: &str) -> Result<Rewound, PostgresError> {
    Ok(Rewound::Impossible { reason: reason.to_owned(), saved: None })
}

/// Its log is that of the primary it followed.
fn was_replica(control: &ControlData) -> bool {
    matches!(control.state, ClusterState::InArchiveRecovery | ClusterState::ShutDownInRecovery)
}

/// The user's own configuration files, which `pg_rewind` replaces by the primary's.
type Kept = Vec<(&'static str, String)>;

fn begin(inner: &Inner) -> Result<Kept, PostgresError> {
    stopped(inner)?;
    let mut kept = Kept::new();
    for name in OWN_FILES {
        if let Some(text) = durable::read(&inner.paths.data.join(name))? {
            kept.push((name, text));
        }
    }
    RewindPhase::Rewinding.write(&inner.paths.rewind_marker)?;
    Ok(kept)
}

fn finish(inner: &Inner, desired: &Desired, kept: &[(&'static str, String)]) -> Result<(), PostgresError> {
    let data = &inner.paths.data;
    durable::write(&data.join(apply::STANDBY_SIGNAL), b"", inner.owner)?;
    for (name, text) in kept {
        durable::write(&data.join(name), text.as_bytes(), inner.owner)?;
    }
    apply::write(inner, data, desired, apply::Lasts::Surely)?;
    durable::remove(&inner.paths.rewind_marker)
}
