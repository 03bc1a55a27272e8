//! Does this member still lead? Asked of the memories of a majority, and of no disk.
//!
//! openraft's own round ([`Node::confirm_leadership`]) is a heartbeat, which a follower answers only once
//! what it took in before is synced, and which is given up after one heartbeat interval: a disk that
//! stalls would cost leases that nothing else threatens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::client::Client;
use super::node::Node;
use super::types::{Member, Raft, TypeConfig, Vote};

const CONNECTED_EVERY: Duration = Duration::from_secs(1);

/// Whose answers are needed: a majority of each set. There are two while members change (Raft §6).
struct Electorate {
    sets: Vec<BTreeSet<u64>>,
    members: BTreeMap<u64, Member>,
}

impl Node {
    /// The term that this member leads, if no later leader can have been elected before this call.
    ///
    /// A majority that held this leader's vote after the call began had not voted for a later one until
    /// then; a later leader would have needed one of them (Raft §5.4.3). A member takes a vote into its
    /// memory before it lets anybody know of it, so its memory is never behind what it has told.
    pub async fn still_leads(&self, within: Duration) -> Option<u64> {
        let (vote, electorate) = self.electorate().await?;
        if !vote.committed || vote.leader_id.node_id != self.id() {
            return None;
        }
        let again_after = self.settings.heartbeat * 2;
        let mut agree = BTreeSet::from([self.id()]);
        let mut asked: FuturesUnordered<_> = electorate
            .others(self.id())
            .map(|(id, member)| async move {
                (id, self.peers.to(id, member).read_vote(again_after, within).await.ok())
            })
            .collect();
        while !electorate.is_majority(&agree) {
            match asked.next().await? {
                (id, Some(held)) if held.leader_id == vote.leader_id => drop(agree.insert(id)),
                _ => {}
            }
        }
        Some(vote.leader_id.term)
    }

    /// With the vote that this member holds.
    async fn electorate(&self) -> Option<(Vote, Electorate)> {
        read_state(&self.raft, |state| {
            let config = state.membership_state.effective();
            let sets = config.membership().get_joint_config().clone();
            let members = config.nodes().map(|(id, member)| (*id, member.clone())).collect();
            (*state.vote_ref(), Electorate { sets, members })
        })
        .await
    }

    /// Keeps both connections to every other member open, for ever. A candidate has one election timeout for
    /// an answer: less than a connection takes that it has to open first.
    pub async fn keep_connected(&self) {
        let mut ticks = tokio::time::interval(CONNECTED_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some((_, electorate)) = self.electorate().await else { return };
            let others = electorate.members.iter().filter(|(id, _)| **id != self.id());
            let clients: Vec<_> = others.map(|(id, member)| self.peers.to(*id, member)).collect();
            futures::future::join_all(clients.iter().map(Client::ask_on_both)).await;
        }
    }

    /// The quickest of so many answers of another member; none if one did not come in time.
    pub async fn round_trip(
        &self,
        id: u64,
        member: &Member,
        asked: usize,
        within: Duration,
    ) -> Option<Duration> {
        let client = self.peers.to(id, member);
        let mut quickest = within;
        for _ in 0..asked {
            let sent = Instant::now();
            client.read_vote(within, within).await.ok()?;
            quickest = quickest.min(sent.elapsed());
        }
        Some(quickest)
    }
}

/// openraft's own way logs an error for each asker that has gone meanwhile.
pub(super) async fn read_state<T: Send + 'static>(
    raft: &Raft,
    read: impl FnOnce(&openraft::RaftState<TypeConfig>) -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    raft.external_request(|state| drop(sender.send(read(state)))).await.ok()?;
    receiver.await.ok()
}

impl Electorate {
    fn others(&self, own: u64) -> impl Iterator<Item = (u64, &Member)> {
        let voters: BTreeSet<u64> = self.sets.iter().flatten().copied().filter(|id| *id != own).collect();
        voters.into_iter().filter_map(|id| Some((id, self.members.get(&id)?)))
    }

    fn is_majority(&self, agree: &BTreeSet<u64>) -> bool {
        self.sets.iter().all(|set| set.intersection(agree).count() > set.len() / 2)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use decision::command::Command;
    use openraft::impls::leader_id_adv::LeaderId;
    use openraft::raft::VoteRequest;

    use super::*;
    use crate::controller::Controller;
    use crate::raft::{Fsync, LogId};
    use crate::testing::{Group, SOON};

    #[test]
    fn while_members_change_a_majority_of_both_sets_is_needed() {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        let both = Electorate { sets: vec![set(&[1, 2, 3]), set(&[3, 4, 5])], members: BTreeMap::new() };
        assert!(both.is_majority(&set(&[1, 3, 4])));
        assert!(!both.is_majority(&set(&[1, 2, 3])));
        assert!(!both.is_majority(&set(&[3, 4, 5])));
        let four = Electorate { sets: vec![set(&[1, 2, 3, 4])], members: BTreeMap::new() };
        assert!(!four.is_majority(&set(&[1, 2])));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_leader_knows_that_it_leads_and_nobody_else_does() {
        let group = Group::formed(3).await;
        let leader = group.leader().await;
        assert_eq!(leader.node.still_leads(SOON).await, Some(leader.node.status().term));
        for controller in group.controllers.values().filter(|other| other.node.id() != leader.node.id()) {
            assert_eq!(controller.node.still_leads(SOON).await, None);
        }
        leader.node.hand_over(None, SOON).await.unwrap();
        group.until("another leader", |other| other.node.is_leader()).await;
        assert_eq!(leader.node.still_leads(SOON).await, None);
    }

    /// openraft lets two lead under one number, one after the other.
    #[tokio::test(flavor = "multi_thread")]
    async fn votes_for_a_later_leader_of_the_same_term_prove_nothing() {
        let group = Group::formed(3).await;
        let leader = group.leader().await;
        let (vote, _) = leader.node.electorate().await.unwrap();
        for other in group.controllers.values().filter(|other| other.node.id() != leader.node.id()) {
            let later = LeaderId { node_id: u64::MAX, ..vote.leader_id };
            let mut asks = VoteRequest::new(
                Vote { leader_id: later, committed: false },
                Some(LogId { leader_id: later, index: u64::MAX }),
            );
            asks.leadership_transfer = true;
            assert!(other.node.raft.vote(asks).await.unwrap().vote_granted);
        }
        assert_eq!(leader.node.still_leads(SOON).await, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn disks_that_stall_do_not_keep_a_leader_from_knowing() {
        let stalls = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&stalls);
        let fsync: Fsync = Arc::new(move |file| {
            while gate.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            file.sync_data()
        });
        let group = Group::formed_on(3, fsync).await;
        let leader = group.leader().await;
        stalls.store(true, Ordering::SeqCst);
        let writing = Arc::clone(&leader);
        let before = leader.node.status().last_log;
        let command = Command::Batch { commands: Vec::new() };
        let written = tokio::spawn(async move { writing.propose(command, "test", SOON).await });
        for id in group.controllers.keys() {
            let has_it = |other: &Controller| other.node.id() == *id && other.node.status().last_log > before;
            group.until("the entry in memory", has_it).await;
        }
        assert!(leader.node.confirm_leadership(Duration::from_millis(300)).await.is_err());
        assert!(leader.node.still_leads(Duration::from_millis(300)).await.is_some());
        stalls.store(false, Ordering::SeqCst);
        written.await.unwrap().unwrap();
    }

    /// It believes to lead for a while yet.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_leader_that_hears_from_nobody_proves_nothing() {
        let group = Group::formed(3).await;
        let leader = group.leader().await;
        for controller in group.controllers.values().filter(|other| other.node.id() != leader.node.id()) {
            controller.node.shutdown(Duration::ZERO).await;
        }
        assert!(leader.node.is_leader());
        assert_eq!(leader.node.still_leads(Duration::from_millis(300)).await, None);
    }
}
