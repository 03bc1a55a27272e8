//! Forming the group and changing it while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, InitializeError, RaftError};
use tokio::time::Instant;

use super::error::MembersError;
use super::node::{Node, leader_of};
use super::types::{Member, TypeConfig};

/// How long a successor gets before the next one is asked.
const HAND_OVER_TRY: Duration = Duration::from_millis(500);

type WriteError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

impl Node {
    /// Forms a new cluster of these voters; every one of them is told so, with the same list, and the
    /// first in it begins, so that they do not start out competing. The others wait to be found, and
    /// begin themselves when nobody comes. Gives whether this one began: a member that has a log keeps
    /// the members that log names.
    ///
    /// # Errors
    /// This member is not among them, or is stopping.
    pub async fn initialize(&self, members: BTreeMap<u64, Member>) -> Result<bool, MembersError> {
        let before = members.range(..self.id()).count() as u32;
        let patience = self.settings.election_timeout_max * 4 * before;
        let mut status = self.watch_status();
        let found = status.until(|status| status.term > 0 || status.last_log > 0);
        if let Ok(Some(_)) = tokio::time::timeout(patience, found).await {
            return Ok(false);
        }
        match self.raft.initialize(members).await {
            Ok(()) => Ok(true),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(false),
            Err(RaftError::APIError(error)) => Err(MembersError::Refused { why: error.to_string() }),
            Err(RaftError::Fatal(fatal)) => Err(MembersError::Stopped { why: fatal.to_string() }),
        }
    }

    fn voters(&self) -> BTreeSet<u64> {
        self.raft.voter_ids().collect()
    }

    /// Adds one that receives the log but does not vote; returns when it has caught up.
    ///
    /// # Errors
    /// See [`MembersError`].
    pub async fn add_learner(&self, id: u64, member: Member, within: Duration) -> Result<(), MembersError> {
        self.bounded(within, self.raft.add_learner(id, member, true)).await
    }

    /// Adds a voter, a witness too; it first catches up as a learner, so that it never holds up commits.
    ///
    /// # Errors
    /// See [`MembersError`]. It may remain as a learner.
    pub async fn add_voter(&self, id: u64, member: Member, within: Duration) -> Result<(), MembersError> {
        let deadline = Instant::now() + within;
        self.add_learner(id, member, within).await?;
        let change = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
        self.change(change, deadline.saturating_duration_since(Instant::now())).await
    }

    /// Removes a voter or learner. A leader that removes itself hands over once that is committed.
    ///
    /// # Errors
    /// See [`MembersError`].
    pub async fn remove_member(&self, id: u64, within: Duration) -> Result<(), MembersError> {
        let voters = self.voters();
        if !voters.contains(&id) {
            return self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id])), within).await;
        }
        if voters.len() == 1 {
            return Err(MembersError::Refused { why: format!("member {id} is the last voter") });
        }
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), within).await
    }

    /// Puts a new member in the place of another, in one change, so that the number of voters never
    /// differs. The new one has a new id: an id stands for one log, for ever.
    ///
    /// # Errors
    /// See [`MembersError`]. The new one may remain as a learner.
    pub async fn replace_member(
        &self,
        old: u64,
        new: u64,
        member: Member,
        within: Duration,
    ) -> Result<(), MembersError> {
        let mut voters = self.voters();
        if !voters.remove(&old) {
            return Err(MembersError::Refused { why: format!("member {old} is not a voter") });
        }
        if old == new || !voters.insert(new) {
            let why = format!("{new} is a voter already; a member put in its place needs an id never used");
            return Err(MembersError::Refused { why });
        }
        let deadline = Instant::now() + within;
        self.add_learner(new, member, within).await?;
        let change = ChangeMembers::ReplaceAllVoters(voters);
        self.change(change, deadline.saturating_duration_since(Instant::now())).await
    }

    async fn change(&self, change: ChangeMembers<u64, Member>, within: Duration) -> Result<(), MembersError> {
        self.bounded(within, self.raft.change_membership(change, false)).await
    }

    async fn bounded<T>(
        &self,
        within: Duration,
        change: impl Future<Output = Result<T, WriteError>>,
    ) -> Result<(), MembersError> {
        match tokio::time::timeout(within, change).await {
            Err(_) => Err(MembersError::Unknown { waited: within }),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::Fatal(fatal))) => Err(MembersError::Stopped { why: fatal.to_string() }),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                Err(MembersError::NotLeader { leader: leader_of(to) })
            }
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => {
                Err(MembersError::Unknown { waited: within })
            }
            Ok(Err(RaftError::APIError(error))) => Err(MembersError::Refused { why: error.to_string() }),
        }
    }

    /// Hands leadership to the voter with the longest log, one that hosts a region before a witness, and
    /// tries the next when that one does not take it; to `to` alone, if it is given. Gives the new leader, or
    /// none within the time.
    pub async fn hand_over(&self, to: Option<u64>, within: Duration) -> Option<u64> {
        let deadline = Instant::now() + within;
        let mut status = self.watch_status();
        let mut candidates = self.successors();
        candidates.retain(|candidate| to.is_none_or(|to| to == *candidate));
        for candidate in candidates.into_iter().cycle() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.raft.trigger().transfer_leader(candidate).await.is_err() {
                return None;
            }
            let own = self.id();
            let taken = status.until(|status| status.leader.is_some_and(|leader| leader != own));
            if let Ok(taken) = tokio::time::timeout(left.min(HAND_OVER_TRY), taken).await {
                return taken?.leader;
            }
        }
        None
    }

    fn successors(&self) -> Vec<u64> {
        let status = self.status();
        let voters = status.members.iter().filter(|(id, member)| member.voter && **id != self.id());
        let mut candidates: Vec<_> =
            voters.map(|(id, member)| (member.matched, !member.member.witness, *id)).collect();
        candidates.sort_by(|a, b| b.cmp(a));
        candidates.into_iter().map(|(_, _, id)| id).collect()
    }
}
