//! Who may write to a service's database, and what its instances say of themselves.

pub mod alone;
pub mod branch;
pub mod deadline;
pub mod following;
pub mod freshness;
pub mod guard;
pub mod health;
pub mod keep;
pub mod lease;
pub mod look;
pub mod promise;
pub mod reconciler;
pub mod replay;
pub mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::alone::{Leave, Word};
use self::branch::{Branch, Kinship, kinship};
use self::guard::Guard;
use crate::config::Database;
use crate::lsn::Lsn;
use crate::name::RegionName;
use crate::plan::Epoch;
use crate::planted::{self, Bug};
use crate::time::{Human, Time, ms};

/// A hundred years: nobody knows, so that it is more than anybody allows.
pub const SILENT_UNKNOWN: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Of one database. It changes through the log only: renewals of the lease do not pass through it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Of the last grant.
    pub epoch: Epoch,
    /// Of the last grant that may have been written under.
    #[serde(default)]
    pub written: Epoch,
    pub owner: Owner,
    /// When it was granted, or became vacant.
    pub since: Time,
    /// What the holder had said by then of its readiness: it may count its first lease from when it
    /// began to say so, because the grant came after.
    #[serde(default)]
    pub ready: Option<u64>,
    /// The longest lease that was in force since the grant: its holder may count that one yet.
    #[serde(with = "ms", rename = "longest_ttl_ms", default)]
    pub longest_ttl: Duration,
    /// Since the grant another mode, or other instances, came into force: until when the holder went by what
    /// was before, nobody knows.
    #[serde(default)]
    pub before: Option<Witnesses>,
    /// The number of that change, until its holder says that it goes by what is now, and that everything
    /// acknowledged before is where that asks for it.
    #[serde(default)]
    pub unsettled: Option<u64>,
    /// What the last grant was about; none when its holder wrote already.
    #[serde(default)]
    pub filled: Option<Filled>,
    /// All that was ever acknowledged before: whoever was granted it has that much, or does not begin.
    #[serde(default)]
    pub at_least: Option<Position>,
    /// The grants since somebody was last heard to begin, and that one: the last of each region.
    #[serde(default)]
    pub chosen: BTreeMap<RegionName, Chosen>,
    /// What counted when it was granted last.
    #[serde(default)]
    pub complete: Option<Complete>,
    /// Since then whoever holds it, or held it last, may have acknowledged what nobody else has (S3).
    #[serde(default)]
    pub alone: Option<Leave>,
    /// PostgreSQL's system identifier, once a primary has told it: an instance of another one is
    /// foreign, and never taken for a copy.
    pub system: Option<String>,
    /// What each instance last said of itself.
    pub instances: BTreeMap<RegionName, InstanceReport>,
    /// The timelines that count, as far as told, oldest first.
    #[serde(default)]
    pub history: Vec<Branch>,
    /// The newest wish that an instance be copied anew; its agent remembers the last it carried out.
    #[serde(default)]
    pub reinit: BTreeMap<RegionName, u64>,
}

/// Who may have been asked to have a commit on disk before it was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnesses {
    /// Of them all, so many at the least.
    pub acks: u8,
    pub regions: BTreeSet<RegionName>,
}

impl Vacancy {
    /// It was shut down in order, so that all it ever acknowledged is known.
    pub fn ended_in_order(&self) -> bool {
        matches!(self.proof, Proof::Released { clean: Some(_), .. })
    }
}

impl Witnesses {
    pub fn of(wished: &Database) -> Self {
        Self { acks: wished.mode.acks(), regions: wished.instances.keys().cloned().collect() }
    }

    /// Whoever goes by the one or the other.
    pub fn or(mut self, other: Self) -> Self {
        self.regions.extend(other.regions);
        Self { acks: self.acks.min(other.acks), ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The instance of this region may take writes, while its lease lasts.
    Held(RegionName),
    /// Nobody may, and surely nobody does (S4).
    Vacant(Vacancy),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vacancy {
    /// Who held it last; none when it never had an owner.
    pub last: Option<RegionName>,
    /// How it is known that nobody writes.
    pub proof: Proof,
    pub why: String,
    /// From when on surely nobody wrote; [`Ownership::since`] is when that was found out.
    pub since: Time,
    /// For how long nobody had written when that was found out, all by one clock.
    #[serde(with = "ms", rename = "late_ms", default)]
    pub late: Duration,
}

/// One that has less by now than when it was chosen has lost some of it, and was weighed by what it has no more: it
/// does not begin (S3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    pub epoch: Epoch,
    /// What it rested with; none when nobody knew.
    pub at: Option<Position>,
    /// It has said since that it takes writes.
    pub has_begun: bool,
}

/// What a grant has filled. It counts again when nothing was written after the grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    pub vacancy: Vacancy,
    /// Who may have been asked until then.
    pub witnesses: Witnesses,
    #[serde(default)]
    pub alone: Option<Leave>,
    /// As [`Ownership`] had them until then.
    #[serde(default)]
    pub history: Vec<Branch>,
    #[serde(default)]
    pub written: Epoch,
    #[serde(default)]
    pub complete: Option<Complete>,
    #[serde(default)]
    pub at_least: Option<Position>,
    #[serde(default)]
    pub chosen: BTreeMap<RegionName, Chosen>,
}

/// Whoever has this much, of what counts, lacks only what was written after `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    pub position: Position,
    pub until: Time,
}

impl Complete {
    pub fn is_within(&self, position: Position) -> bool {
        position.timeline >= self.position.timeline && position.lsn >= self.position.lsn
    }
}

/// Why nobody can be writing any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "proof")]
pub enum Proof {
    #[default]
    NeverOwned,
    /// The leader last heard of the holder at `heard`, and its lease has surely expired since.
    Expired {
        heard: Time,
        position: Option<Position>,
        /// When it told the position; none: at `heard`.
        #[serde(default)]
        told_at: Option<Time>,
    },
    /// Its agent said that the instance has ended.
    Released {
        /// It was shut down in order: this is all that it ever acknowledged.
        clean: Option<Position>,
        /// What was last known of it, if it was not.
        last_known: Option<Position>,
    },
}

/// A place in the history of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub timeline: u32,
    pub lsn: Lsn,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on timeline {}", self.lsn, self.timeline)
    }
}

/// What an agent says of its region's instance. Told at once when anything but a position changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    pub role: InstanceRole,
    /// Of a primary what it wrote, of a replica what it has on disk.
    pub position: Option<Position>,
    /// The furthest that a replica heard its primary say it was.
    pub upstream: Option<Position>,
    /// How long ago a replica last surely had all that its primary had written, or `SILENT_UNKNOWN`.
    #[serde(with = "ms", rename = "silent_ms", default)]
    pub silent: Duration,
    /// How much longer than that moment a primary may have written by what this agent promised it in failsafe mode;
    /// 0: not at all.
    #[serde(with = "ms", rename = "promised_ms", default)]
    pub promised: Duration,
    /// It follows nobody, and will not move: its position is final for the vacancy after this epoch.
    pub settled: Option<Epoch>,
    /// It follows closely and waits to take over from this epoch.
    #[serde(default)]
    pub heir: Option<Epoch>,
    /// Drawn by chance when it became settled, or heir.
    #[serde(default)]
    pub ready: Option<u64>,
    pub system: Option<String>,
    /// The newest timeline of its log.
    #[serde(default)]
    pub branch: Option<Branch>,
    /// The newest epoch for which its log was marked: before it took in, or wrote, anything of it.
    #[serde(default)]
    pub marked: Option<Epoch>,
    /// None of an agent that does not tell yet.
    #[serde(default)]
    pub guard: Option<Guard>,
    /// Of a synchronous primary, what it says of going on without the others.
    #[serde(default)]
    pub alone: Option<Word>,
    /// What is wrong with it, and what to do about it.
    pub problem: Option<String>,
    #[serde(default)]
    pub sequence: Sequence,
}

/// Which report of an agent's it is. Each goes through several controllers, and may be overtaken by a newer one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Drawn by chance when the process of the agent began.
    pub process: u64,
    pub number: u64,
}

impl Sequence {
    pub fn is_before(self, other: Sequence) -> bool {
        self.process == other.process && self.number < other.number
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum InstanceRole {
    /// There is no data folder.
    Absent,
    Stopped {
        /// Shut down in order, so that nothing is missing from its files.
        clean: bool,
    },
    /// On its way: being copied, rewound, recovered.
    Starting,
    Replica {
        streaming: bool,
    },
    /// It takes writes, under the lease of this epoch.
    Primary {
        epoch: Epoch,
    },
    /// It cannot be used as it is; `problem` says why.
    Broken,
}

impl fmt::Display for InstanceRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            InstanceRole::Absent => "absent",
            InstanceRole::Stopped { .. } => "stopped",
            InstanceRole::Starting => "starting",
            InstanceRole::Replica { streaming: true } => "replica",
            InstanceRole::Replica { streaming: false } => "replica, not streaming",
            InstanceRole::Primary { .. } => "primary",
            InstanceRole::Broken => "broken",
        })
    }
}

/// What would be missing, at most, if a candidate were promoted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Written by the old primary and not known to the candidate.
    pub bytes: u64,
    /// The span in which writes may have been acknowledged that the candidate does not have.
    #[serde(with = "ms", rename = "time_ms")]
    pub time: Duration,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.bytes, self.time) {
            (0, Duration::ZERO) => f.write_str("nothing"),
            (bytes, time) if time > SILENT_UNKNOWN / 2 => {
                write!(f, "{bytes} bytes known, and what was written since nobody knows when")
            }
            (bytes, time) => write!(f, "{bytes} bytes known, and what was written within {}", Human(time)),
        }
    }
}

/// The one that reaches further, whatever their timelines.
fn further(one: Option<Position>, other: Option<Position>) -> Option<Position> {
    one.into_iter().chain(other).max_by_key(|position| position.lsn)
}

impl Ownership {
    /// Before anybody owned it.
    pub fn unowned(epoch: Epoch, since: Time) -> Self {
        let owner = Owner::Vacant(Vacancy { why: "it never had an owner".into(), ..Vacancy::default() });
        Self {
            epoch,
            written: epoch,
            owner,
            since,
            ready: None,
            longest_ttl: Duration::ZERO,
            before: None,
            unsettled: None,
            filled: None,
            at_least: None,
            chosen: BTreeMap::new(),
            complete: None,
            alone: None,
            system: None,
            history: Vec::new(),
            instances: BTreeMap::new(),
            reinit: BTreeMap::new(),
        }
    }

    pub fn holder(&self) -> Option<&RegionName> {
        match &self.owner {
            Owner::Held(region) => Some(region),
            Owner::Vacant(_) => None,
        }
    }

    pub fn vacancy(&self) -> Option<&Vacancy> {
        match &self.owner {
            Owner::Held(_) => None,
            Owner::Vacant(vacancy) => Some(vacancy),
        }
    }

    /// For how long after a renewal the holder may take writes, whatever it was told since (S1).
    pub fn counted_ttl(&self, wished: &Database) -> Duration {
        self.longest_ttl.max(wished.lease.ttl)
    }

    /// Every set of witnesses that the holder may have gone by since its grant.
    pub fn witnesses(&self, wished: &Database) -> Vec<Witnesses> {
        self.before.iter().cloned().chain([Witnesses::of(wished)]).collect()
    }

    pub fn leave(&self) -> Option<u64> {
        self.alone.map(|leave| leave.number)
    }

    /// Who alone may have rows that were acknowledged: unless it ended in order, nobody else is promoted
    /// without a person's word (S3).
    pub fn only_in(&self) -> Option<&RegionName> {
        self.alone.as_ref().filter(|_| !planted::has(Bug::AloneForgotten))?;
        match &self.owner {
            Owner::Held(holder) => Some(holder),
            Owner::Vacant(Vacancy { proof: Proof::Released { clean: Some(_), .. }, .. }) => None,
            Owner::Vacant(vacancy) => vacancy.last.as_ref(),
        }
    }

    /// How far it was acknowledged in any case, where that is known for sure: by who ended in order, or what
    /// whoever was granted the lease since had to have before it began.
    pub fn all_acknowledged(&self) -> Option<Position> {
        match self.vacancy().map(|vacancy| &vacancy.proof) {
            Some(Proof::Released { clean: Some(clean), .. }) => Some(*clean),
            _ => self.at_least,
        }
    }

    /// Whether no commit was acknowledged since the grant that nobody else had.
    pub fn is_synchronous(&self, wished: &Database) -> bool {
        self.only_in().is_none() && self.witnesses(wished).iter().all(|witnesses| witnesses.acks > 0)
    }

    /// What whoever holds it must have before it begins (S3).
    pub fn needed(&self) -> Option<Position> {
        self.holder().and_then(|holder| self.owed_by(holder))
    }

    /// What this instance must have: all that was acknowledged, and what it had when it was chosen itself.
    fn owed_by(&self, region: &RegionName) -> Option<Position> {
        further(self.all_acknowledged(), self.chosen.get(region).and_then(|chosen| chosen.at))
    }

    /// What this instance must have, where it came to rest with less.
    pub fn lacks(&self, region: &RegionName) -> Option<Position> {
        let rests_at = self.rests_at(region)?;
        self.owed_by(region).filter(|owed| rests_at.lsn < owed.lsn)
    }

    /// It came to rest with less than when it was chosen: what it tells is not all that it had on disk.
    pub fn has_lost(&self, region: &RegionName) -> bool {
        let had = self.chosen.get(region).and_then(|chosen| chosen.at);
        self.rests_at(region).zip(had).is_some_and(|(has, had)| has.lsn < had.lsn)
    }

    /// Whether whoever holds it, or held it last, was heard to take writes since it was granted it.
    pub fn has_begun(&self) -> bool {
        let last = || self.vacancy().and_then(|vacancy| vacancy.last.as_ref());
        let chosen = self.holder().or_else(last).and_then(|region| self.chosen.get(region));
        chosen.is_some_and(|chosen| chosen.has_begun)
    }

    /// Nothing speaks for it that this instance has begun since it was granted the lease: it was not heard to, did not
    /// mark its log for that, and nobody holds a timeline of that grant. One that also lacks what it had to have before it
    /// could begin has not.
    pub fn never_began(&self, region: &RegionName) -> bool {
        let Some(chosen) = self.chosen.get(region).filter(|chosen| !chosen.has_begun) else { return false };
        let mut told = self.instances.values().filter_map(|told| told.branch);
        let marked = self.settled(region).and_then(|told| told.marked);
        marked.is_some_and(|marked| marked < chosen.epoch) && told.all(|branch| branch.epoch < chosen.epoch)
    }

    /// What an instance said once it had come to rest in the vacancy that is now.
    pub fn settled(&self, region: &RegionName) -> Option<&InstanceReport> {
        self.vacancy()?;
        self.instances.get(region).filter(|report| report.settled == Some(self.epoch))
    }

    /// All that an instance has that came to rest; none while it does not know. What was not shut down in order has
    /// more than its files say.
    pub fn rests_at(&self, region: &RegionName) -> Option<Position> {
        let knows = |told: &&InstanceReport| {
            matches!(told.role, InstanceRole::Stopped { clean: true } | InstanceRole::Replica { .. })
        };
        self.settled(region).filter(knows)?.position
    }

    /// Whether this instance says that it takes writes under the lease that is now.
    pub fn is_primary(&self, region: &RegionName) -> bool {
        let role = InstanceRole::Primary { epoch: self.epoch };
        self.holder() == Some(region) && self.instances.get(region).is_some_and(|report| report.role == role)
    }

    /// Whether the instance that writes has told its newest timeline.
    pub fn history_is_whole(&self) -> bool {
        self.holder().is_some_and(|holder| self.is_primary(holder))
    }

    /// The timeline of this instance that counts no more: another of the same number has taken its place, or nobody
    /// went on with it.
    pub fn stranger(&self, region: &RegionName) -> Option<Branch> {
        let branch = self.instances.get(region)?.branch?;
        let is_other = kinship(Some(branch), &self.history, true) == Kinship::Stranger;
        (is_other || self.is_left_behind(branch)).then_some(branch)
    }

    /// S3: whoever wrote after this timeline had begun went on with another, and what was acknowledged since is there,
    /// however far this one reaches.
    fn is_left_behind(&self, branch: Branch) -> bool {
        let is_told = !self.history.is_empty() && !self.history.contains(&branch);
        self.vacancy().is_some() && is_told && branch.epoch < self.written
    }

    /// The furthest position that anybody knows of.
    pub fn furthest(&self) -> Option<Position> {
        let of_proof = self.vacancy().and_then(|vacancy| match &vacancy.proof {
            Proof::NeverOwned => None,
            Proof::Expired { position, .. } => *position,
            Proof::Released { clean, last_known } => clean.or(*last_known),
        });
        let kin = self.instances.iter().filter(|(region, _)| self.stranger(region).is_none());
        let told = kin.flat_map(|(_, report)| [report.position, report.upstream]);
        let chosen = self.chosen.iter().filter(|(region, _)| self.stranger(region).is_none());
        let chosen = chosen.filter_map(|(_, chosen)| chosen.at);
        told.flatten().chain(of_proof).chain(chosen).max()
    }
}
