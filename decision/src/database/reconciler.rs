//! The rules of an agent for one instance, and what it remembers between two looks. Each look is taken in, gives
//! what to do next, and what to tell of it; how all that is done is the agent's. Times go on while the machine sleeps.

use std::time::Duration;

use super::alone::{self, Alone, Commits, Word};
use super::branch::Branch;
use super::following::Following;
use super::freshness::Freshness;
use super::keep::{self, Action, Process};
use super::lease::Wanted;
use super::look::{Look, Server};
use super::report::{self, Facts, Ready, Release, Rested};
use super::{InstanceReport, InstanceRole, Position, SILENT_UNKNOWN, Sequence};
use crate::config::Mode;
use crate::goal::{DatabaseGoal, DatabaseRole};
use crate::lsn::Lsn;
use crate::name::RegionName;
use crate::plan::Epoch;
use crate::planted::{self, Bug};
use crate::time::{Time, Uptime};

/// An heir says that it is ready so many times in a lease.
const READY_AGAIN: u32 = 4;
const READY_KEPT: usize = 4;
/// One that was granted the lease and cannot begin does not keep it from the others for longer.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// What did not move for so long, and is not sent to by anybody, will not move.
const NOBODY_SENDS: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub struct Reconciler {
    own: RegionName,
    pub following: Following,
    alone: Alone,
    word: Option<Word>,
    /// Whom the running server was last told to follow; the outer none: this process never told it.
    follows: Option<Option<RegionName>>,
    /// What a server that answers nothing was told besides: whom to follow, and at which epoch.
    retold: Option<(RegionName, Epoch)>,
    /// At which epoch.
    followed_at: Epoch,
    freshness: Freshness,
    /// Since when it knows that nobody may write, after which epoch.
    resting: Option<(Epoch, Uptime)>,
    /// What was said of readiness last, the newest at the end: a grant may answer one before it.
    ready: Vec<Ready>,
    rested: Option<Rested>,
    told: Option<(InstanceReport, Uptime)>,
    sequence: Sequence,
    problem: Option<String>,
    /// Since when it was granted the lease, and only failed to begin.
    cannot_begin: Option<(Epoch, Uptime)>,
    /// Where it waits for what it lacks, and since when it has not moved.
    stuck: Option<((Epoch, Option<Position>), Uptime)>,
}

/// What is known beside a look when it is told.
pub struct Beside<'a> {
    pub next: &'a Action,
    /// The newest timeline of its log.
    pub branch: Option<Branch>,
    /// The newest epoch that its log was marked for.
    pub marked: Option<Epoch>,
    /// Until when a primary may have gone on by what was promised here; none where nothing was.
    pub promised: Option<Uptime>,
    /// Never used before.
    pub number: u64,
}

impl Reconciler {
    /// `freshness`: what a process before this one knew of it.
    pub fn new(own: RegionName, freshness: Freshness) -> Self {
        Reconciler {
            own,
            following: Following::default(),
            alone: Alone::default(),
            word: None,
            follows: None,
            retold: None,
            followed_at: Epoch::default(),
            freshness,
            resting: None,
            ready: Vec::new(),
            rested: None,
            told: None,
            sequence: Sequence::default(),
            problem: None,
            cannot_begin: None,
            stuck: None,
        }
    }

    /// The lease is kept as long as the goal grants it, and not by whoever gave it back or ends at once.
    pub fn wants(&self, goal: &DatabaseGoal, released: bool) -> Option<Wanted> {
        let wanted = |ready| Wanted { epoch: goal.epoch, timings: goal.wished.lease, ready };
        match &goal.role {
            _ if released => None,
            DatabaseRole::Primary { ready, .. } => {
                let told = self.ready.iter().find(|mine| Some(mine.id) == *ready);
                Some(wanted(told.map(|mine| mine.since)))
            }
            DatabaseRole::Yield { to: Some(_) } => Some(wanted(None)),
            DatabaseRole::Yield { to: None } | DatabaseRole::Replica { .. } | DatabaseRole::Rest { .. } => {
                None
            }
        }
    }

    pub fn follows(&self) -> Option<&Option<RegionName>> {
        self.follows.as_ref()
    }

    /// Before it is told whom to follow: if that fails, or its answer is lost, nobody knows whom it follows.
    pub fn is_being_told(&mut self) {
        self.follows = None;
    }

    /// The server follows this one now, or nobody.
    pub fn is_told(&mut self, of: Option<&RegionName>, epoch: Epoch) {
        (self.follows, self.followed_at) = (Some(of.cloned()), epoch);
        self.retold = None;
    }

    /// A server that answers nothing was told, and may do it, or not yet.
    pub fn is_retold(&mut self, of: &RegionName, epoch: Epoch) {
        self.follows = None;
        self.retold = Some((of.clone(), epoch));
    }

    /// What was never armed starts as a replica.
    fn is_misled(&self, goal: &DatabaseGoal, look: &Look) -> bool {
        let DatabaseRole::Replica { of, .. } = &goal.role else { return false };
        let follows = self.follows().and_then(Option::as_ref).filter(|_| self.followed_at == goal.epoch);
        let was_retold = self.retold.as_ref().is_some_and(|(to, epoch)| (to, *epoch) == (of, goal.epoch));
        let starts = look.seen.process == Process::Starting && look.guard.armed.is_none();
        starts && follows != Some(of) && !was_retold && !planted::has(Bug::StartersUntold)
    }

    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    pub fn rested(&self, epoch: Epoch) -> Option<Rested> {
        self.rested.filter(|rested| rested.epoch == epoch)
    }

    /// What it has will not change while nobody holds the lease.
    pub fn rests(&mut self, epoch: Epoch, position: Option<Position>) {
        self.rested = Some(Rested { epoch, position });
    }

    /// Takes a look in. `number`: never used before. `asked`: when the look began. Gives what its commits should do.
    pub fn note(&mut self, goal: &DatabaseGoal, look: &Look, number: u64, asked: Uptime) -> Commits {
        self.following.note(goal, look, asked);
        let rests = matches!(goal.role, DatabaseRole::Rest { .. });
        let since = asked - goal.vacant_for;
        let before = self.resting.filter(|(epoch, _)| *epoch == goal.epoch);
        let since = before.map_or(since, |(_, before)| before.min(since));
        self.resting = rests.then_some((goal.epoch, since));
        if look.seen.process == Process::None {
            self.follows = None;
        }
        look.replies.iter().for_each(|reply| self.freshness.is_answered(*reply));
        match &look.server {
            Some(Server { in_recovery: false, .. }) => self.freshness.writes(asked),
            Some(Server { position: Some(position), .. }) => self.freshness.has(*position),
            _ => {}
        }
        self.weigh(goal, look, number, asked)
    }

    /// Whether what commits wait for is to be weighed, or forgotten with the server.
    pub fn weighs(goal: &DatabaseGoal, look: &Look) -> bool {
        matches!(goal.role, DatabaseRole::Primary { .. }) && look.seen.process != Process::None
    }

    fn weigh(&mut self, goal: &DatabaseGoal, look: &Look, number: u64, now: Uptime) -> Commits {
        if !Self::weighs(goal, look) {
            self.weighs_anew();
            return Commits::AsTheyAre;
        }
        let writes = look.seen.process == Process::Primary && look.seen.leased;
        let Some(seen) = writes.then(|| seen_of_primary(goal, &self.own, look)).flatten() else {
            return Commits::AsTheyAre;
        };
        let commits = self.alone.look(&seen, number, Time(now.0 / 1_000_000));
        self.word = self.alone.word(&seen);
        commits
    }

    /// Of another server, or after another wish.
    pub fn weighs_anew(&mut self) {
        (self.alone, self.word) = (Alone::default(), None);
    }

    /// Whether commits are acknowledged without the others.
    pub fn goes_alone(&self) -> bool {
        self.alone.goes()
    }

    /// Commits surely wait for the others; all that were acknowledged before end at `from` or earlier.
    pub fn commits_wait(&mut self, from: Lsn) {
        self.alone.waits(from);
    }

    /// `is_anew`: a person wants it copied anew.
    pub fn next(&self, goal: &DatabaseGoal, look: &mut Look, is_anew: bool, now: Uptime) -> Action {
        look.seen.was_told = self.follows.is_some();
        if let (DatabaseRole::Replica { .. }, Process::Replica { of, .. }) =
            (&goal.role, &mut look.seen.process)
        {
            // What comes from the same one at another epoch may be of another timeline: that is marked first.
            of.take_if(|_| self.follows.is_some() && self.followed_at != goal.epoch);
        }
        look.seen.misled = self.is_misled(goal, look);
        look.seen.parted = self.following.parted;
        look.seen.suspect = self.following.is_suspect(&look.seen.process, now);
        let mut next = keep::next(&goal.role, goal.epoch, goal.system.as_deref(), &look.seen);
        if let (Action::Rewind { of }, true) = (&next, self.following.must_copy) {
            next = Action::Clone { of: of.clone() };
        }
        if is_anew { keep::anew(&goal.role, &look.seen, next) } else { next }
    }

    /// What is to be said of it now, and whether that is news to whoever was told last.
    pub fn tell(
        &mut self,
        goal: &DatabaseGoal,
        look: &Look,
        beside: Beside,
        now: Uptime,
    ) -> (InstanceReport, bool) {
        self.note_ready(goal, look, beside.number, now);
        let problem = look.problem.as_ref().or(self.problem.as_ref());
        let facts = Facts {
            goal,
            look,
            next: beside.next,
            ready: self.ready.last().copied(),
            rested: self.rested,
            silent: self.silent(now),
            promised: beside.promised.map_or(Duration::ZERO, |until| self.lags_by(until)),
            branch: beside.branch,
            marked: beside.marked,
            alone: self.word,
            problem: (problem.or(self.following.problem.as_ref()))
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
        let is_news = report::is_news(self.told.as_ref(), &report, now);
        if is_news {
            let Sequence { process, number } = self.sequence;
            let process = if number == 0 { beside.number } else { process };
            self.sequence = Sequence { process, number: number + 1 };
        }
        report.sequence = self.sequence;
        if is_news {
            self.told = Some((report.clone(), now));
        }
        (report, is_news)
    }

    fn silent(&self, now: Uptime) -> Duration {
        if planted::has(Bug::SilenceForgotten) {
            return Duration::ZERO;
        }
        // S3: what it lacks grows no more once nobody writes, and this is an earlier moment than that on no clock.
        self.lags_by(self.resting.map_or(now, |(_, since)| since))
    }

    /// How much may have been written by then since it last had everything.
    fn lags_by(&self, until: Uptime) -> Duration {
        self.freshness.level().map_or(SILENT_UNKNOWN, |level| until.since(level))
    }

    fn note_ready(&mut self, goal: &DatabaseGoal, look: &Look, id: u64, now: Uptime) {
        let is_ready = match &goal.role {
            DatabaseRole::Rest { .. } => self.rested(goal.epoch).is_some(),
            _ => report::is_heir(goal) && report::follows_closely(look),
        };
        // A first lease that counts from long ago is over before it is of use.
        let again = goal.wished.lease.ttl / READY_AGAIN;
        let is_old = |ready: &Ready| now.since(ready.since) > again && report::is_heir(goal);
        if is_ready && self.ready.last().is_none_or(|ready| ready.epoch != goal.epoch || is_old(ready)) {
            // Before it is said, and never the same twice: see `Ownership::ready`.
            self.ready.push(Ready { epoch: goal.epoch, id, since: now });
            self.ready.drain(..self.ready.len().saturating_sub(READY_KEPT));
        }
    }

    /// Whether it is another hindrance than before.
    pub fn is_hindered(&mut self, why: &str) -> bool {
        let is_new = self.problem.as_deref() != Some(why);
        if is_new {
            self.problem = Some(why.to_owned());
        }
        is_new
    }

    pub fn is_hindered_no_more(&mut self) {
        self.problem = None;
    }

    /// Something failed that was `began` then. Gives what to give back, when it has tried for long enough.
    pub fn fails(&mut self, goal: &DatabaseGoal, why: &str, began: Uptime, now: Uptime) -> Option<Release> {
        self.gives_up(goal, why, began, GIVE_UP_AFTER, now)
    }

    /// It waits for what it lacks. Gives what to give back, when that will not come.
    pub fn waits_for_all(&mut self, goal: &DatabaseGoal, look: &Look, now: Uptime) -> Option<Release> {
        let after = if self.is_stuck(goal, look, now) { Duration::ZERO } else { GIVE_UP_AFTER };
        self.gives_up(goal, "it waits for what was acknowledged and it does not have", now, after, now)
    }

    /// The lease was given back, because it could not begin.
    pub fn gave_up(&mut self) {
        self.cannot_begin = None;
    }

    fn gives_up(
        &mut self,
        goal: &DatabaseGoal,
        why: &str,
        began: Uptime,
        after: Duration,
        now: Uptime,
    ) -> Option<Release> {
        let writes = InstanceRole::Primary { epoch: goal.epoch };
        let is_wanted = matches!(goal.role, DatabaseRole::Primary { .. })
            && self.told.as_ref().is_none_or(|(told, _)| told.role != writes);
        let since = match self.cannot_begin {
            Some((epoch, since)) if is_wanted && epoch == goal.epoch => since,
            _ => began,
        };
        self.cannot_begin = is_wanted.then_some((goal.epoch, since));
        let why = format!("it could not become the primary: {why}");
        let release = Release { epoch: goal.epoch, clean: None, last_known: None, unwritten: false, why };
        (is_wanted && now.since(since) >= after).then_some(release)
    }

    /// Whoever would send it has ended, what has come is on the disk, and nothing of that is left to be read.
    fn is_stuck(&mut self, goal: &DatabaseGoal, look: &Look, now: Uptime) -> bool {
        let Process::Replica { position, streaming: false, .. } = look.seen.process else {
            self.stuck = None;
            return false;
        };
        let at = (goal.epoch, position);
        let since = match self.stuck {
            Some((before, since)) if before == at => since,
            _ => now,
        };
        self.stuck = Some((at, since));
        now.since(since) >= NOBODY_SENDS
    }
}

/// S1: whether it may write by the lease that it holds. What begins with a lease that is nearly over is killed in the
/// midst of it. `is_armed`: the guard counts one of this epoch already. `is_bound`: another was promised, in failsafe
/// mode, that nothing begins here.
pub fn is_leased(left: Option<Duration>, is_armed: bool, is_bound: bool, ttl: Duration) -> bool {
    let needed = if is_armed { Duration::ZERO } else { ttl / 4 };
    left.is_some_and(|left| left > needed) && (is_armed || !is_bound)
}

/// A primary that runs before its lease was renewed by this process is armed already; without a lease of its own here
/// it would be killed, though the guard counts one.
pub fn unless_armed(next: Action, is_armed: bool) -> Action {
    match next {
        Action::Kill(keep::UNLEASED) if is_armed => Action::Wait("for the lease to be renewed"),
        next => next,
    }
}

/// What a primary sees of those that its commits wait for. None: they wait for nobody.
fn seen_of_primary(goal: &DatabaseGoal, own: &RegionName, look: &Look) -> Option<alone::Seen> {
    let server = look.server.as_ref()?;
    let acks = usize::from(goal.wished.mode.acks()).checked_sub(1)?;
    let is_other = |name: &RegionName| name != own && goal.wished.instances.contains_key(name);
    let others = server.followers.iter().filter(|(name, _)| is_other(name));
    let mut have: Vec<Lsn> = others.filter_map(|(_, flushed)| *flushed).collect();
    have.sort_unstable_by(|a, b| b.cmp(a));
    Some(alone::Seen {
        may_ask: matches!(goal.wished.mode, Mode::Sync { .. }),
        have: have.get(acks).copied(),
        end: server.position?.lsn,
        leave: goal.alone,
        change: goal.unsettled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Database;
    use crate::database::freshness::Reply;
    use crate::database::guard::{Guard, Watchdog};
    use crate::database::keep::{Files, Seen};
    use crate::goal;
    use crate::name::AgentId;
    use crate::testing::{World, ms, secs, three_regions, with_database};

    const START: Uptime = Uptime(1_000_000_000_000);

    /// What the agent of `eu` is told while `us` holds the lease; the role is replaced.
    fn goal_as(role: DatabaseRole) -> DatabaseGoal {
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Async);
        let world = World::new(config);
        let goal = goal::of_agent(&world.state, &AgentId::new("eu", 1)).databases.remove(0);
        DatabaseGoal { role, ..goal }
    }

    fn primary(at_least: Option<Position>) -> DatabaseGoal {
        goal_as(DatabaseRole::Primary { ready: Some(7), at_least })
    }

    fn replica(heir: bool) -> DatabaseGoal {
        goal_as(DatabaseRole::Replica { of: "us".into(), heir })
    }

    fn at(lsn: u64) -> Option<Position> {
        Some(Position { timeline: 1, lsn: Lsn(lsn) })
    }

    /// The same, and its primary has answered that, asked so many seconds after the start.
    fn look_at(has: u64, end: u64, secs_on: u64) -> Look {
        let replies = at(end).map(|end| Reply { asked: START + secs(secs_on), end });
        Look { replies: replies.into_iter().collect(), ..look(has, end, true) }
    }

    /// A replica that has `has` of `end`.
    fn look(has: u64, end: u64, streams: bool) -> Look {
        let server = Server {
            in_recovery: true,
            position: at(has),
            streams,
            received: Some(Lsn(has)),
            upstream: at(end),
            followers: Vec::new(),
        };
        let seen = Seen {
            files: Files::Present { system: "7".into(), standby: true, clean: None },
            process: Process::Replica { of: Some("us".into()), position: at(has), streaming: streams },
            leased: true,
            ended: None,
            dead: None,
            kin: Default::default(),
            was_told: false,
            released: false,
            parted: false,
            suspect: false,
            misled: false,
            followers: Default::default(),
        };
        let guard = Guard { armed: None, backstop: true, watchdog: Watchdog::Absent };
        Look { seen, server: Some(server), guard, replies: Vec::new(), problem: None }
    }

    fn rules() -> Reconciler {
        Reconciler::new("eu".into(), Freshness::default())
    }

    fn told(rules: &mut Reconciler, goal: &DatabaseGoal, number: u64, now: Uptime) -> InstanceReport {
        let look = look(100, 100, true);
        rules.note(goal, &look, number, now);
        rules.tell(goal, &look, beside(number), now).0
    }

    fn beside(number: u64) -> Beside<'static> {
        Beside { next: &Action::Rest, branch: None, marked: None, promised: None, number }
    }

    /// It was told to follow nobody and did, but its answer was lost; and then it is to follow the same one again.
    #[test]
    fn one_that_did_not_answer_is_told_again() {
        let epoch = replica(false).epoch;
        let next = |rules: &Reconciler, role| {
            let mut look = look(100, 100, false);
            let of = rules.follows().cloned().flatten();
            look.seen.process = Process::Replica { of, position: at(100), streaming: false };
            rules.next(&goal_as(role), &mut look, false, START)
        };
        let of_us = || DatabaseRole::Replica { of: "us".into(), heir: false };
        let mut rules = rules();
        rules.is_told(Some(&"us".into()), Epoch(epoch.0 - 1));
        assert_eq!(next(&rules, of_us()), Action::Follow { of: Some("us".into()) }, "at another epoch");
        rules.is_told(Some(&"us".into()), epoch);
        assert_eq!(next(&rules, of_us()), Action::Rest);
        rules.is_being_told();
        assert_eq!(next(&rules, of_us()), Action::Follow { of: Some("us".into()) });
        assert_eq!(next(&rules, DatabaseRole::Rest { wrote_last: false }), Action::Follow { of: None });
    }

    /// After a rewind it answers only when it was sent more, and the slot that it asks for is of an epoch.
    #[test]
    fn one_that_starts_is_told_when_whom_it_should_follow_changes() {
        let goal = goal_as(DatabaseRole::Replica { of: "us".into(), heir: false });
        let next = |rules: &Reconciler, armed| {
            let mut look = look(100, 100, false);
            look.server = None;
            look.seen.files = Files::Unseen;
            look.seen.process = Process::Starting;
            look.guard.armed = armed;
            rules.next(&goal, &mut look, false, START)
        };
        let (tells, waits) = (Action::Follow { of: Some("us".into()) }, Action::Wait("for it to start"));
        let mut rules = rules();
        for (of, epoch) in [("us", goal.epoch.0 - 1), ("ap", goal.epoch.0)] {
            rules.is_told(Some(&of.into()), Epoch(epoch));
            assert_eq!(next(&rules, None), tells, "{of} at {epoch}");
            assert_eq!(next(&rules, Some(goal.epoch)), waits, "it starts as a primary");
        }
        rules.is_retold(&"us".into(), goal.epoch);
        assert_eq!(next(&rules, None), waits, "once is enough");
        assert_eq!(rules.follows(), None, "and when it answers, it is told once more");
        rules.is_told(Some(&"us".into()), goal.epoch);
        assert_eq!(next(&rules, None), waits);
        assert_eq!(next(&self::rules(), None), tells, "nobody knows what it was told");
    }

    #[test]
    fn what_is_told_later_says_so() {
        let (goal, mut rules) = (replica(false), rules());
        let first = told(&mut rules, &goal, 7, START).sequence;
        let second = told(&mut rules, &goal, 8, START + secs(20)).sequence;
        assert!(first.is_before(second) && !second.is_before(first), "{first:?} {second:?}");
        let other = told(&mut self::rules(), &goal, 9, START).sequence;
        assert!(!other.is_before(second) && !second.is_before(other), "of two processes nobody knows");
    }

    #[test]
    fn it_is_level_when_it_has_all_it_was_told_of_and_that_never_falls() {
        let (goal, mut rules) = (replica(false), rules());
        let note = |rules: &mut Reconciler, (has, end): (u64, u64), secs_on: u64| {
            let (look, now) = (look_at(has, end, secs_on), START + secs(secs_on));
            rules.note(&goal, &look, secs_on, now);
            rules.tell(&goal, &look, beside(secs_on), now).0.silent
        };
        assert_eq!(note(&mut rules, (90, 100), 2), SILENT_UNKNOWN);
        assert_eq!(note(&mut rules, (100, 100), 3), Duration::ZERO);
        assert_eq!(note(&mut rules, (100, 120), 8), secs(5));
        let mut again = Reconciler::new("eu".into(), rules.freshness().clone());
        assert_eq!(note(&mut again, (100, 120), 60), secs(57));
        let mut writes = look(100, 100, false);
        writes.server.as_mut().unwrap().in_recovery = false;
        again.note(&goal, &writes, 61, START + secs(61));
        assert_eq!(again.freshness().level(), Some(START + secs(61)));
    }

    #[test]
    fn what_it_lacks_grows_no_more_once_nobody_writes() {
        let mut rules = rules();
        let rests = |epoch| {
            let goal = goal_as(DatabaseRole::Rest { wrote_last: false });
            DatabaseGoal { epoch: Epoch(goal.epoch.0 + epoch), ..goal }
        };
        let mut silent_at = |goal: &DatabaseGoal, (has, end): (u64, u64), secs_on: u64| {
            let (look, now) = (look_at(has, end, secs_on), START + secs(secs_on));
            rules.note(goal, &look, secs_on, now);
            rules.tell(goal, &look, beside(secs_on), now).0.silent
        };
        silent_at(&replica(false), (100, 100), 3);
        assert_eq!(silent_at(&rests(0), (100, 120), 8), secs(5));
        assert_eq!(silent_at(&rests(0), (100, 120), 20), secs(5));
        assert_eq!(silent_at(&rests(1), (100, 120), 30), secs(27), "somebody was granted it meanwhile");
        let late = DatabaseGoal { vacant_for: secs(9), ..rests(1) };
        assert_eq!(silent_at(&late, (100, 120), 35), secs(23), "it was so earlier than it heard");
        assert_eq!(silent_at(&late, (100, 120), 36), secs(23));
        assert_eq!(silent_at(&replica(false), (100, 120), 40), secs(37));
    }

    #[test]
    fn what_was_promised_may_have_been_written_by_until_it_ended() {
        let (goal, mut rules) = (replica(false), rules());
        let mut promised = |look: &Look, until: Option<Uptime>, secs_on: u64| {
            let now = START + secs(secs_on);
            rules.note(&goal, look, secs_on, now);
            rules.tell(&goal, look, Beside { promised: until, ..beside(secs_on) }, now).0.promised
        };
        let until = START + secs(60);
        assert_eq!(promised(&look_at(90, 100, 1), Some(until), 2), SILENT_UNKNOWN, "it never had everything");
        assert_eq!(promised(&look_at(100, 100, 3), None, 4), Duration::ZERO);
        assert_eq!(promised(&look_at(100, 120, 8), Some(until), 9), secs(57));
        assert_eq!(promised(&look_at(120, 120, 70), Some(until), 71), Duration::ZERO, "it had it all since");
    }

    #[test]
    fn the_first_lease_counts_from_the_saying_that_the_grant_names_and_from_no_other() {
        let (heir, mut rules) = (replica(true), rules());
        let ttl = heir.wished.lease.ttl;
        assert_eq!(told(&mut rules, &heir, 7, START).ready, Some(7));
        assert_eq!(told(&mut rules, &heir, 8, START + ttl / 8).ready, Some(7), "it is said once");
        let again = START + ttl / 4 + ms(1);
        assert_eq!(told(&mut rules, &heir, 9, again).ready, Some(9), "before it is of no use any more");
        let goal = |ready| goal_as(DatabaseRole::Primary { ready, at_least: None });
        assert_eq!(rules.wants(&goal(Some(7)), false).unwrap().ready, Some(START));
        assert_eq!(rules.wants(&goal(Some(9)), false).unwrap().ready, Some(again));
        assert_eq!(rules.wants(&goal(Some(77)), false).unwrap().ready, None);
        assert_eq!(rules.wants(&goal(None), false).unwrap().ready, None);
        assert_eq!(rules.wants(&goal(Some(7)), true), None, "it was given back");
    }

    #[test]
    fn the_lease_is_kept_by_whoever_hands_over_in_order_and_not_by_whoever_ends_at_once() {
        let rules = rules();
        let yields = |to: Option<&str>| goal_as(DatabaseRole::Yield { to: to.map(Into::into) });
        assert!(rules.wants(&yields(Some("us")), false).is_some());
        assert_eq!(rules.wants(&yields(None), false), None);
        assert_eq!(rules.wants(&replica(true), false), None);
        assert_eq!(rules.wants(&goal_as(DatabaseRole::Rest { wrote_last: false }), false), None);
    }

    #[test]
    fn what_cannot_begin_is_given_back_after_a_while_and_what_writes_is_not() {
        let (goal, mut rules) = (primary(None), rules());
        let fails = |rules: &mut Reconciler, goal: &DatabaseGoal, now| rules.fails(goal, "no disk", now, now);
        assert_eq!(fails(&mut rules, &goal, START), None);
        assert_eq!(fails(&mut rules, &goal, START + secs(9)), None);
        let next = DatabaseGoal { epoch: Epoch(goal.epoch.0 + 1), ..goal.clone() };
        assert_eq!(fails(&mut rules, &next, START + secs(10)), None, "of another grant");
        assert_eq!(fails(&mut rules, &goal, START + secs(11)), None);
        let release = fails(&mut rules, &goal, START + secs(21)).unwrap();
        assert_eq!((release.epoch, release.clean, release.unwritten), (goal.epoch, None, false));
        rules.gave_up();
        assert_eq!(fails(&mut rules, &goal, START + secs(22)), None);
        // One that was told of as taking writes is never given back for that.
        let mut writes = look(100, 100, false);
        writes.seen.process = Process::Primary;
        writes.server.as_mut().unwrap().in_recovery = false;
        let role = rules.tell(&goal, &writes, beside(1), START + secs(30)).0.role;
        assert_eq!(role, InstanceRole::Primary { epoch: goal.epoch });
        assert_eq!(fails(&mut rules, &goal, START + secs(31)), None);
        assert_eq!(fails(&mut rules, &goal, START + secs(90)), None);
        assert_eq!(fails(&mut rules, &replica(false), START + secs(99)), None);
    }

    #[test]
    fn what_it_lacks_is_waited_for_while_anybody_sends_and_it_moves() {
        let (goal, mut rules) = (primary(at(200)), rules());
        let waits = |rules: &mut Reconciler, look: Look, ms_on: u64| {
            rules.waits_for_all(&goal, &look, START + ms(ms_on)).is_some()
        };
        assert!(!waits(&mut rules, look(100, 200, true), 0));
        assert!(!waits(&mut rules, look(100, 200, true), 5_000), "somebody sends");
        assert!(!waits(&mut rules, look(110, 200, false), 5_100));
        assert!(!waits(&mut rules, look(120, 200, false), 5_599), "it still moved");
        assert!(!waits(&mut rules, look(120, 200, false), 6_000));
        assert!(waits(&mut rules, look(120, 200, false), 6_099));
        let mut rules = self::rules();
        assert!(!waits(&mut rules, look(100, 200, true), 0));
        assert!(waits(&mut rules, look(150, 200, true), 10_000), "not for ever");
    }

    #[test]
    fn a_rewind_that_cannot_help_becomes_a_copy() {
        let (goal, mut rules) = (replica(false), rules());
        let mut diverged = look(100, 100, false);
        diverged.server = None;
        diverged.seen.process = Process::None;
        diverged.seen.files = Files::Present { system: "7".into(), standby: false, clean: None };
        assert_eq!(rules.next(&goal, &mut diverged, false, START), Action::Rewind { of: "us".into() });
        rules.following.must_copy = true;
        assert_eq!(rules.next(&goal, &mut diverged, false, START), Action::Clone { of: "us".into() });
    }

    #[test]
    fn what_streams_for_moments_and_comes_no_further_is_looked_into() {
        let goal = replica(false);
        let next = |rules: &mut Reconciler, (has, streams): (u64, bool), ms_on: u64| {
            let (mut look, now) = (look(has, 100, streams), START + ms(ms_on));
            rules.note(&goal, &look, ms_on, now);
            rules.next(&goal, &mut look, false, now)
        };
        let look_into = Action::LookInto { of: "us".into() };
        // PostgreSQL begins a receiver again and again, whose primary ends it: the logs have parted.
        let mut parted = rules();
        for n in 0..=20 {
            assert_eq!(next(&mut parted, (100, n % 2 == 1), n * 200), Action::Rest, "{n}");
        }
        assert_eq!(next(&mut parted, (100, false), 4_200), look_into);
        parted.following.was_looked_into(Ok(Some("it went on".into())), START + ms(4_200));
        assert_eq!(next(&mut parted, (100, true), 4_400), Action::Stop, "it still is");
        // Whenever it was looked at, a receiver was there.
        let (mut hidden, mut found) = (rules(), look(100, 100, true));
        found.server.as_mut().unwrap().received = Some(Lsn(90));
        for n in 0..=20 {
            hidden.note(&goal, &found, n * 200, START + ms(n * 200));
        }
        assert_eq!(hidden.next(&goal, &mut found, false, START + ms(4_200)), look_into);
        // It was not started anew, so that it counts as received what its primary never had.
        (hidden, found) = (rules(), look(100, 90, true));
        for n in 0..=20 {
            hidden.note(&goal, &found, n * 200, START + ms(n * 200));
        }
        assert_eq!(hidden.next(&goal, &mut found, false, START + ms(4_200)), look_into);
        // One that was started anew is sent its whole segment again first.
        let mut again = rules();
        for n in 0..100 {
            let mut found = look(100, 100, true);
            found.server.as_mut().unwrap().received = Some(Lsn(n));
            again.note(&goal, &found, n * 200, START + ms(n * 200));
            assert_eq!(again.next(&goal, &mut found, false, START + ms(n * 200)), Action::Rest, "{n}");
        }
        // One whose network is bad comes further all the same.
        let mut slow = rules();
        for n in 0..100 {
            assert_eq!(next(&mut slow, (100 + n, n % 2 == 1), n * 200), Action::Rest, "{n}");
        }
        // One whose primary writes nothing streams all the time.
        let mut calm = rules();
        for n in 0..100 {
            assert_eq!(next(&mut calm, (100, n > 15), n * 200), Action::Rest, "{n}");
        }
        assert_eq!(next(&mut calm, (100, false), 20_000), Action::Rest, "it has only begun to wait");
    }

    #[test]
    fn nothing_begins_by_a_lease_that_is_nearly_over_or_against_a_promise() {
        let ttl = ms(1_000);
        let leased = |left_ms: u64, is_armed, is_bound| is_leased(Some(ms(left_ms)), is_armed, is_bound, ttl);
        assert!(leased(251, false, false) && !leased(250, false, false));
        assert!(leased(1, true, false) && !leased(0, true, false));
        assert!(!leased(900, false, true), "promised to another");
        assert!(leased(900, true, true), "what was promised since is of newer epochs");
        assert!(!is_leased(None, true, false, ttl));
        let kill = || Action::Kill(keep::UNLEASED);
        assert_eq!(unless_armed(kill(), false), kill());
        assert!(matches!(unless_armed(kill(), true), Action::Wait(_)));
        let other = Action::Kill("another holds the lease");
        assert_eq!(unless_armed(other.clone(), true), other);
    }

    #[test]
    fn a_primary_sees_what_enough_of_the_others_have() {
        let mut goal = primary(None);
        let wished = goal.wished.clone();
        let mode = |mode| Database { mode, ..wished.clone() };
        let mut look = look(100, 100, false);
        let server = look.server.as_mut().unwrap();
        server.followers = vec![
            ("ap".into(), Some(Lsn(90))),
            ("us".into(), Some(Lsn(80))),
            ("eu".into(), Some(Lsn(100))),
            ("a copy".into(), Some(Lsn(99))),
            ("us".into(), None),
        ];
        assert_eq!(seen_of_primary(&goal, &"eu".into(), &look), None, "asynchronous");
        for (acks, have) in [(1, Some(Lsn(90))), (2, Some(Lsn(80))), (3, None)] {
            goal.wished = mode(Mode::Sync { acks });
            let seen = seen_of_primary(&goal, &"eu".into(), &look).unwrap();
            assert_eq!((seen.have, seen.end, seen.may_ask), (have, Lsn(100), true), "{acks}");
        }
        goal.wished = mode(Mode::SyncStrict { acks: 1 });
        assert!(!seen_of_primary(&goal, &"eu".into(), &look).unwrap().may_ask);
    }
}
