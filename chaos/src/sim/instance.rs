//! What an agent does for the database of its region: the agent's own rules ([`Reconciler`]), with what carries them
//! out modelled; and the guard, which outlives the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use decision::command::Command;
use decision::database::alone::Commits;
use decision::database::branch::{self, Kinship, Mark};
use decision::database::deadline::{Deadline, Lease};
use decision::database::freshness::{Freshness, Reply};
use decision::database::guard::{Guard, Watchdog};
use decision::database::health::{self, Health, Probe};
use decision::database::keep::{self, Action, Ended, Files as Seeing, Process as SeenProcess, Seen};
use decision::database::lease::{Held, Wanted};
use decision::database::look::{Look, Server};
use decision::database::promise::{self, Promises};
use decision::database::reconciler::{Beside, Reconciler, is_leased, unless_armed};
use decision::database::report::Release;
use decision::database::{InstanceReport, Position};
use decision::goal::DatabaseGoal;
use decision::lsn::Lsn;
use decision::name::{AgentId, RegionName, ServiceName};
use decision::plan::Epoch;
use decision::time::Uptime;

use super::ambush::Phase;
use super::ground::{Ground, Machine};
use super::message::{Answer, Asked, Message};
use super::planted::Around;
use super::postgres::{Files, Postgres, Process, Sync, Told, first_log};
use super::timer::{OfGuard, OfInstance, Timer};
use super::wal::Log;

/// As the agent has them, but that what is under way is looked at less often.
const SOON: Duration = Duration::from_millis(20);
const CALM: Duration = Duration::from_millis(200);
const AFTER_FAILURE: Duration = Duration::from_millis(500);
const ASKED_EVERY: Duration = Duration::from_millis(500);
/// How long an agent waits for its server, with what it adds for the way.
const CALL_WITHIN: Duration = Duration::from_millis(2_250);
/// Between two looks at a promotion, and how long one may take that replays nothing.
const PROMOTES_WITHIN: Duration = Duration::from_millis(150);
const HANGS_AFTER: Duration = Duration::from_millis(5_500);
const TELL_AGAIN: Duration = Duration::from_millis(250);
/// Longest that killing takes: less than any fence budget.
const KILLS_WITHIN: Duration = Duration::from_millis(20);

/// The data machines, by region.
pub type Places = BTreeMap<RegionName, Machine>;

pub struct Instance {
    pub service: ServiceName,
    own: AgentId,
    machine: Machine,
    controllers: Vec<Machine>,
    pub goal: Option<Rc<DatabaseGoal>>,
    rules: Reconciler,
    wanted: Option<Wanted>,
    held: Option<Held>,
    /// Of the renewals that follow each other.
    chain: u64,
    /// What was asked and not answered yet: when each renewal was sent.
    renewals: BTreeMap<u64, Uptime>,
    /// Who has promised to this renewal, and when they were asked.
    promised: BTreeMap<u64, (Uptime, BTreeSet<Machine>)>,
    pub promises: Promises,
    looks: u64,
    doing: Option<(u64, Action)>,
    done: u64,
    /// Since when the promotion is under way that is waited for.
    promotes_since: Option<Uptime>,
    /// Until when it waits for its server to answer.
    hangs_until: Option<Uptime>,
    /// When a probe of its primary, which goes on beside the looks, was last answered.
    probed: Option<Uptime>,
    untold_report: Option<(u64, Rc<Command>)>,
    untold_release: Option<(u64, Rc<Command>)>,
    /// By this process.
    told_release: Option<Epoch>,
    calls: u64,
    waits_from: Option<Lsn>,
    /// When its server's primary was last asked how far it reaches, and what it answered since the last look.
    asked: Option<Uptime>,
    pub replies: Vec<Reply>,
    pub disk: Disk,
    pub guard: GuardState,
}

/// What the agent keeps on its disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub marks: Vec<Mark>,
    released: Option<Release>,
    /// The newest epoch for which anything was promised.
    promised: Option<Epoch>,
    anew: u64,
}

/// The guard: what it counts, and how the last server that took writes ended.
#[derive(Clone, Debug, Default)]
pub struct GuardState {
    deadline: Deadline,
    ended: Option<Ended>,
    is_killing: bool,
    rings: bool,
}

impl Instance {
    pub fn new(service: ServiceName, own: AgentId, machine: Machine, controllers: Vec<Machine>) -> Instance {
        Instance {
            rules: Reconciler::new(own.region.clone(), Freshness::default()),
            service,
            own,
            machine,
            controllers,
            goal: None,
            wanted: None,
            held: None,
            chain: 0,
            renewals: BTreeMap::new(),
            promised: BTreeMap::new(),
            promises: Promises::new(Uptime::default()),
            looks: 0,
            doing: None,
            done: 0,
            promotes_since: None,
            hangs_until: None,
            probed: None,
            untold_report: None,
            untold_release: None,
            told_release: None,
            calls: 0,
            waits_from: None,
            asked: None,
            replies: Vec::new(),
            disk: Disk::default(),
            guard: GuardState::default(),
        }
    }

    /// The agent ends and begins anew. `is_machine`: its guard and its clock, too.
    pub fn restarts(&mut self, is_machine: bool, ground: &Ground) {
        let freshness = if is_machine { Freshness::default() } else { self.rules.freshness().clone() };
        let (mut disk, calls) = (self.disk.clone(), self.calls);
        if ground.has(Around::ForgetsReleased) {
            disk.released = None;
        }
        let guard = if is_machine { GuardState::default() } else { self.guard.clone() };
        let (service, own, controllers) = (self.service.clone(), self.own.clone(), self.controllers.clone());
        let promises = Promises::new(ground.uptime(self.machine));
        let rules = Reconciler::new(own.region.clone(), freshness);
        let (looks, done, chain) = (self.looks, self.done, self.chain);
        let new = Instance::new(service, own, self.machine, controllers);
        *self = Instance { disk, guard, rules, promises, calls, looks, done, chain, ..new };
    }

    fn ring(&self, after: Duration, timer: OfInstance, ground: &mut Ground) {
        ground.ring(self.machine, after, Timer::Instance(timer));
    }

    fn looks_in(&mut self, after: Duration, ground: &mut Ground) {
        self.looks += 1;
        self.ring(after, OfInstance::Look { number: self.looks }, ground);
    }

    /// A goal that a controller gave. S2: what came late is not gone back to.
    pub fn is_told(&mut self, goal: Option<&DatabaseGoal>, ground: &mut Ground) {
        let Some(goal) = goal else {
            self.goal = None;
            return;
        };
        let before = self.goal.as_ref();
        if before.is_some_and(|before| goal.epoch < before.epoch || **before == *goal) {
            return;
        }
        let is_overtaken = before.is_none_or(|before| before.role != goal.role || before.epoch != goal.epoch);
        if before.is_some_and(|before| before.wished != goal.wished) {
            self.rules.weighs_anew();
            self.waits_from = None;
        }
        if is_overtaken {
            self.doing = None;
        }
        self.goal = Some(Rc::new(goal.clone()));
        self.looks_in(Duration::ZERO, ground);
    }

    pub fn rings(&mut self, timer: OfInstance, all: &mut [Postgres], places: &Places, ground: &mut Ground) {
        match timer {
            OfInstance::Look { number } if number == self.looks => self.steps(all, places, ground),
            OfInstance::Did { number } => self.did(number, all, places, ground),
            OfInstance::Renew { epoch, number } => self.renews(epoch, number, all, ground),
            OfInstance::Unrenewed { renewal } => self.asks_for_promises(renewal, places, ground),
            OfInstance::TellAgain { number } => self.tells(number, ground),
            OfInstance::Look { .. } => {}
        }
    }

    /// One look and at most one action.
    fn steps(&mut self, all: &mut [Postgres], places: &Places, ground: &mut Ground) {
        let Some(goal) = self.goal.clone() else { return };
        if self.doing.is_some() {
            return;
        }
        let postgres = own(all, self.machine);
        let now = ground.uptime(self.machine);
        if self.is_kept_waiting(postgres, now, ground) {
            return;
        }
        let released = self.disk.released.clone().filter(|release| release.epoch == goal.epoch);
        self.wants(self.rules.wants(&goal, released.is_some()), ground);
        if let Some(release) = &released {
            self.tells_release(release.clone(), ground);
        }
        if goal.history_is_whole {
            branch::learn(&mut self.disk.marks, goal.epoch, &goal.history);
        }
        let armed = self.guard.deadline.armed();
        let is_armed = armed.is_some_and(|lease| lease.epoch == goal.epoch.0);
        let failsafe = goal.wished.failsafe.then_some(goal.wished.lease.ttl);
        let is_bound = self.promises.forbids(&self.service, goal.epoch, failsafe, now);
        let left = self.lease(goal.epoch, now).map(|held| held.left(now));
        let leased = is_leased(left, is_armed, is_bound, goal.wished.lease.ttl);
        let mut look = self.look(postgres, &goal, leased, released.is_some(), ground);
        let number = ground.chance.next();
        let commits = self.rules.note(&goal, &look, number, now);
        self.asks_primary(postgres, now, ground);
        if !Reconciler::weighs(&goal, &look) {
            self.waits_from = None;
        }
        let is_anew = goal.reinit > self.disk.anew;
        let next = self.rules.next(&goal, &mut look, is_anew, now);
        if next == Action::Settled {
            if self.rules.rested(goal.epoch).is_none() {
                let position = match &look.server {
                    Some(server) => server.position,
                    None => match &look.seen.files {
                        Seeing::Present { clean, .. } => *clean,
                        _ => None,
                    },
                };
                self.rules.rests(goal.epoch, position);
            }
            self.rules.is_hindered_no_more();
        }
        let timeline = postgres.log().map(Log::timeline);
        let newest = timeline.and_then(|timeline| branch::newest(&self.disk.marks, timeline));
        let promised = self.promises.end(&goal, self.disk.promised);
        let marked = self.disk.marks.last().map(|mark| mark.epoch);
        let beside = Beside { next: &next, branch: newest, marked, promised, number };
        let (report, is_news) = self.rules.tell(&goal, &look, beside, now);
        if is_news {
            self.tells_report(report, ground);
        }
        match unless_armed(next, is_armed) {
            Action::Rest => {
                self.rules.is_hindered_no_more();
                if look.seen.process == SeenProcess::Primary {
                    self.disk.anew = self.disk.anew.max(goal.reinit);
                    self.settles_commits(&goal, commits, postgres, ground);
                    postgres.is_tended(goal.epoch, ground);
                }
                self.looks_in(CALM, ground);
            }
            Action::Settled => self.looks_in(CALM, ground),
            Action::Wait(what) => {
                let release =
                    (what == keep::ALL).then(|| self.rules.waits_for_all(&goal, &look, now)).flatten();
                if let Some(release) = release {
                    self.gives_back(release, postgres, ground);
                    self.rules.gave_up();
                }
                self.looks_in(SOON, ground);
            }
            Action::Lease => self.looks_in(CALM, ground),
            Action::Problem(why) => self.fails(&goal, &why, now, all, ground),
            action => {
                let began = self.begins(&goal, &look, action, all, places, ground);
                match began {
                    Ok(()) if self.doing.is_none() => self.looks_in(Duration::from_millis(1), ground),
                    Ok(()) => {}
                    Err(why) => self.fails(&goal, &why, now, all, ground),
                }
            }
        }
    }

    fn fails(
        &mut self,
        goal: &DatabaseGoal,
        why: &str,
        began: Uptime,
        all: &mut [Postgres],
        ground: &mut Ground,
    ) {
        let now = ground.uptime(self.machine);
        if let Some(release) = self.rules.fails(goal, why, began, now) {
            self.gives_back(release, own(all, self.machine), ground);
            self.rules.gave_up();
        }
        if self.rules.is_hindered(why) {
            let own = &self.own;
            ground.trace.line(ground.queue.now(), || format!("the database of {own}: {why}"));
        }
        self.looks_in(AFTER_FAILURE, ground);
    }

    /// For an answer that does not come; and it does nothing else meanwhile.
    fn is_kept_waiting(&mut self, postgres: &Postgres, now: Uptime, ground: &mut Ground) -> bool {
        let until = match self.hangs_until.take() {
            Some(until) => until,
            None if hangs(postgres, ground) => now + CALL_WITHIN,
            None => return false,
        };
        if until <= now {
            return false;
        }
        self.hangs_until = Some(until);
        self.looks_in(until.since(now), ground);
        true
    }

    /// Why it must be ended: its primary was not seen to write for too long.
    fn is_dead(&mut self, process: &SeenProcess, goal: &DatabaseGoal, now: Uptime) -> Option<String> {
        match process {
            SeenProcess::Primary => self.probed = Some(now),
            SeenProcess::Starting => {}
            _ => self.probed = None,
        }
        let stalled = Probe::Stalled { why: "it does not answer".into() };
        match health::judge(&stalled, now.since(self.probed?), goal.wished.lease.ttl) {
            Health::Dead { why } => Some(why),
            _ => None,
        }
    }

    fn look(
        &mut self,
        postgres: &Postgres,
        goal: &DatabaseGoal,
        leased: bool,
        released: bool,
        ground: &Ground,
    ) -> Look {
        let position = postgres.log().map(|log| Position { timeline: log.timeline(), lsn: Lsn(log.end) });
        let follows = self.rules.follows().cloned().flatten();
        let (process, server) = match &postgres.process {
            Process::None => (SeenProcess::None, None),
            _ if self.guard.is_killing => (SeenProcess::Stopping, None),
            _ if hangs(postgres, ground) => (SeenProcess::Starting, None),
            Process::Starting { .. } => (SeenProcess::Starting, None),
            Process::Replica(_) if postgres.lacks() => (SeenProcess::Starting, None),
            Process::Primary(primary) if primary.is_ending => (SeenProcess::Stopping, None),
            Process::Primary(_) => {
                let server = Server {
                    in_recovery: false,
                    position,
                    streams: false,
                    received: None,
                    upstream: None,
                    followers: postgres.followers(),
                };
                (SeenProcess::Primary, Some(server))
            }
            Process::Replica(replica) => {
                let upstream = replica.upstream.zip(position);
                let server = Server {
                    in_recovery: true,
                    position,
                    streams: replica.streams,
                    received: position.map(|position| position.lsn),
                    upstream: upstream.map(|(end, has)| Position { lsn: Lsn(end), ..has }),
                    followers: Vec::new(),
                };
                (SeenProcess::Replica { of: follows, position, streaming: replica.streams }, Some(server))
            }
        };
        let files = match &postgres.files {
            Files::Absent => Seeing::Absent,
            Files::Broken => Seeing::Broken { why: "a copy that was not finished".into() },
            Files::Present(data) => Seeing::Present {
                system: "7".into(),
                standby: data.is_standby,
                clean: postgres.clean().filter(|_| process == SeenProcess::None),
            },
        };
        let timeline = postgres.log().map(Log::timeline);
        let followers =
            server.iter().flat_map(|server| server.followers.iter().map(|(name, _)| name.clone()));
        let dead = self.is_dead(&process, goal, ground.uptime(self.machine));
        let seen = Seen {
            files,
            process,
            leased,
            ended: self.guard.ended.filter(|_| matches!(postgres.process, Process::None)),
            dead,
            kin: timeline.map_or(Kinship::Kin, |timeline| {
                branch::kinship_of(&self.disk.marks, timeline, &goal.history, goal.history_is_whole)
            }),
            was_told: false,
            released,
            parted: false,
            suspect: false,
            misled: false,
            followers: followers.collect(),
        };
        let guard = Guard {
            armed: self.guard.deadline.armed().map(|lease| Epoch(lease.epoch)),
            backstop: true,
            watchdog: Watchdog::Absent,
        };
        Look { seen, server, guard, replies: std::mem::take(&mut self.replies), problem: None }
    }

    // What it does.

    fn begins(
        &mut self,
        goal: &DatabaseGoal,
        look: &Look,
        action: Action,
        all: &mut [Postgres],
        places: &Places,
        ground: &mut Ground,
    ) -> Result<(), String> {
        let own_name = self.own.clone();
        ground.trace.line(ground.queue.now(), || format!("{own_name} at epoch {}: {action:?}", goal.epoch));
        let now = ground.uptime(self.machine);
        let chance = |ground: &Ground, from: u64, to: u64| {
            ground.chance.between(Duration::from_millis(from), Duration::from_millis(to))
        };
        let timeline = own(all, self.machine).log().map_or(0, Log::timeline);
        let sync = self.sync(goal);
        match &action {
            Action::Rest | Action::Wait(_) | Action::Settled | Action::Lease | Action::Problem(_) => {}
            Action::StartPrimary => {
                if self.disk.marks.is_empty() {
                    branch::mark(&mut self.disk.marks, goal.epoch, timeline.saturating_sub(1));
                }
                self.arms(goal.epoch, now, ground)?;
                own(all, self.machine).starts(false, None, goal.epoch, sync, ground);
            }
            Action::StartReplica { of } => {
                if self.rules.following.may_start_in(now).is_some() {
                    return Err("it ended before it answered; it is started again soon".into());
                }
                if of.is_some() {
                    branch::mark(&mut self.disk.marks, goal.epoch, timeline);
                }
                let told = told(of.as_ref(), goal.epoch, places);
                own(all, self.machine).starts(true, told, goal.epoch, sync, ground);
                self.rules.is_told(of.as_ref(), goal.epoch);
                self.rules.following.is_started(now);
            }
            Action::Promote => {
                ground.phases.push(Phase::Promotes);
                if !ground.has(Around::PromotesUnguarded) {
                    self.arms(goal.epoch, now, ground)?;
                }
                branch::mark(&mut self.disk.marks, goal.epoch, timeline);
                let done = own(all, self.machine).is_promoted(goal.epoch, sync, ground);
                self.notices(own(all, self.machine), ground);
                done?;
                self.is_answered_by_server(now, ground)?;
                self.promotes_since = Some(now);
                self.does(action, chance(ground, 120, 150), ground);
            }
            Action::Follow { of } => {
                if of.is_some() {
                    branch::mark(&mut self.disk.marks, goal.epoch, timeline);
                }
                self.rules.is_being_told();
                own(all, self.machine).follows(told(of.as_ref(), goal.epoch, places), ground);
                if let (SeenProcess::Starting, Some(of)) = (&look.seen.process, of) {
                    self.rules.is_retold(of, goal.epoch);
                    return Ok(());
                }
                self.is_answered_by_server(now, ground)?;
                self.rules.is_told(of.as_ref(), goal.epoch);
            }
            Action::Stop => {
                self.rules.following.is_stopped();
                own(all, self.machine).is_stopped(ground);
            }
            Action::Kill(_) => {
                self.rules.following.is_stopped();
                self.kills(own(all, self.machine), ground);
            }
            Action::Release { clean, why } => {
                let last_known = look.server.as_ref().and_then(|server| server.position);
                let release = Release {
                    epoch: goal.epoch,
                    clean: *clean,
                    last_known,
                    unwritten: false,
                    why: why.clone(),
                };
                self.gives_back(release, own(all, self.machine), ground);
            }
            Action::Rewind { of } | Action::Clone { of } => {
                ground.phases.push(Phase::Copies);
                let is_copy = matches!(action, Action::Clone { .. });
                self.source(of, all, places, ground).ok_or("whom it is to be made from cannot be reached")?;
                if is_copy {
                    own(all, self.machine).files = Files::Broken;
                }
                let takes = if is_copy { chance(ground, 1_000, 8_000) } else { chance(ground, 200, 2_000) };
                self.does(action, takes, ground);
            }
            Action::Create => self.does(action, chance(ground, 300, 1_500), ground),
            Action::ShutDown { .. } => {
                ground.phases.push(Phase::Yields);
                self.does(action, chance(ground, 5, 80), ground);
            }
            Action::LookInto { .. } => self.does(action, chance(ground, 20, 200), ground),
        }
        Ok(())
    }

    /// Of what it has done by now.
    fn is_answered_by_server(&mut self, now: Uptime, ground: &Ground) -> Result<(), String> {
        if ground.hosts[self.machine].lost_answers == 0 {
            return Ok(());
        }
        self.hangs_until = Some(now + CALL_WITHIN);
        Err("it did not answer in time".into())
    }

    fn does(&mut self, action: Action, takes: Duration, ground: &mut Ground) {
        self.done += 1;
        self.doing = Some((self.done, action));
        self.ring(takes, OfInstance::Did { number: self.done }, ground);
    }

    fn did(&mut self, number: u64, all: &mut [Postgres], places: &Places, ground: &mut Ground) {
        let Some((_, action)) = self.doing.take_if(|(doing, _)| *doing == number) else { return };
        let Some(goal) = self.goal.clone() else { return };
        let now = ground.uptime(self.machine);
        let failed = match action {
            Action::Create => {
                let log = first_log(&mut ground.history);
                own(all, self.machine).is_made(log, false);
                self.is_copy(&goal);
                None
            }
            Action::ShutDown { .. } => {
                self.rules.following.is_stopped();
                own(all, self.machine).is_stopped(ground);
                None
            }
            Action::LookInto { of } => {
                let found = match self.source(&of, all, places, ground) {
                    None => Err("it does not answer".to_owned()),
                    Some(source) => match own(all, self.machine).log().map(|log| log.may_follow(&source)) {
                        Some(Err(why)) => Ok(Some(format!("{why:?}"))),
                        _ => Err("nothing is known against it".to_owned()),
                    },
                };
                self.rules.following.was_looked_into(found, now);
                None
            }
            Action::Clone { of } => match self.source(&of, all, places, ground) {
                Some(log) => {
                    own(all, self.machine).is_made(log, true);
                    self.is_copy(&goal);
                    self.rules.following.begins_anew();
                    self.disk.anew = self.disk.anew.max(goal.reinit);
                    None
                }
                None => Some("the copy broke off"),
            },
            Action::Rewind { of } => match self.source(&of, all, places, ground) {
                Some(log) => {
                    if let Files::Present(data) = &mut own(all, self.machine).files {
                        let is_needed = data.log.may_follow(&log).is_err();
                        data.is_standby = true;
                        if is_needed {
                            data.log.cut(data.log.common(&log));
                            data.log.takes(&log, log.end);
                            (data.slots, data.lacks) = (None, true);
                            self.is_copy(&goal);
                        }
                    }
                    self.rules.following.begins_anew();
                    None
                }
                None => Some("the rewind broke off"),
            },
            Action::Promote if own(all, self.machine).replica().is_some() => {
                let since = self.promotes_since.unwrap_or(now);
                if now.since(since) < HANGS_AFTER {
                    return self.does(action, PROMOTES_WITHIN, ground);
                }
                return self.fails(&goal, "its promotion hangs", since, all, ground);
            }
            _ => None,
        };
        match failed {
            Some(why) => self.fails(&goal, why, now, all, ground),
            None => {
                self.rules.is_hindered_no_more();
                self.looks_in(Duration::ZERO, ground);
            }
        }
    }

    fn is_copy(&mut self, goal: &DatabaseGoal) {
        self.disk.marks = branch::of_copy(&goal.history, goal.epoch);
    }

    /// The log of a primary that can be reached, as it is now.
    fn source(&self, of: &RegionName, all: &[Postgres], places: &Places, ground: &Ground) -> Option<Log> {
        let machine = *places.get(of)?;
        let host = &ground.hosts[machine];
        let is_there =
            host.is_up() && host.pauses == 0 && ground.net.is_open_both_ways(self.machine, machine);
        let source = all.iter().find(|postgres| postgres.machine == machine).filter(|_| is_there)?;
        source.primary()?;
        source.log().cloned()
    }

    fn sync(&self, goal: &DatabaseGoal) -> Sync {
        if self.rules.goes_alone() {
            return Sync::default();
        }
        let others = goal.wished.instances.keys().filter(|name| **name != self.own.region);
        Sync { acks: usize::from(goal.wished.mode.acks()), names: others.cloned().collect() }
    }

    /// S3: commits do what was agreed, and nothing is told of it before it is so.
    fn settles_commits(
        &mut self,
        goal: &DatabaseGoal,
        commits: Commits,
        postgres: &mut Postgres,
        ground: &mut Ground,
    ) {
        let sync = self.sync(goal);
        let end = postgres.log().map(|log| Lsn(log.end));
        let Some(primary) = postgres.primary_mut() else { return };
        if primary.sync != sync {
            primary.sync = sync;
            self.waits_from = None;
            return postgres.acknowledges(ground);
        }
        match (commits, self.waits_from.take(), end) {
            (Commits::AsTheyAre, ..) | (_, _, None) => {}
            (Commits::Wait, None, end) => self.waits_from = end,
            (Commits::Wait, Some(_), Some(end)) => self.rules.commits_wait(end),
        }
    }

    // The guard.

    fn arms(&mut self, epoch: Epoch, now: Uptime, ground: &mut Ground) -> Result<(), String> {
        let held = self.lease(epoch, now).ok_or("the lease is over")?;
        self.guard_takes(held.for_guard(), ground).map_err(|refused| refused.to_string())
    }

    fn guard_takes(
        &mut self,
        lease: Lease,
        ground: &mut Ground,
    ) -> Result<(), decision::database::deadline::Refused> {
        let now = ground.uptime(self.machine);
        self.guard.deadline.arm(lease, now.0)?;
        if !std::mem::replace(&mut self.guard.rings, true) {
            let after = Uptime(lease.deadline_ns).since(now);
            ground.ring(self.machine, after, Timer::Guard(OfGuard::Deadline));
        }
        Ok(())
    }

    pub fn guard_rings(&mut self, timer: &OfGuard, postgres: &mut Postgres, ground: &mut Ground) {
        match timer {
            OfGuard::Deadline => {
                self.guard.rings = false;
                let now = ground.uptime(self.machine);
                if self.guard.deadline.is_due(now.0) {
                    let own = &self.own;
                    ground.trace.line(ground.queue.now(), || format!("the guard of {own} kills"));
                    self.kills(postgres, ground);
                } else if let Some(lease) = self.guard.deadline.armed() {
                    self.guard.rings = true;
                    let left = Uptime(lease.deadline_ns).since(now);
                    // Only a guard with a bug finds nothing due then.
                    let after = if left.is_zero() { CALM } else { left };
                    ground.ring(self.machine, after, Timer::Guard(OfGuard::Deadline));
                }
            }
            OfGuard::Gone { run } if *run == postgres.run && self.guard.is_killing => {
                self.is_gone(true, postgres, ground);
            }
            // It ended otherwise meanwhile.
            OfGuard::Gone { .. } => self.guard.is_killing = false,
        }
    }

    fn kills(&mut self, postgres: &mut Postgres, ground: &mut Ground) {
        if !std::mem::replace(&mut self.guard.is_killing, true) {
            let takes = ground.chance.between(Duration::from_micros(200), KILLS_WITHIN);
            ground.ring(self.machine, takes, Timer::Guard(OfGuard::Gone { run: postgres.run }));
        }
    }

    /// Every process of it has ended: by the guard, or by itself.
    pub fn is_gone(&mut self, is_fenced: bool, postgres: &mut Postgres, ground: &mut Ground) {
        (self.guard.is_killing, self.hangs_until) = (false, None);
        postgres.is_killed(ground);
        let highest = self.guard.deadline.highest_epoch();
        self.guard.ended = highest.map(|epoch| Ended { epoch: Epoch(epoch), fenced: is_fenced });
        self.guard.deadline.ended();
        self.looks_in(Duration::ZERO, ground);
    }

    /// The server may have ended in order.
    pub fn notices(&mut self, postgres: &mut Postgres, ground: &mut Ground) {
        if matches!(postgres.process, Process::None) && self.guard.deadline.armed().is_some() {
            self.is_gone(!postgres.has_died(), postgres, ground);
        }
    }

    /// The machine went on after a pause: what is due comes first.
    pub fn guard_wakes(&mut self, postgres: &mut Postgres, ground: &mut Ground) {
        if self.guard.deadline.is_due(ground.uptime(self.machine).0) {
            self.is_gone(true, postgres, ground);
        }
    }

    /// S1: first nothing of it lives; then that is on disk; then it is told.
    fn gives_back(&mut self, mut release: Release, postgres: &mut Postgres, ground: &mut Ground) {
        ground.phases.push(if release.clean.is_some() { Phase::Released } else { Phase::GaveUp });
        self.rules.following.is_stopped();
        self.is_gone(true, postgres, ground);
        let timeline = postgres.log().map(Log::timeline);
        let newest = timeline.and_then(|timeline| branch::newest(&self.disk.marks, timeline));
        let is_standby = matches!(&postgres.files, Files::Present(data) if data.is_standby);
        release.unwritten = release.clean.is_none()
            && is_standby
            && newest.is_some_and(|branch| branch.epoch < release.epoch);
        self.wants(None, ground);
        self.disk.released = Some(release.clone());
        self.tells_release(release, ground);
    }

    fn asks_primary(&mut self, postgres: &Postgres, now: Uptime, ground: &mut Ground) {
        let Some(Told { of, .. }) = postgres.replica().and_then(|replica| replica.told) else { return };
        if self.asked.is_none_or(|asked| now.since(asked) >= ASKED_EVERY) {
            self.asked = Some(now);
            let asking = Box::new(super::postgres::Message::AskEnd { asked: now });
            ground.send(self.machine, of, Message::Postgres(asking));
        }
    }

    // The lease.

    fn lease(&self, epoch: Epoch, now: Uptime) -> Option<Held> {
        self.held.filter(|held| held.epoch == epoch && !held.left(now).is_zero())
    }

    fn wants(&mut self, wanted: Option<Wanted>, ground: &mut Ground) {
        if self.wanted == wanted {
            return;
        }
        self.wanted = wanted;
        if self.held.map(|held| held.epoch) != wanted.map(|wanted| wanted.epoch) {
            self.held = wanted.and_then(|wanted| wanted.first());
        }
        self.renewals.clear();
        self.promised.clear();
        if let Some(wanted) = wanted {
            self.chain += 1;
            self.ring(Duration::ZERO, OfInstance::Renew { epoch: wanted.epoch, number: self.chain }, ground);
        }
    }

    fn renews(&mut self, epoch: Epoch, number: u64, all: &mut [Postgres], ground: &mut Ground) {
        let Some(wanted) = self.wanted.filter(|wanted| wanted.epoch == epoch) else { return };
        if number != self.chain {
            return;
        }
        // The answers of older ones would come too late.
        if self.renewals.len() >= 8 {
            self.renewals.pop_first();
            self.promised.pop_first();
        }
        self.calls += 1;
        let renewal = self.calls;
        let now = ground.uptime(self.machine);
        self.renewals.insert(renewal, now);
        let postgres = own(all, self.machine);
        let position = postgres.primary().and(postgres.log());
        let position = position.map(|log| Position { timeline: log.timeline(), lsn: Lsn(log.end) });
        let (agent, service) = (self.own.clone(), self.service.clone());
        let asked = Rc::new(Asked::Renew { agent, service, epoch, position });
        for controller in &self.controllers {
            let message = Message::Call { call: renewal, asked: Rc::clone(&asked) };
            ground.send(self.machine, *controller, message);
        }
        if self.goal.as_ref().is_some_and(|goal| goal.wished.failsafe) {
            self.ring(wanted.timings.ttl / 4, OfInstance::Unrenewed { renewal }, ground);
        }
        self.ring(wanted.timings.renew_every, OfInstance::Renew { epoch, number }, ground);
    }

    fn granted(&mut self, sent: Uptime, ground: &mut Ground) {
        let Some(wanted) = self.wanted else { return };
        let sent = if ground.has(Around::CountsFromReceipt) { ground.uptime(self.machine) } else { sent };
        let held = wanted.granted(sent);
        if !held.is_after(self.held) {
            return;
        }
        self.held = Some(held);
        if self.guard.deadline.armed().is_some() {
            // It refuses what would move its deadline back, or revive what it has begun to end.
            let _ = self.guard_takes(held.for_guard(), ground);
        } else {
            self.looks_in(Duration::ZERO, ground);
        }
    }

    fn asks_for_promises(&mut self, renewal: u64, places: &Places, ground: &mut Ground) {
        let (Some(wanted), Some(goal)) = (self.wanted, &self.goal) else { return };
        if !self.renewals.contains_key(&renewal) {
            return;
        }
        let now = ground.uptime(self.machine);
        self.promised.insert(renewal, (now, BTreeSet::new()));
        let request = promise::Request {
            from: self.own.clone(),
            service: self.service.clone(),
            epoch: wanted.epoch,
            ttl: wanted.timings.ttl,
            regions: goal.wished.instances.keys().cloned().collect(),
        };
        for (_, machine) in places.iter().filter(|(name, _)| **name != self.own.region) {
            let request = Box::new(request.clone());
            ground.send(self.machine, *machine, Message::Promise { call: renewal, request });
        }
    }

    /// Whether this agent promises it to another. `goal`: what it holds, from its disk too.
    pub fn promises(
        &mut self,
        request: &promise::Request,
        goal: Option<&DatabaseGoal>,
        ground: &Ground,
    ) -> bool {
        let now = ground.uptime(self.machine);
        let is_given = self.promises.give(request, goal, now).is_ok();
        if is_given {
            self.disk.promised = self.disk.promised.max(Some(request.epoch));
        }
        is_given
    }

    pub fn is_promised(&mut self, from: Machine, renewal: u64, is_given: bool, ground: &mut Ground) {
        let Some((sent, given)) = self.promised.get_mut(&renewal).filter(|_| is_given) else { return };
        given.insert(from);
        let others = self.goal.as_ref().map_or(usize::MAX, |goal| goal.wished.instances.len() - 1);
        if given.len() >= others {
            let sent = *sent;
            self.granted(sent, ground);
        }
    }

    // What it tells.

    pub fn is_answered(&mut self, call: u64, answer: &Answer, ground: &mut Ground) {
        if let Answer::Granted = answer {
            if let Some(sent) = self.renewals.remove(&call) {
                self.granted(sent, ground);
            }
        } else if matches!(answer, Answer::Committed(_)) {
            for untold in [&mut self.untold_report, &mut self.untold_release] {
                untold.take_if(|(number, _)| *number == call);
            }
        }
    }

    fn tells_report(&mut self, report: InstanceReport, ground: &mut Ground) {
        let (agent, service) = (self.own.clone(), self.service.clone());
        self.calls += 1;
        let command = Rc::new(Command::ReportInstance { agent, service, report });
        self.untold_report = Some((self.calls, command));
        self.tells(self.calls, ground);
    }

    fn tells_release(&mut self, release: Release, ground: &mut Ground) {
        let is_told = |(_, told): &(u64, Rc<Command>)| matches!(&**told, Command::ReleaseLease { epoch, .. } if *epoch == release.epoch);
        if self.told_release == Some(release.epoch) || self.untold_release.as_ref().is_some_and(is_told) {
            return;
        }
        self.told_release = Some(release.epoch);
        let Release { epoch, clean, last_known, unwritten, why } = release;
        let (agent, service) = (self.own.clone(), self.service.clone());
        self.calls += 1;
        let command = Command::ReleaseLease { agent, service, epoch, clean, last_known, unwritten, why };
        self.untold_release = Some((self.calls, Rc::new(command)));
        self.tells(self.calls, ground);
    }

    /// Again and again until it is committed. Told twice it changes nothing.
    fn tells(&self, number: u64, ground: &mut Ground) {
        let untold = [&self.untold_report, &self.untold_release].into_iter().flatten();
        let Some((_, command)) = untold.into_iter().find(|(untold, _)| *untold == number) else { return };
        let by: Rc<str> = format!("agent/{}", self.own).into();
        let asked = Rc::new(Asked::Tell { command: Rc::clone(command), by });
        for controller in &self.controllers {
            ground.send(self.machine, *controller, Message::Call { call: number, asked: Rc::clone(&asked) });
        }
        self.ring(TELL_AGAIN, OfInstance::TellAgain { number }, ground);
    }
}

/// Whether there is a server that answers its agent nothing. What has not begun, or has ended, its guard tells.
fn hangs(postgres: &Postgres, ground: &Ground) -> bool {
    ground.hosts[postgres.machine].hanging_calls > 0 && !matches!(postgres.process, Process::None)
}

fn told(of: Option<&RegionName>, epoch: Epoch, places: &Places) -> Option<Told> {
    Some(Told { of: *places.get(of?)?, epoch })
}

/// The server of this machine.
pub fn own(all: &mut [Postgres], machine: Machine) -> &mut Postgres {
    all.iter_mut().find(|postgres| postgres.machine == machine).expect("each data machine has one")
}
