//! Keeps one instance as its goal says: look, ask the table, do one thing, look again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use decision::config::Database;
use decision::database::branch::Branch;
use decision::database::health::Health;
use decision::database::keep::{self, Action, Process};
use decision::database::look::Look;
use decision::database::reconciler::{Beside, Reconciler, is_leased, unless_armed};
use decision::database::replay::Replay;
use decision::database::report::Release;
use decision::goal::DatabaseGoal;
use decision::name::{AgentId, ServiceName};
use decision::plan::Epoch;
use decision::time::Uptime;
use failover::postgres::Postgres;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use wire::failpoint;
use wire::host::Host;
use wire::tls::Credentials;

use super::alone::Surely;
use super::anew::Anew;
use super::asks::Asks;
use super::branches::Branches;
use super::controllers::Controllers;
use super::freshness::Kept;
use super::health::Prober;
use super::lease::LeaseKeeper;
use super::perform;
use super::promises::Given;
use super::released::Released;
use super::see::{self, Connection};
use super::settings;
use super::tell::Teller;
use super::{Board, Settings, Shown};
use crate::drill::Still;
use crate::guard::client::Guard;
use crate::guard::protocol::Event;
use crate::guard::{self, now};

/// Between two looks while something is under way.
const SOON: Duration = Duration::from_millis(5);
/// Between two looks when all is well.
const CALM: Duration = Duration::from_millis(200);
/// After something failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
const GUARD_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Keeper {
    pub(super) service: ServiceName,
    pub(super) agent: AgentId,
    pub(super) host: Host,
    pub(super) controllers: Controllers,
    guard_settings: guard::client::Settings,
    pub(super) log_file: PathBuf,
    pub(super) lease: Arc<LeaseKeeper>,
    pub(super) teller: Arc<Teller>,
    pub(super) connection: Connection,
    /// The rules, and what they remember.
    pub(super) rules: Reconciler,
    guard: Option<(Guard, guard::client::Events)>,
    postgres: Option<(Database, Postgres)>,
    freshness: Kept,
    replay: Replay,
    replay_lag: Duration,
    asks: Asks,
    /// While it is primary.
    prober: Option<Prober>,
    pub(super) surely: Surely,
    pub(super) anew: Anew,
    pub(super) released: Released,
    pub(super) branches: Branches,
    /// The newest timeline of its log.
    branch: Option<Branch>,
    /// When the slots and roles of a primary were last seen to, and at which epoch.
    pub(super) tended: Option<(Instant, Epoch)>,
    /// Why its users are not as wished yet; none: they are.
    pub(super) users_wanting: Option<String>,
    board: Arc<Board>,
    promises: Arc<Given>,
    credentials: Credentials,
    /// What was killed has not vanished yet: it hangs in the kernel.
    pub(super) hangs: bool,
    still: watch::Receiver<Still>,
    /// By how many drills it was killed.
    killed: u64,
}

impl Keeper {
    pub(super) fn new(service: ServiceName, settings: Settings, controllers: Controllers) -> Keeper {
        let Settings {
            host,
            credentials,
            agent,
            data_dir,
            guard_program,
            watchdog,
            board,
            promises,
            still,
            ..
        } = settings;
        let folder = data_dir.join("databases").join(service.as_str());
        let guard_settings = guard::client::Settings {
            guard: guard::Settings {
                socket: folder.join("guard.sock"),
                log: folder.join("guard.log"),
                watchdog,
            },
            program: guard_program,
            timeout: GUARD_WITHIN,
        };
        let (anew, branches, released) = (Anew::new(&folder), Branches::new(&folder), Released::new(&folder));
        let freshness = Kept::new(&folder);
        let rules = Reconciler::new(agent.region.clone(), freshness.last().clone());
        let killed = still.borrow().kills;
        Keeper {
            service,
            agent,
            host,
            controllers,
            guard_settings,
            log_file: PathBuf::new(),
            lease: LeaseKeeper::new(),
            teller: Teller::new(),
            connection: Connection::default(),
            rules,
            guard: None,
            postgres: None,
            freshness,
            replay: Replay::default(),
            replay_lag: Duration::ZERO,
            asks: Asks::default(),
            prober: None,
            surely: Surely::default(),
            anew,
            released,
            branches,
            branch: None,
            tended: None,
            users_wanting: None,
            board,
            promises,
            credentials,
            hangs: false,
            killed,
            still,
        }
    }

    /// Until the goal names it no more, or `stop`. What runs goes on under the guard.
    pub(super) async fn keep(self, goal: watch::Receiver<DatabaseGoal>, stop: CancellationToken) {
        let span = tracing::info_span!("database", service = %self.service);
        let renewals = Arc::clone(&self.lease).keep(self.service.clone(), self.controllers.clone());
        let news = Arc::clone(&self.teller).tell(self.service.clone(), self.controllers.clone());
        async {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.work(goal) => {}
                () = renewals => {}
                () = news => {}
            }
        }
        .instrument(span)
        .await;
    }

    async fn work(mut self, mut goals: watch::Receiver<DatabaseGoal>) {
        loop {
            self.suffer().await;
            let goal = goals.borrow_and_update().clone();
            let began = now();
            let pause = match self.step(&goal, &mut goals).await {
                Ok(pause) => pause,
                Err(why) => {
                    if self.rules.is_hindered(&why) {
                        tracing::warn!(why, "the database cannot be kept as wished");
                    }
                    if let Some(release) = self.rules.fails(&goal, &why, began, now()) {
                        self.give_up(&goal, release).await;
                    }
                    AFTER_FAILURE
                }
            };
            let event = async {
                match &mut self.guard {
                    Some((_, events)) => events.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = goals.changed() => if changed.is_err() { return },
                event = event => match event {
                    Some(Event::Exited(ended)) => tracing::warn!(?ended, "the postmaster ended"),
                    Some(Event::Gone(ended)) => tracing::info!(?ended, "every process of it is gone"),
                    None => self.guard = None,
                },
                Ok(()) = self.still.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What a drill does to it: the postmaster is killed as by anybody, and as long as nobody is to care for it,
    /// nobody does.
    async fn suffer(&mut self) {
        loop {
            let Still { kills, only, is_still } = self.still.borrow_and_update().clone();
            let is_meant = only.is_none_or(|only| only == self.service);
            if std::mem::replace(&mut self.killed, kills) != kills && is_meant {
                match self.kill_postmaster().await {
                    Ok(pid) => tracing::warn!(pid, "the postmaster was killed for a drill"),
                    Err(why) => tracing::warn!(why, "nothing was killed for a drill"),
                }
            }
            if !is_still || self.still.changed().await.is_err() {
                return;
            }
        }
    }

    async fn kill_postmaster(&mut self) -> Result<i32, String> {
        let status = self.guard().await?.status().await.map_err(|error| error.to_string())?;
        let running = status.running.ok_or("it does not run")?;
        let pid = nix::unistd::Pid::from_raw(running.pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
            .map_err(|error| format!("process {pid}: {error}"))?;
        Ok(running.pid)
    }

    /// One that was granted the lease and cannot begin does not keep it from the others for ever.
    async fn give_up(&mut self, goal: &DatabaseGoal, release: Release) {
        let given_back = async {
            let (guard, postgres) = (self.guard().await?, self.postgres(goal).await?);
            self.give_back(&guard, &postgres, release).await
        };
        match given_back.await {
            Ok(()) => self.rules.gave_up(),
            Err(error) => tracing::warn!(error, "the lease could not be given back"),
        }
    }

    /// One look and at most one action. Gives how long there is nothing to do.
    async fn step(
        &mut self,
        goal: &DatabaseGoal,
        goals: &mut watch::Receiver<DatabaseGoal>,
    ) -> Result<Duration, String> {
        let guard = self.guard().await?;
        let postgres = self.postgres(goal).await?;
        let released = self.released.of(goal.epoch).await?.cloned();
        self.lease.want(self.rules.wants(goal, released.is_some()).filter(|_| !self.hangs));
        if let Some(release) = &released {
            self.teller.release(release.clone());
        }
        let status = guard.status().await.map_err(|error| {
            self.guard = None;
            error.to_string()
        })?;
        self.hangs &= status.running.is_some();
        let armed = status.running.as_ref().and_then(|running| running.lease);
        // S1: renewals reach the guard that counts, also after this process was started anew.
        self.lease.arm(armed.is_some().then(|| guard.clone()));
        self.lease.ask_peers(&self.host, &self.credentials, goal);
        let is_armed = armed.is_some_and(|lease| lease.epoch == goal.epoch.0);
        // S1: what was promised in failsafe mode is kept, whoever leads by now.
        let failsafe = goal.wished.failsafe.then_some(goal.wished.lease.ttl);
        let is_bound = self.promises.forbids(&self.service, goal.epoch, failsafe);
        let left = self.lease.held(goal.epoch).map(|held| held.left(now()));
        let leased = is_leased(left, is_armed, is_bound, goal.wished.lease.ttl);
        let health = self.prober.as_ref().map(|prober| prober.health(goal.wished.lease.ttl));
        let dead = match &health {
            Some(Health::Dead { why }) => Some(why.clone()),
            _ => None,
        };
        let released = released.is_some();
        let follows = self.rules.follows();
        let whom = follows.cloned().flatten();
        self.asks.ask(&postgres, whom.and_then(|of| settings::upstream(&goal.wished, &of)));
        // Before it is asked: what it says was so at that moment at the latest (S3).
        let asked = now();
        let (mut look, observed) =
            see::look(&postgres, &mut self.connection, &status, follows, leased, released, dead).await;
        look.replies = self.asks.take();
        let replay = observed.as_ref().filter(|observed| observed.in_recovery).and_then(|observed| {
            Some(self.replay.lag(observed.received.max(observed.replayed)?, observed.replayed?, asked))
        });
        self.replay_lag = replay.unwrap_or_default();
        if let Some(Health::Held { why }) = health {
            look.problem = look.problem.or(Some(why));
        }
        let is_primary = look.seen.process == Process::Primary && leased;
        match (is_primary, &self.prober) {
            (true, None) => self.prober = Some(Prober::start(postgres.clone())),
            (false, Some(_)) if status.running.is_none() => self.prober = None,
            _ => {}
        }
        (self.branch, look.seen.kin) = self.branches.of(&postgres, goal, observed.as_ref()).await?;
        let number = self.host.random.next_u64();
        let commits = self.rules.note(goal, &look, number, asked);
        if !Reconciler::weighs(goal, &look) {
            self.surely = Surely::default();
        }
        self.note(&look, asked);
        let is_anew = self.anew.is_wished(goal.reinit).await;
        let next = self.rules.next(goal, &mut look, is_anew, now());
        if next == Action::Settled {
            self.settle(goal, &postgres, &look).await?;
            // What hindered it in another role counts no more.
            self.rules.is_hindered_no_more();
        }
        self.tell(goal, &look, &next);
        let next = unless_armed(next, is_armed);
        let pause = match &next {
            Action::Rest => {
                self.rules.is_hindered_no_more();
                if look.seen.process == Process::Primary
                    && let Err(why) = self.anew.is_done(goal.reinit).await
                {
                    tracing::warn!(why, "it may be copied once more when it is a replica again");
                }
                let tended = async {
                    // What hinders the one does not hinder the other.
                    let settled = self.settle_commits(goal, &postgres, observed.as_ref(), commits).await;
                    self.tend(goal, &postgres, &look).await?;
                    settled
                };
                tokio::select! {
                    biased;
                    done = tended => done?,
                    // A question that was not answered yet would be in the way of the next.
                    () = is_overtaken(goals, goal) => self.connection.drop(),
                }
                CALM
            }
            Action::Settled => CALM,
            Action::Wait(what) => {
                tracing::trace!(what, "waiting");
                if *what == keep::ALL
                    && let Some(release) = self.rules.waits_for_all(goal, &look, now())
                {
                    self.give_up(goal, release).await;
                }
                SOON
            }
            Action::Lease => {
                let mut held = self.lease.watch();
                tokio::select! {
                    _ = held.changed() => {}
                    _ = goals.changed() => goals.mark_changed(),
                    () = tokio::time::sleep(CALM) => {}
                }
                Duration::ZERO
            }
            Action::Problem(why) => return Err(why.clone()),
            action => {
                tracing::info!(?action, epoch = %goal.epoch, "database");
                let deed = perform::deed(action);
                deed.inspect(|deed| failpoint::before(deed));
                tokio::select! {
                    biased;
                    done = self.perform(goal, &guard, &postgres, &look, observed.as_ref(), action) => {
                        done?;
                        deed.inspect(|deed| failpoint::after(deed));
                    }
                    // What was wished has changed; whatever was begun can be begun again.
                    () = is_overtaken(goals, goal) => tracing::info!(?action, "given up for a newer goal"),
                }
                self.rules.is_hindered_no_more();
                Duration::ZERO
            }
        };
        Ok(pause)
    }

    async fn guard(&mut self) -> Result<Guard, String> {
        if let Some((guard, _)) = &self.guard {
            return Ok(guard.clone());
        }
        let folder = self.guard_settings.guard.socket.parent().map(std::path::Path::to_owned);
        if let Some(folder) = folder {
            // Whoever could enter it could speak to the guard.
            let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).await;
            made.map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let (guard, events, _) =
            Guard::connect_or_spawn(&self.guard_settings).await.map_err(|error| error.to_string())?;
        self.guard = Some((guard.clone(), events));
        Ok(guard)
    }

    async fn postgres(&mut self, goal: &DatabaseGoal) -> Result<Postgres, String> {
        if let Some((wished, postgres)) = &self.postgres
            && *wished == goal.wished
        {
            return Ok(postgres.clone());
        }
        self.open(goal).await
    }

    /// Secrets are read anew, too. What was open before stays so if that cannot be.
    pub(super) async fn open(&mut self, goal: &DatabaseGoal) -> Result<Postgres, String> {
        let settings = settings::of_instance(&goal.wished, &self.agent.region).await?;
        let mut log_file = settings.data_dir.clone().into_os_string();
        log_file.push(".log");
        self.log_file = log_file.into();
        let postgres = Postgres::open(settings, &self.host).await.map_err(|error| error.to_string())?;
        self.connection.drop();
        // A primary that runs has to be brought to it, too.
        self.tended = None;
        let rule = |wished: &Database| (wished.mode, wished.instances.keys().cloned().collect::<Vec<_>>());
        if self.postgres.as_ref().is_none_or(|(before, _)| rule(before) != rule(&goal.wished)) {
            self.rules.weighs_anew();
            self.surely = Surely::default();
        }
        self.postgres = Some((goal.wished.clone(), postgres.clone()));
        Ok(postgres)
    }

    /// `asked`: when the look began.
    fn note(&mut self, look: &Look, asked: Uptime) {
        if let Some(server) = &look.server {
            self.lease.note(server.position.filter(|_| !server.in_recovery).map(|at| (at, asked)));
            self.freshness.keep(self.rules.freshness());
        }
    }

    fn tell(&mut self, goal: &DatabaseGoal, look: &Look, next: &Action) {
        let promised = self.promises.end(goal);
        let (branch, marked) = (self.branch, self.branches.marked());
        let beside = Beside { next, branch, marked, promised, number: self.host.random.next_u64() };
        let (report, is_news) = self.rules.tell(goal, look, beside, now());
        let seen = Shown { report: report.clone(), replay_lag: self.replay_lag };
        self.board.send_if_modified(|shown| {
            let is_new = shown.get(&self.service) != Some(&seen);
            if is_new {
                shown.insert(self.service.clone(), seen);
            }
            is_new
        });
        if is_news {
            self.teller.report(report);
        }
    }
}

/// When the goal asks for another role, of another instance, or at another epoch.
async fn is_overtaken(goals: &mut watch::Receiver<DatabaseGoal>, goal: &DatabaseGoal) {
    let is_other = |new: &DatabaseGoal| new.role != goal.role || new.epoch != goal.epoch;
    loop {
        if is_other(&goals.borrow_and_update()) {
            goals.mark_changed();
            return;
        }
        if goals.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
