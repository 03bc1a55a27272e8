//! The actions of the table, each by the guard and the actuator. All may be repeated, and given up
//! at any point.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use decision::database::keep::{Action, Files, Process};
use decision::database::look::Look;
use decision::database::report::Release;
use decision::goal::DatabaseGoal;
use decision::name::RegionName;
use decision::plan::Epoch;
use failover::postgres::{Observed, Postgres, PostgresError, Rewound, Role, Sql, Upstream, slot_name};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wire::failpoint;

use super::keeper::Keeper;
use super::log_tail::last_words;
use super::see;
use super::settings;
use crate::guard::client::Guard;
use crate::guard::now;
use crate::guard::protocol::{Role as GuardRole, Start, StopMode};

pub(super) const APPLY_WITHIN: Duration = Duration::from_secs(5);
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(20);
const PROMOTES_WITHIN: Duration = Duration::from_millis(500);
/// A promotion first replays what is there, which may be much.
const REPLAYS_WITHIN: Duration = Duration::from_secs(5);
/// What was killed, unless it hangs.
const VANISHES_WITHIN: Duration = Duration::from_millis(500);
const GONE_WITHIN: Duration = Duration::from_secs(10);
const STOP_WITHIN: Duration = Duration::from_secs(30);
const SETTLE_WITHIN: Duration = Duration::from_secs(2);
const TEND_EVERY: Duration = Duration::from_secs(2);
const REACH_WITHIN: Duration = Duration::from_secs(1);

pub(super) fn say(error: PostgresError) -> String {
    error.to_string()
}

async fn until_writable(sql: &Sql) -> Result<(), String> {
    let (mut within, mut before) = (PROMOTES_WITHIN, None);
    loop {
        match sql.wait_writable(within).await {
            Err(PostgresError::TimedOut { .. }) => {}
            done => return done.map_err(say),
        }
        let replayed = sql.observe().await.map_err(say)?.replayed;
        if before == Some(replayed) {
            return Err(format!("its promotion hangs: nothing was replayed for {} s", within.as_secs()));
        }
        (within, before) = (REPLAYS_WITHIN, Some(replayed));
    }
}

/// What tests end this process before and after.
pub(super) fn deed(action: &Action) -> Option<&'static str> {
    match action {
        Action::Rest | Action::Wait(_) | Action::Settled | Action::Lease | Action::Problem(_) => None,
        // It changes nothing.
        Action::LookInto { .. } => None,
        Action::Create => Some("create"),
        Action::StartPrimary => Some("start-primary"),
        Action::StartReplica { .. } => Some("start-replica"),
        Action::Promote => Some("promote"),
        Action::Follow { .. } => Some("follow"),
        Action::ShutDown { .. } => Some("shut-down"),
        Action::Stop => Some("stop"),
        Action::Kill(_) => Some("kill"),
        Action::Rewind { .. } => Some("rewind"),
        Action::Clone { .. } => Some("clone"),
        Action::Release { .. } => Some("release"),
    }
}

impl Keeper {
    pub(super) async fn perform(
        &mut self,
        goal: &DatabaseGoal,
        guard: &Guard,
        postgres: &Postgres,
        look: &Look,
        observed: Option<&Observed>,
        action: &Action,
    ) -> Result<(), String> {
        match action {
            Action::Rest | Action::Wait(_) | Action::Settled | Action::Lease | Action::Problem(_) => Ok(()),
            Action::Create => {
                postgres.create(&self.desired(goal, Role::Primary)).await.map_err(say)?;
                self.branches.is_copy(goal).await
            }
            Action::StartPrimary => self.start_primary(goal, guard, postgres).await,
            Action::StartReplica { of } => self.start_replica(goal, guard, postgres, of.as_ref()).await,
            Action::Promote => self.promote(goal, guard, postgres, observed).await,
            Action::Follow { of: Some(of) } if look.seen.process == Process::Starting => {
                self.turn(goal, guard, postgres, of).await
            }
            Action::Follow { of } => self.follow(goal, postgres, of.as_ref()).await,
            Action::ShutDown { .. } => {
                // Writes go on meanwhile, so that little is left to do when they end.
                let sql = self.connection.get(postgres).await.map_err(say)?;
                sql.checkpoint(CHECKPOINT_WITHIN).await.map_err(say)?;
                self.stop(guard, postgres).await
            }
            Action::Stop => self.stop(guard, postgres).await,
            Action::Kill(why) => {
                tracing::warn!(why, "fencing the database");
                self.kill(guard).await
            }
            Action::Rewind { of } => self.rewind(goal, postgres, of).await,
            Action::Clone { of } => self.clone_from(goal, postgres, of).await,
            Action::LookInto { of } => {
                let found = self.look_into(goal, postgres, look, of).await;
                tracing::warn!(?found, %of, "it does not come to follow its primary");
                self.rules.following.was_looked_into(found, now());
                // A password may be another by now.
                self.open(goal).await.map(drop)
            }
            Action::Release { clean, why } => {
                let last_known = look.server.as_ref().and_then(|server| server.position);
                let (clean, why) = (*clean, why.clone());
                let release = Release { epoch: goal.epoch, clean, last_known, unwritten: false, why };
                self.give_back(guard, postgres, release).await
            }
        }
    }

    /// S1: first nothing of it lives any more, also of what no guard holds; then that is on disk; then it
    /// is told.
    pub(super) async fn give_back(
        &mut self,
        guard: &Guard,
        postgres: &Postgres,
        mut release: Release,
    ) -> Result<(), String> {
        self.kill(guard).await?;
        postgres.end_strays().await.map_err(say)?;
        release.unwritten = release.clean.is_none() && self.is_unwritten(postgres, release.epoch).await;
        self.lease.want(None);
        self.released.note(&release).await?;
        self.teller.release(release);
        Ok(())
    }

    /// S3: by what lies on the disk, now that nothing of it lives. A promotion first begins a timeline, then
    /// takes the signal of a standby away, then takes writes.
    async fn is_unwritten(&mut self, postgres: &Postgres, epoch: Epoch) -> bool {
        let (files, _) = see::files(postgres).await;
        let newest = self.branches.newest(postgres).await;
        matches!(files, Files::Present { standby: true, .. })
            && matches!(newest, Ok(Some(branch)) if branch.epoch < epoch)
    }

    pub(super) fn desired(&self, goal: &DatabaseGoal, role: Role) -> failover::postgres::Desired {
        settings::desired(&goal.wished, &self.agent.region, goal.epoch, role, self.rules.goes_alone())
    }

    fn replica_of(&self, goal: &DatabaseGoal, of: Option<&RegionName>) -> failover::postgres::Desired {
        let slot = slot_name(self.agent.region.as_str(), goal.epoch);
        let upstream = of.and_then(|of| settings::upstream(&goal.wished, of));
        let upstream = upstream.map(|upstream| Upstream { slot: Some(slot), ..upstream });
        self.desired(goal, Role::Replica { upstream })
    }

    fn start(&self, postgres: &Postgres, role: GuardRole) -> Start {
        let launch = postgres.launch();
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        Start {
            argv: launch.argv.into_iter().map(text).collect(),
            env: launch.env.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect(),
            os_user: launch.os_user,
            cwd: launch.dir,
            log_file: self.log_file.clone(),
            role,
        }
    }

    async fn start_primary(
        &mut self,
        goal: &DatabaseGoal,
        guard: &Guard,
        postgres: &Postgres,
    ) -> Result<(), String> {
        postgres.adopt(&self.desired(goal, Role::Primary)).await.map_err(say)?;
        self.branches.adopt(postgres, goal.epoch).await?;
        let held = self.lease.held(goal.epoch).ok_or("the lease is over")?;
        let start = self.start(postgres, GuardRole::Primary(held.for_guard()));
        let pid = guard.start(start).await.map_err(|error| error.to_string())?;
        self.lease.arm(Some(guard.clone()));
        tracing::info!(pid, epoch = %goal.epoch, "postgres started as primary");
        Ok(())
    }

    async fn start_replica(
        &mut self,
        goal: &DatabaseGoal,
        guard: &Guard,
        postgres: &Postgres,
        of: Option<&RegionName>,
    ) -> Result<(), String> {
        if self.rules.following.may_start_in(now()).is_some() {
            let log = self.log_file.display();
            let words = last_words(&self.log_file).await;
            return Err(format!(
                "postgres ended before it answered; it is started again soon; {log} ends: {words}"
            ));
        }
        if of.is_some() {
            self.branches.mark(postgres, goal.epoch).await?;
        }
        postgres.write_config(&self.replica_of(goal, of)).await.map_err(say)?;
        let start = self.start(postgres, GuardRole::Replica);
        let pid = guard.start(start).await.map_err(|error| error.to_string())?;
        self.rules.is_told(of, goal.epoch);
        self.rules.following.is_started(now());
        tracing::info!(pid, of = of.map(RegionName::as_str), "postgres started as replica");
        Ok(())
    }

    /// The guard counts first (S1).
    async fn promote(
        &mut self,
        goal: &DatabaseGoal,
        guard: &Guard,
        postgres: &Postgres,
        observed: Option<&Observed>,
    ) -> Result<(), String> {
        let held = self.lease.held(goal.epoch).ok_or("the lease is over")?;
        let armed = async { guard.lease(held.for_guard()).await.map_err(|error| error.to_string()) };
        tokio::try_join!(armed, self.branches.mark(postgres, goal.epoch))?;
        self.lease.arm(Some(guard.clone()));
        let (waiting, desired) = (self.replica_of(goal, None), self.desired(goal, Role::Primary));
        let began = Instant::now();
        // S3: not one commit goes by rules of before.
        let names = desired.sync.render().map_err(say)?;
        let sql = self.connection.get(postgres).await.map_err(say)?;
        if observed.is_none_or(|observed| observed.synchronous_standby_names != names) {
            sql.set_sync_standbys(&waiting, CHECKPOINT_WITHIN).await.map_err(say)?;
        }
        failpoint::before("take-writes");
        sql.promote().await.map_err(say)?;
        until_writable(sql).await?;
        failpoint::after("take-writes");
        tracing::info!(ms = began.elapsed().as_millis() as u64, epoch = %goal.epoch, "promoted");
        self.tended = None;
        // Its epoch, and that it follows nobody, for whoever reads the files.
        postgres.write_config(&desired).await.map_err(say)
    }

    async fn follow(
        &mut self,
        goal: &DatabaseGoal,
        postgres: &Postgres,
        of: Option<&RegionName>,
    ) -> Result<(), String> {
        if of.is_some() {
            self.branches.mark(postgres, goal.epoch).await?;
        }
        let desired = self.replica_of(goal, of);
        let sql = self.connection.get(postgres).await.map_err(say)?;
        self.rules.is_being_told();
        let done = match of {
            Some(_) => sql.apply(&desired, APPLY_WITHIN).await,
            None => sql.stop_receiving(&desired, SETTLE_WITHIN).await,
        };
        if let Err(error) = done {
            self.connection.drop();
            return Err(say(error));
        }
        self.rules.is_told(of, goal.epoch);
        Ok(())
    }

    /// One that starts as a replica and answers nothing: by its files, which PostgreSQL reads again on SIGHUP, also in
    /// recovery. Whether it did, it does not say.
    async fn turn(
        &mut self,
        goal: &DatabaseGoal,
        guard: &Guard,
        postgres: &Postgres,
        of: &RegionName,
    ) -> Result<(), String> {
        self.branches.mark(postgres, goal.epoch).await?;
        self.rules.is_being_told();
        postgres.write_config(&self.replica_of(goal, Some(of))).await.map_err(say)?;
        let status = guard.status().await.map_err(|error| error.to_string())?;
        let Some(running) = status.running.filter(|running| running.lease.is_none()) else { return Ok(()) };
        kill(Pid::from_raw(running.pid), Signal::SIGHUP)
            .map_err(|error| format!("postgres ({}) cannot be told whom to follow: {error}", running.pid))?;
        self.rules.is_retold(of, goal.epoch);
        Ok(())
    }

    /// In order; clients that come too late are not waited for.
    async fn stop(&mut self, guard: &Guard, postgres: &Postgres) -> Result<(), String> {
        self.connection.drop();
        self.rules.following.is_stopped();
        guard.stop(StopMode::Fast).await.map_err(|error| error.to_string())?;
        let until = Instant::now() + STOP_WITHIN;
        loop {
            let status = guard.status().await.map_err(|error| error.to_string())?;
            let Some(running) = status.running else { return Ok(()) };
            // What cannot be seen is waited for.
            if postgres.only_turns_away(running.pid).await.unwrap_or(false) {
                return self.kill(guard).await;
            }
            if Instant::now() > until {
                return Err(format!("it did not shut down within {} s", STOP_WITHIN.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What hangs in the kernel, on a disk that does not answer, vanishes when that lets go, and runs not one
    /// instruction of its own before. The others do not wait for it: its lease is renewed no more, and ends (S1).
    async fn kill(&mut self, guard: &Guard) -> Result<(), String> {
        self.connection.drop();
        self.rules.following.is_stopped();
        let gone = guard.kill(GONE_WITHIN);
        tokio::pin!(gone);
        let gone = tokio::select! {
            biased;
            gone = &mut gone => gone,
            () = tokio::time::sleep(VANISHES_WITHIN) => {
                tracing::warn!("what was killed does not vanish; its lease is renewed no more");
                self.hangs = true;
                self.lease.want(None);
                gone.await
            }
        };
        let fenced = gone.map_err(|error| error.to_string())?;
        self.hangs = false;
        if let Some(fenced) = fenced {
            tracing::warn!(gone_us = fenced.gone_us, killed = fenced.killed, "every process of it is gone");
        }
        self.lease.arm(None);
        Ok(())
    }

    async fn rewind(
        &mut self,
        goal: &DatabaseGoal,
        postgres: &Postgres,
        of: &RegionName,
    ) -> Result<(), String> {
        match postgres.rewind_from(&self.replica_of(goal, Some(of))).await {
            Ok(Rewound::StartFirst) if self.rules.following.parted => {
                tracing::warn!("it does not start, and cannot be rewound: it is copied anew");
                self.rules.following.must_copy = true;
                Ok(())
            }
            Ok(Rewound::NotNeeded | Rewound::StartFirst) => {
                self.rules.following.begins_anew();
                Ok(())
            }
            Ok(Rewound::Done(diverged)) => {
                tracing::warn!(?diverged, "rewound; what only this instance had is kept aside");
                self.rules.following.begins_anew();
                self.branches.is_copy(goal).await
            }
            Ok(Rewound::Impossible { reason, saved }) => {
                tracing::warn!(reason, ?saved, "cannot be rewound: it is copied anew");
                self.rules.following.must_copy = true;
                Ok(())
            }
            Err(error) if error.class() == failover::postgres::Class::Reclone => {
                tracing::warn!(%error, "cannot be rewound: it is copied anew");
                self.rules.following.must_copy = true;
                Ok(())
            }
            Err(error) => {
                if matches!(error, PostgresError::TooManyConnections { .. }) {
                    self.rules.following.is_refused(now());
                }
                Err(say(error))
            }
        }
    }

    async fn clone_from(
        &mut self,
        goal: &DatabaseGoal,
        postgres: &Postgres,
        of: &RegionName,
    ) -> Result<(), String> {
        let mut told = Instant::now();
        let cloned = postgres
            .clone_from(&self.replica_of(goal, Some(of)), |progress| {
                if told.elapsed() > Duration::from_secs(5) {
                    told = Instant::now();
                    tracing::info!(?progress, "copying");
                }
            })
            .await
            .map_err(say)?;
        tracing::info!(aside = ?cloned.aside, "copied");
        self.branches.is_copy(goal).await?;
        self.rules.following.begins_anew();
        self.anew.is_done(goal.reinit).await
    }

    /// What it has, once it will not change.
    pub(super) async fn settle(
        &mut self,
        goal: &DatabaseGoal,
        postgres: &Postgres,
        look: &Look,
    ) -> Result<(), String> {
        if self.rules.rested(goal.epoch).is_some() {
            return Ok(());
        }
        let position = match (&look.seen.process, &look.seen.files) {
            (Process::Replica { .. }, _) => {
                let sql = self.connection.get(postgres).await.map_err(say)?;
                let last = sql.final_position(SETTLE_WITHIN).await.map_err(say)?;
                Some(decision::database::Position { timeline: last.timeline, lsn: last.replayed })
            }
            (_, Files::Present { clean, .. }) => *clean,
            _ => None,
        };
        self.rules.rests(goal.epoch, position);
        Ok(())
    }

    /// What a primary owes its replicas.
    pub(super) async fn tend(
        &mut self,
        goal: &DatabaseGoal,
        postgres: &Postgres,
        look: &Look,
    ) -> Result<(), String> {
        let before = self.tended.filter(|(_, epoch)| *epoch == goal.epoch);
        if before.is_some_and(|(tended, _)| tended.elapsed() < TEND_EVERY) {
            return Ok(());
        }
        let is_first = before.is_none();
        let own = &self.agent.region;
        let slots: BTreeSet<String> = match look.seen.process {
            Process::Primary => goal
                .wished
                .instances
                .keys()
                .filter(|other| *other != own)
                .map(|other| slot_name(other.as_str(), goal.epoch))
                .collect(),
            _ => BTreeSet::new(),
        };
        let is_primary = look.seen.process == Process::Primary;
        let desired = self.desired(goal, Role::Primary);
        let sql = self.connection.get(postgres).await.map_err(say)?;
        let mut lacking = Ok(());
        for slot in &slots {
            // One that cannot be made, where there are too many, keeps no other back.
            lacking = lacking.and(sql.ensure_slot(slot).await.map_err(say));
        }
        sql.retain_slots(&slots).await.map_err(say)?;
        lacking?;
        if is_primary && is_first {
            sql.ensure_roles().await.map_err(say)?;
            sql.apply(&desired, APPLY_WITHIN).await.map_err(say)?;
        }
        if is_primary {
            self.tend_users(goal, postgres, is_first).await;
        }
        self.tended = Some((Instant::now(), goal.epoch));
        Ok(())
    }

    /// Why it can never follow as it is, if that is so.
    async fn look_into(
        &self,
        goal: &DatabaseGoal,
        postgres: &Postgres,
        look: &Look,
        of: &RegionName,
    ) -> Result<Option<String>, String> {
        let instance = goal.wished.instances.get(of).ok_or("it is not configured any more")?;
        let address = format!("{}:{}", instance.host, instance.port);
        let connected = tokio::time::timeout(REACH_WITHIN, self.host.network.connect(&address)).await;
        connected
            .map_err(|_| format!("{address} does not answer"))?
            .map_err(|error| format!("{address}: {error}"))?;
        let has = look.server.as_ref().and_then(|server| server.position).map(|position| position.lsn);
        match postgres.cannot_follow(&self.replica_of(goal, Some(of)), has).await.map_err(say)? {
            Some(why) => Ok(Some(why)),
            None => Err(format!(
                "nothing is known against it; {} ends: {}",
                self.log_file.display(),
                last_words(&self.log_file).await
            )),
        }
    }
}
