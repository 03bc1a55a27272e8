//! What is told of an instance, from what was seen of it.

use std::time::{Duration, Instant};

use decision::database::alone::Word;
use decision::database::branch::Branch;
use decision::database::keep::{Action, Files, Process};
use decision::database::{InstanceReport, InstanceRole, Position};
use decision::goal::{DatabaseGoal, DatabaseRole};
use decision::plan::Epoch;

use super::see::{self, Look};
use crate::guard::now_ns;

/// A heir's primary may be this far ahead, in bytes, because it goes on while it is asked.
const CLOSE_BYTES: u64 = 16 << 20;
/// Positions alone are told this often.
const EVERY: Duration = Duration::from_secs(5);

/// When this instance first said that it is ready to succeed an epoch, and by which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) epoch: Epoch,
    pub(super) id: u64,
    /// On the guard's clock, before it was said.
    pub(super) since_ns: u64,
}

impl Ready {
    pub(super) fn age(&self) -> Duration {
        Duration::from_nanos(now_ns().saturating_sub(self.since_ns))
    }
}

/// What it has come to rest at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rested {
    pub(super) epoch: Epoch,
    pub(super) position: Option<Position>,
}

pub(super) struct Facts<'a> {
    pub(super) goal: &'a DatabaseGoal,
    pub(super) look: &'a Look,
    pub(super) next: &'a Action,
    pub(super) ready: Option<Ready>,
    pub(super) rested: Option<Rested>,
    /// How long ago it last knew that it had everything its primary had told.
    pub(super) silent: Duration,
    pub(super) branch: Option<Branch>,
    pub(super) alone: Option<Word>,
    pub(super) problem: Option<String>,
}

pub(super) fn report(facts: &Facts) -> InstanceReport {
    let Facts { goal, look, ready, rested, .. } = facts;
    let seen = &look.seen;
    let observed = look.observed.as_ref();
    let settled = rested.filter(|rested| rested.epoch == goal.epoch);
    let is_resting = goal.role == DatabaseRole::Rest;
    let position = match (settled, observed, &seen.files) {
        (Some(rested), ..) if is_resting => rested.position,
        (_, Some(observed), _) => see::position(observed),
        (_, None, Files::Present { clean, .. }) => *clean,
        _ => None,
    };
    let heir = is_heir(goal) && follows_closely(look);
    InstanceReport {
        role: role(facts),
        position,
        upstream: observed.and_then(|observed| see::upstream(observed).0),
        silent: facts.silent,
        settled: settled.filter(|_| is_resting).map(|rested| rested.epoch),
        heir: heir.then_some(goal.epoch),
        ready: ready.filter(|ready| ready.epoch == goal.epoch).map(|ready| ready.id),
        system: match &seen.files {
            Files::Present { system, .. } => Some(system.clone()),
            _ => None,
        },
        branch: facts.branch,
        guard: Some(look.guard),
        alone: facts.alone,
        problem: facts.problem.clone(),
    }
}

/// A mode that is wished and would do nothing.
pub(super) fn without_failsafe(goal: &DatabaseGoal) -> Option<String> {
    let writes = matches!(goal.role, DatabaseRole::Primary { .. });
    let (mute, _) =
        goal.peers.iter().find(|(_, at)| at.is_none()).filter(|_| writes && goal.wished.failsafe)?;
    Some(format!(
        "failsafe cannot work: agent {mute} has no address to ask for promises (--peer-listen), so without a \
         majority of controllers this primary ends"
    ))
}

pub(super) fn is_heir(goal: &DatabaseGoal) -> bool {
    matches!(goal.role, DatabaseRole::Replica { heir: true, .. })
}

pub(super) fn follows_closely(look: &Look) -> bool {
    look.observed.as_ref().is_some_and(|observed| {
        let (end, _) = see::upstream(observed);
        let has = see::position(observed);
        see::is_streaming(observed)
            && end.zip(has).is_none_or(|(end, has)| end.lsn.ahead_of(has.lsn) <= CLOSE_BYTES)
    })
}

fn role(facts: &Facts) -> InstanceRole {
    let Facts { goal, look, next, .. } = facts;
    match (&look.seen.process, &look.seen.files) {
        // Primary to the controllers is only who holds the lease.
        (Process::Primary, _)
            if look.seen.leased
                && matches!(goal.role, DatabaseRole::Primary { .. } | DatabaseRole::Yield { .. }) =>
        {
            InstanceRole::Primary { epoch: goal.epoch }
        }
        (Process::Primary | Process::Starting | Process::Stopping, _) => InstanceRole::Starting,
        (Process::Replica { streaming, .. }, _) => InstanceRole::Replica { streaming: *streaming },
        (Process::None, _) if matches!(next, Action::Clone { .. } | Action::Rewind { .. }) => {
            InstanceRole::Starting
        }
        (Process::None, Files::Absent) => InstanceRole::Absent,
        (Process::None, Files::Present { clean, .. }) => InstanceRole::Stopped { clean: clean.is_some() },
        (Process::None, Files::Broken { .. } | Files::Foreign { .. }) => InstanceRole::Broken,
        (Process::None, Files::Unseen) => InstanceRole::Starting,
    }
}

/// Positions change all the time; what is not only that is told at once.
pub(super) fn is_news(before: Option<&(InstanceReport, Instant)>, report: &InstanceReport) -> bool {
    let Some((before, at)) = before else { return true };
    let still = |report: &InstanceReport| InstanceReport {
        position: None,
        upstream: None,
        silent: Duration::ZERO,
        ..report.clone()
    };
    let settled = |report: &InstanceReport| report.settled.map(|epoch| (epoch, report.position));
    still(before) != still(report) || settled(before) != settled(report) || at.elapsed() >= EVERY
}
