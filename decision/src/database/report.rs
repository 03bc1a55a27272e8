//! What an agent tells of its instance, from what was seen of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alone::Word;
use super::branch::Branch;
use super::keep::{Action, Files, Process};
use super::look::{Look, Server};
use super::{InstanceReport, InstanceRole, Position, Sequence};
use crate::goal::{DatabaseGoal, DatabaseRole};
use crate::plan::Epoch;
use crate::time::Uptime;

/// A heir's primary may be this far ahead, in bytes, because it goes on while it is asked.
const CLOSE_BYTES: u64 = 16 << 20;
/// Positions alone are told this often.
const EVERY: Duration = Duration::from_secs(5);

/// When this instance first said that it is ready to succeed an epoch, and by which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub epoch: Epoch,
    pub id: u64,
    /// Before it was said.
    pub since: Uptime,
}

/// What it has come to rest at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rested {
    pub epoch: Epoch,
    pub position: Option<Position>,
}

/// What is told when a lease is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub epoch: Epoch,
    /// It was shut down in order: this is all that it ever acknowledged.
    pub clean: Option<Position>,
    pub last_known: Option<Position>,
    /// It never took a write under this lease.
    #[serde(default)]
    pub unwritten: bool,
    pub why: String,
}

pub struct Facts<'a> {
    pub goal: &'a DatabaseGoal,
    pub look: &'a Look,
    pub next: &'a Action,
    pub ready: Option<Ready>,
    pub rested: Option<Rested>,
    /// How long ago it last knew that it had everything its primary had told.
    pub silent: Duration,
    /// How much later than that a primary may have gone on by what was promised here.
    pub promised: Duration,
    pub branch: Option<Branch>,
    pub marked: Option<Epoch>,
    pub alone: Option<Word>,
    pub problem: Option<String>,
}

pub fn report(facts: &Facts) -> InstanceReport {
    let Facts { goal, look, ready, rested, .. } = facts;
    let seen = &look.seen;
    let server = look.server.as_ref();
    let settled = rested.filter(|rested| rested.epoch == goal.epoch);
    let is_resting = matches!(goal.role, DatabaseRole::Rest { .. });
    let position = match (settled, server, &seen.files) {
        (Some(rested), ..) if is_resting => rested.position,
        (_, Some(server), _) => server.position,
        (_, None, Files::Present { clean, .. }) => *clean,
        _ => None,
    };
    let heir = is_heir(goal) && follows_closely(look);
    InstanceReport {
        role: role(facts),
        position,
        upstream: server.and_then(|server| server.upstream),
        silent: facts.silent,
        promised: facts.promised,
        settled: settled.filter(|_| is_resting).map(|rested| rested.epoch),
        heir: heir.then_some(goal.epoch),
        ready: ready.filter(|ready| ready.epoch == goal.epoch).map(|ready| ready.id),
        system: match &seen.files {
            Files::Present { system, .. } => Some(system.clone()),
            _ => None,
        },
        branch: facts.branch,
        marked: facts.marked,
        guard: Some(look.guard),
        alone: facts.alone,
        problem: facts.problem.clone(),
        sequence: Sequence::default(),
    }
}

/// A mode that is wished and would do nothing.
pub fn without_failsafe(goal: &DatabaseGoal) -> Option<String> {
    let writes = matches!(goal.role, DatabaseRole::Primary { .. });
    let (mute, _) =
        goal.peers.iter().find(|(_, at)| at.is_none()).filter(|_| writes && goal.wished.failsafe)?;
    Some(format!(
        "failsafe cannot work: agent {mute} has no address to ask for promises (--peer-listen), so without a \
         majority of controllers this primary ends"
    ))
}

pub fn is_heir(goal: &DatabaseGoal) -> bool {
    matches!(goal.role, DatabaseRole::Replica { heir: true, .. })
}

pub fn follows_closely(look: &Look) -> bool {
    look.server.as_ref().is_some_and(|server| {
        let ahead = server.upstream.zip(server.position).map(|(end, has)| end.lsn.ahead_of(has.lsn));
        server.is_fed() && ahead.is_none_or(|ahead| ahead <= CLOSE_BYTES)
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
        (Process::Replica { .. }, _) => {
            InstanceRole::Replica { streaming: look.server.as_ref().is_some_and(Server::is_fed) }
        }
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
pub fn is_news(before: Option<&(InstanceReport, Uptime)>, report: &InstanceReport, now: Uptime) -> bool {
    let Some((before, at)) = before else { return true };
    let still = |report: &InstanceReport| InstanceReport {
        position: None,
        upstream: None,
        silent: Duration::ZERO,
        promised: Duration::ZERO,
        marked: None,
        sequence: Sequence::default(),
        ..report.clone()
    };
    let settled = |report: &InstanceReport| report.settled.map(|epoch| (epoch, report.position));
    still(before) != still(report) || settled(before) != settled(report) || now.since(*at) >= EVERY
}
