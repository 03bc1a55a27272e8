//! Keeps one instance as its goal says: look, ask the table, do one thing, look again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use decision::config::Database;
use decision::database::branch::Branch;
use decision::database::health::Health;
use decision::database::keep::{self, Action, Process};
use decision::database::{InstanceReport, InstanceRole, Position};
use decision::goal::{DatabaseGoal, DatabaseRole};
use decision::name::{AgentId, ServiceName};
use decision::plan::Epoch;
use failover::postgres::Postgres;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use wire::host::Host;
use wire::tls::Credentials;

use super::alone::Weighed;
use super::anew::Anew;
use super::branches::Branches;
use super::controllers::Controllers;
use super::following::Following;
use super::health::Prober;
use super::lease::{LeaseKeeper, Wanted};
use super::level::Level;
use super::promises::Promises;
use super::released::Released;
use super::report::{self, Facts, Ready, Rested};
use super::see::{self, Connection, Look, Memory};
use super::settings;
use super::tell::{Release, Teller};
use super::{Board, Settings};
use crate::guard::client::Guard;
use crate::guard::protocol::Event;
use crate::guard::{self, now_ns};

/// Between two looks while something is under way.
const SOON: Duration = Duration::from_millis(5);
/// Between two looks when all is well.
const CALM: Duration = Duration::from_millis(200);
/// After something failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
const GUARD_WITHIN: Duration = Duration::from_secs(5);
/// An heir says that it is ready so many times in a lease.
const READY_AGAIN: u32 = 4;
const READY_KEPT: usize = 4;
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
const NOBODY_SENDS: Duration = Duration::from_millis(500);

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
    pub(super) memory: Memory,
    guard: Option<(Guard, guard::client::Events)>,
    postgres: Option<(Database, Postgres)>,
    /// What was said of readiness last, the newest at the end: a grant may answer one before it.
    ready: Vec<Ready>,
    pub(super) rested: Option<Rested>,
    level: Level,
    told: Option<(InstanceReport, Instant)>,
    problem: Option<String>,
    /// While it is primary.
    prober: Option<Prober>,
    /// Since when it was granted the lease, and only failed to begin.
    cannot_begin: Option<(Epoch, Instant)>,
    /// Where it waits for what it lacks, and since when it has not moved.
    stuck: Option<((Epoch, Option<Position>), Instant)>,
    pub(super) following: Following,
    pub(super) weighed: Weighed,
    pub(super) anew: Anew,
    pub(super) released: Released,
    pub(super) branches: Branches,
    /// The newest timeline of its log.
    branch: Option<Branch>,
    /// When the slots and roles of a primary were last seen to.
    pub(super) tended: Option<Instant>,
    /// Why its users are not as wished yet; none: they are.
    pub(super) users_wanting: Option<String>,
    board: Arc<Board>,
    promises: Arc<Promises>,
    credentials: Credentials,
}

impl Keeper {
    pub(super) fn new(service: ServiceName, settings: Settings, controllers: Controllers) -> Keeper {
        let Settings { host, credentials, agent, data_dir, guard_program, watchdog, board, promises, .. } =
            settings;
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
            memory: Memory::default(),
            guard: None,
            postgres: None,
            ready: Vec::new(),
            rested: None,
            level: Level::new(&folder),
            told: None,
            problem: None,
            prober: None,
            cannot_begin: None,
            stuck: None,
            following: Following::default(),
            weighed: Weighed::default(),
            anew,
            released,
            branches,
            branch: None,
            tended: None,
            users_wanting: None,
            board,
            promises,
            credentials,
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
            let goal = goals.borrow_and_update().clone();
            let began = Instant::now();
            let pause = match self.step(&goal, &mut goals).await {
                Ok(pause) => pause,
                Err(why) => {
                    if self.problem.as_ref() != Some(&why) {
                        tracing::warn!(why, "the database cannot be kept as wished");
                    }
                    self.give_up(&goal, &why, began, GIVE_UP_AFTER).await;
                    self.problem = Some(why);
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
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One that was granted the lease and cannot begin does not keep it from the others for ever.
    async fn give_up(&mut self, goal: &DatabaseGoal, why: &str, began: Instant, after: Duration) {
        let writes = InstanceRole::Primary { epoch: goal.epoch };
        let is_wanted = matches!(goal.role, DatabaseRole::Primary { .. })
            && self.told.as_ref().is_none_or(|(told, _)| told.role != writes);
        let since = match self.cannot_begin {
            Some((epoch, since)) if is_wanted && epoch == goal.epoch => since,
            _ => began,
        };
        self.cannot_begin = is_wanted.then_some((goal.epoch, since));
        if !is_wanted || since.elapsed() < after {
            return;
        }
        let why = format!("it could not become the primary: {why}");
        let release = Release { epoch: goal.epoch, clean: None, last_known: None, unwritten: false, why };
        let given_back = async {
            let (guard, postgres) = (self.guard().await?, self.postgres(goal).await?);
            self.give_back(&guard, &postgres, release).await
        };
        match given_back.await {
            Ok(()) => self.cannot_begin = None,
            Err(error) => tracing::warn!(error, "the lease could not be given back"),
        }
    }

    /// Whoever would send it has ended, what has come is on the disk, and nothing of that is left to be read.
    fn is_stuck(&mut self, goal: &DatabaseGoal, look: &Look) -> bool {
        let Process::Replica { position, streaming: false, .. } = look.seen.process else {
            self.stuck = None;
            return false;
        };
        let now = (goal.epoch, position);
        let since = match self.stuck {
            Some((before, since)) if before == now => since,
            _ => Instant::now(),
        };
        self.stuck = Some((now, since));
        since.elapsed() >= NOBODY_SENDS
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
        self.want_lease(goal, released.is_some());
        if let Some(release) = &released {
            self.teller.release(release.clone());
        }
        let status = guard.status().await.map_err(|error| {
            self.guard = None;
            error.to_string()
        })?;
        let armed = status.running.as_ref().and_then(|running| running.lease);
        // S1: renewals reach the guard that counts, also after this process was started anew.
        self.lease.arm(armed.is_some().then(|| guard.clone()));
        self.lease.ask_peers(&self.host, &self.credentials, goal);
        let is_armed = armed.is_some_and(|lease| lease.epoch == goal.epoch.0);
        // S1: what was promised in failsafe mode is kept, whoever leads by now.
        let failsafe = goal.wished.failsafe.then_some(goal.wished.lease.ttl);
        let is_bound = !is_armed && self.promises.forbids(&self.service, goal.epoch, failsafe);
        let left = self.lease.held(goal.epoch).map(|held| held.left());
        // What begins with a lease that is nearly over is killed in the midst of it.
        let needed = match is_armed {
            true => Duration::ZERO,
            false => goal.wished.lease.ttl / 4,
        };
        let leased = left.is_some_and(|left| left > needed) && !is_bound;
        let health = self.prober.as_ref().map(|prober| prober.health(goal.wished.lease.ttl));
        let dead = match &health {
            Some(Health::Dead { why }) => Some(why.clone()),
            _ => None,
        };
        let released = released.is_some();
        let (connection, memory) = (&mut self.connection, &self.memory);
        let mut look = see::look(&postgres, connection, &status, memory, leased, released, dead).await;
        if let Some(Health::Held { why }) = health {
            look.problem = look.problem.or(Some(why));
        }
        let is_primary = look.seen.process == Process::Primary && leased;
        match (is_primary, &self.prober) {
            (true, None) => self.prober = Some(Prober::start(postgres.clone())),
            (false, Some(_)) if status.running.is_none() => self.prober = None,
            _ => {}
        }
        (self.branch, look.seen.kin) = self.branches.of(&postgres, goal, &look).await?;
        self.note(goal, &look);
        let commits = self.weigh_alone(goal, &look);
        look.seen.parted = self.following.parted;
        look.seen.suspect = self.following.is_suspect(&look.seen.process);
        let mut next = keep::next(&goal.role, goal.epoch, goal.system.as_deref(), &look.seen);
        if let (Action::Rewind { of }, true) = (&next, self.following.must_copy) {
            next = Action::Clone { of: of.clone() };
        }
        if self.anew.is_wished(goal.reinit).await {
            next = keep::anew(&goal.role, &look.seen, next);
        }
        if next == Action::Settled {
            self.settle(goal, &postgres, &look).await?;
            // What hindered it in another role counts no more.
            self.problem = None;
        }
        self.tell(goal, &look, &next);
        // A primary that runs before its lease was renewed by this process is armed already; without a
        // lease of its own here it would be killed, though the guard counts one.
        if next == Action::Kill("it holds no lease") && armed.is_some_and(|lease| lease.epoch == goal.epoch.0)
        {
            next = Action::Wait("for the lease to be renewed");
        }
        let pause = match &next {
            Action::Rest => {
                self.problem = None;
                if look.seen.process == Process::Primary
                    && let Err(why) = self.anew.is_done(goal.reinit).await
                {
                    tracing::warn!(why, "it may be copied once more when it is a replica again");
                }
                let tended = async {
                    // What hinders the one does not hinder the other.
                    let settled = self.settle_commits(goal, &postgres, &look, commits).await;
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
                if *what == keep::ALL {
                    let why = "it waits for what was acknowledged and it does not have";
                    let after = if self.is_stuck(goal, &look) { Duration::ZERO } else { GIVE_UP_AFTER };
                    self.give_up(goal, why, Instant::now(), after).await;
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
                tokio::select! {
                    biased;
                    done = self.perform(goal, &guard, &postgres, &look, action) => done?,
                    // What was wished has changed; whatever was begun can be begun again.
                    () = is_overtaken(goals, goal) => tracing::info!(?action, "given up for a newer goal"),
                }
                self.problem = None;
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
            self.weighed = Weighed::default();
        }
        self.postgres = Some((goal.wished.clone(), postgres.clone()));
        Ok(postgres)
    }

    /// The lease is kept as long as the goal grants it, and not by whoever ends at once.
    fn want_lease(&self, goal: &DatabaseGoal, released: bool) {
        let wanted = match &goal.role {
            _ if released => None,
            DatabaseRole::Primary { ready, .. } => {
                let told = self.ready.iter().find(|mine| Some(mine.id) == *ready);
                Some(Wanted {
                    epoch: goal.epoch,
                    timings: goal.wished.lease,
                    ready_ns: told.map(|mine| mine.since_ns),
                })
            }
            DatabaseRole::Yield { to: Some(_) } => {
                Some(Wanted { epoch: goal.epoch, timings: goal.wished.lease, ready_ns: None })
            }
            DatabaseRole::Yield { to: None } | DatabaseRole::Replica { .. } | DatabaseRole::Rest => None,
        };
        self.lease.want(wanted);
    }

    fn note(&mut self, goal: &DatabaseGoal, look: &Look) {
        self.following.note(goal, look);
        if look.seen.process == Process::None {
            self.memory.follows = None;
        }
        let Some(observed) = &look.observed else { return };
        self.lease.note(see::position(observed).filter(|_| !observed.in_recovery));
        let (end, silent) = see::upstream(observed);
        let is_level = end.zip(see::position(observed)).is_some_and(|(end, has)| has.lsn >= end.lsn);
        match silent {
            _ if !observed.in_recovery => self.level.note(Duration::ZERO),
            Some(silent) if is_level => self.level.note(silent),
            _ => {}
        }
    }

    fn tell(&mut self, goal: &DatabaseGoal, look: &Look, next: &Action) {
        let is_ready = match &goal.role {
            DatabaseRole::Rest => self.rested.is_some_and(|rested| rested.epoch == goal.epoch),
            _ => report::is_heir(goal) && report::follows_closely(look),
        };
        // A first lease that counts from long ago is over before it is of use.
        let again = goal.wished.lease.ttl / READY_AGAIN;
        let is_old = |ready: &Ready| ready.age() > again && report::is_heir(goal);
        if is_ready && self.ready.last().is_none_or(|ready| ready.epoch != goal.epoch || is_old(ready)) {
            // Before it is said, and never the same twice: see `Ownership::ready`.
            let id = self.host.random.next_u64();
            self.ready.push(Ready { epoch: goal.epoch, id, since_ns: now_ns() });
            self.ready.drain(..self.ready.len().saturating_sub(READY_KEPT));
        }
        let facts = Facts {
            goal,
            look,
            next,
            ready: self.ready.last().copied(),
            rested: self.rested,
            silent: self.level.ago(),
            branch: self.branch,
            alone: self.weighed.word,
            problem: (look.problem.as_ref().or(self.problem.as_ref()))
                .or(self.following.problem.as_ref())
                .cloned()
                .or_else(|| report::without_failsafe(goal)),
        };
        let mut report = report::report(&facts);
        let was = self.told.as_ref().map(|(told, _)| told.role);
        // A server too busy to be asked is what it was: the guard would have said that it ended.
        let held = InstanceRole::Primary { epoch: goal.epoch };
        if report.role == InstanceRole::Starting && look.seen.leased && was == Some(held) {
            report.role = held;
        }
        self.board.send_if_modified(|shown| {
            let is_new = shown.get(&self.service) != Some(&report);
            if is_new {
                shown.insert(self.service.clone(), report.clone());
            }
            is_new
        });
        if report::is_news(self.told.as_ref(), &report) {
            self.told = Some((report.clone(), Instant::now()));
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
