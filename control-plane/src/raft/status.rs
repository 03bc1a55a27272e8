//! What a member knows of the group, as plain values.

use std::collections::BTreeMap;

use openraft::async_runtime::WatchReceiver;

use super::types::{Member, Metrics, TypeConfig};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub id: u64,
    pub term: u64,
    /// As far as this member knows.
    pub leader: Option<u64>,
    pub is_leader: bool,
    /// Newest entry in this member's log, 0 when it has none.
    pub last_log: u64,
    pub applied: u64,
    /// Up to where a snapshot holds the log.
    pub snapshot: u64,
    /// Up to where the log was dropped.
    pub purged: u64,
    pub members: BTreeMap<u64, MemberStatus>,
    /// Why it stopped, when it did: it must be started again.
    pub failed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    pub member: Member,
    /// Else it is a learner.
    pub voter: bool,
    /// Up to where its log is known to match; the leader alone knows.
    pub matched: Option<u64>,
}

/// Sees every change sooner or later, but not every value in between.
#[derive(Clone)]
pub struct StatusWatch(openraft::type_config::alias::WatchReceiverOf<TypeConfig, Metrics>);

impl StatusWatch {
    pub(super) fn new(raft: &super::types::Raft) -> StatusWatch {
        StatusWatch(raft.metrics())
    }

    pub fn current(&self) -> Status {
        status(&self.0.borrow_watched())
    }

    /// Waits for a change and gives it; none once the member has ended.
    pub async fn changed(&mut self) -> Option<Status> {
        self.0.changed().await.ok()?;
        Some(status(&self.0.borrow_and_update()))
    }

    /// Waits until `holds`; none once the member has ended.
    pub async fn until(&mut self, mut holds: impl FnMut(&Status) -> bool) -> Option<Status> {
        let mut now = status(&self.0.borrow_and_update());
        while !holds(&now) {
            now = self.changed().await?;
        }
        Some(now)
    }
}

fn status(metrics: &Metrics) -> Status {
    let index = |id: &Option<super::types::LogId>| id.map_or(0, |id| id.index);
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let members = membership.nodes().map(|(id, member)| {
        let matched = metrics.replication.as_ref().and_then(|all| *all.get(id)?).map(|log| log.index);
        (*id, MemberStatus { member: member.clone(), voter: voters.contains(id), matched })
    });
    Status {
        id: metrics.id,
        term: metrics.current_term,
        leader: metrics.current_leader,
        is_leader: metrics.current_leader == Some(metrics.id),
        last_log: metrics.last_log_index.unwrap_or(0),
        applied: index(&metrics.last_applied),
        snapshot: index(&metrics.snapshot),
        purged: index(&metrics.purged),
        members: members.collect(),
        failed: metrics.running_state.as_ref().err().map(ToString::to_string),
    }
}
