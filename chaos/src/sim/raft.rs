//! Consensus as the fast depth models it: the algorithm of the Raft paper (Ongaro and Ousterhout 2014, figure 2) with
//! pre-votes and leases of followers (Ongaro's thesis 2014, sections 9.6 and 4.2.3) and rounds for reads (6.4), a
//! message at a time. What is on the disk is apart from what is not: a crash takes the latter. Members do not change.

use std::rc::Rc;

pub type Member = u8;

/// A place in the log, and the term of what is there; index 0 lies before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogId {
    pub term: u64,
    pub index: u64,
}

#[derive(Debug)]
pub struct Logged<C> {
    pub term: u64,
    /// None: what a leader begins its term with.
    pub command: Option<Rc<C>>,
}

impl<C> Clone for Logged<C> {
    fn clone(&self) -> Self {
        Logged { term: self.term, command: self.command.clone() }
    }
}

#[derive(Debug)]
pub enum Message<C> {
    /// `is_pre`: would you vote for me, if I asked?
    Ask {
        term: u64,
        last: LogId,
        is_pre: bool,
    },
    Vote {
        term: u64,
        granted: bool,
        is_pre: bool,
    },
    Append {
        term: u64,
        before: LogId,
        entries: Vec<Logged<C>>,
        committed: u64,
        round: u64,
    },
    /// `has`: up to where it has what the leader has; an error: it does not have what is before, but may have this.
    Appended {
        term: u64,
        round: u64,
        has: Result<u64, u64>,
    },
    /// Does it hold the leader's term yet? From memory: no disk is waited for.
    Prove {
        term: u64,
        round: u64,
    },
    Proved {
        term: u64,
        round: u64,
    },
}

impl<C> Clone for Message<C> {
    fn clone(&self) -> Self {
        match self {
            Message::Ask { term, last, is_pre } => Message::Ask { term: *term, last: *last, is_pre: *is_pre },
            Message::Vote { term, granted, is_pre } => {
                Message::Vote { term: *term, granted: *granted, is_pre: *is_pre }
            }
            Message::Append { term, before, entries, committed, round } => Message::Append {
                term: *term,
                before: *before,
                entries: entries.clone(),
                committed: *committed,
                round: *round,
            },
            Message::Appended { term, round, has } => {
                Message::Appended { term: *term, round: *round, has: *has }
            }
            Message::Prove { term, round } => Message::Prove { term: *term, round: *round },
            Message::Proved { term, round } => Message::Proved { term: *term, round: *round },
        }
    }
}

/// What a member has on its disk besides the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    pub term: u64,
    pub voted: Option<Member>,
    /// How much of the log, since its end was cut off so often.
    pub length: u64,
    cuts: usize,
}

#[derive(Debug)]
enum Role {
    Follower,
    /// Who would vote for it, or has.
    Candidate {
        is_pre: bool,
        votes: Vec<Member>,
    },
    Leader(Leading),
}

#[derive(Debug)]
struct Leading {
    /// Where its term begins in the log.
    first: u64,
    /// Up to where each member surely has the log, and what is sent to it next.
    has: Vec<u64>,
    next: Vec<u64>,
    /// The newest quorum round, and those that each has answered.
    round: u64,
    answered: Vec<u64>,
}

/// What to send, and whether it has to be on the disk first.
pub struct Out<C> {
    pub to: Member,
    pub message: Message<C>,
    pub is_synced_first: bool,
}

pub struct Raft<C> {
    id: Member,
    members: Member,
    term: u64,
    voted: Option<Member>,
    log: Vec<Logged<C>>,
    /// Where the end of the log was cut off, each time: what is synced later may have been of before.
    cuts: Vec<u64>,
    durable: Durable,
    role: Role,
    leader: Option<Member>,
    committed: u64,
    /// Entries a message carries at most.
    at_once: usize,
    /// Bugs that are put in on purpose.
    pub votes_twice: bool,
    pub commits_older_terms: bool,
}

impl<C> Raft<C> {
    pub fn new(id: Member, members: Member) -> Raft<C> {
        Raft {
            id,
            members,
            term: 0,
            voted: None,
            log: Vec::new(),
            cuts: Vec::new(),
            durable: Durable::default(),
            role: Role::Follower,
            leader: None,
            committed: 0,
            at_once: 256,
            votes_twice: false,
            commits_older_terms: false,
        }
    }

    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whom it believes to lead.
    pub fn leader(&self) -> Option<Member> {
        self.leader
    }

    pub fn leads(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    pub fn committed(&self) -> u64 {
        self.committed
    }

    pub fn last(&self) -> LogId {
        let index = self.log.len() as u64;
        LogId { term: self.term_at(index), index }
    }

    pub fn entry(&self, index: u64) -> Option<&Logged<C>> {
        self.log.get(index.checked_sub(1)? as usize)
    }

    /// Where this leader's own term begins; committed, and so is all before it.
    pub fn begun(&self) -> Option<u64> {
        match &self.role {
            Role::Leader(leading) if self.committed >= leading.first => Some(leading.first),
            _ => None,
        }
    }

    fn term_at(&self, index: u64) -> u64 {
        self.entry(index).map_or(0, |entry| entry.term)
    }

    fn others(&self) -> impl Iterator<Item = Member> + use<C> {
        let id = self.id;
        (0..self.members).filter(move |member| *member != id)
    }

    fn is_majority(&self, count: usize) -> bool {
        count > usize::from(self.members) / 2
    }

    /// What must be on the disk before what depends on it is said.
    pub fn unsynced(&self) -> Durable {
        Durable { term: self.term, voted: self.voted, length: self.log.len() as u64, cuts: self.cuts.len() }
    }

    pub fn is_synced(&self) -> bool {
        self.unsynced() == self.durable
    }

    /// It is on the disk. A leader counts its own log from then on.
    pub fn synced(&mut self, durable: Durable) {
        let is_newer = |one: &Durable, other: &Durable| (one.term, one.voted) > (other.term, other.voted);
        let since = &self.cuts[durable.cuts..];
        let kept = since.iter().fold(durable.length, |length, cut| length.min(*cut));
        let length = self.durable.length.max(kept);
        let newest = if is_newer(&durable, &self.durable) { durable } else { self.durable };
        self.durable = Durable { length, cuts: self.cuts.len(), ..newest };
        let (id, length) = (usize::from(self.id), self.durable.length);
        if let Role::Leader(leading) = &mut self.role {
            leading.has[id] = leading.has[id].max(length);
            self.commit();
        }
    }

    /// What was not synced is gone, or some of it.
    pub fn crash(&mut self, keeps_unsynced: u64) {
        let Durable { term, voted, length, .. } = self.durable;
        (self.term, self.voted) = (term, voted);
        self.log.truncate((length + keeps_unsynced) as usize);
        self.durable.length = self.log.len() as u64;
        (self.role, self.leader, self.committed) = (Role::Follower, None, 0);
    }

    /// Nothing was heard of a leader for too long.
    pub fn times_out(&mut self, out: &mut Vec<Out<C>>) {
        if self.leads() {
            return;
        }
        self.leader = None;
        self.asks(true, out);
    }

    fn asks(&mut self, is_pre: bool, out: &mut Vec<Out<C>>) {
        if !is_pre {
            (self.term, self.voted) = (self.term + 1, Some(self.id));
        }
        self.role = Role::Candidate { is_pre, votes: vec![self.id] };
        let term = if is_pre { self.term + 1 } else { self.term };
        let last = self.last();
        for to in self.others() {
            let message = Message::Ask { term, last, is_pre };
            out.push(Out { to, message, is_synced_first: !is_pre });
        }
        self.counts_votes(out);
    }

    /// Alone, it is its own majority.
    fn counts_votes(&mut self, out: &mut Vec<Out<C>>) {
        let Role::Candidate { is_pre, votes } = &self.role else { return };
        if !self.is_majority(votes.len()) {
            return;
        }
        match is_pre {
            true => self.asks(false, out),
            false => self.leads_now(out),
        }
    }

    fn leads_now(&mut self, out: &mut Vec<Out<C>>) {
        let members = usize::from(self.members);
        let first = self.log.len() as u64 + 1;
        self.role = Role::Leader(Leading {
            first,
            has: vec![0; members],
            next: vec![first; members],
            round: 0,
            answered: vec![0; members],
        });
        self.leader = Some(self.id);
        self.log.push(Logged { term: self.term, command: None });
        self.sends(out);
    }

    /// None: it does not lead.
    pub fn propose(&mut self, command: C, out: &mut Vec<Out<C>>) -> Option<LogId> {
        if !self.leads() {
            return None;
        }
        self.log.push(Logged { term: self.term, command: Some(Rc::new(command)) });
        self.sends(out);
        Some(self.last())
    }

    /// To every other member, what it lacks, or that there is nothing new.
    pub fn sends(&mut self, out: &mut Vec<Out<C>>) {
        for to in self.others() {
            self.sends_to(to, out);
        }
    }

    fn sends_to(&mut self, to: Member, out: &mut Vec<Out<C>>) {
        let Role::Leader(leading) = &self.role else { return };
        let next = leading.next[usize::from(to)];
        let before = LogId { term: self.term_at(next - 1), index: next - 1 };
        let lacks = self.log.iter().skip(next as usize - 1).take(self.at_once);
        // So that a majority can have what is of older terms alone.
        let first = self.term_at(next);
        let is_sent = |entry: &&Logged<C>| !self.commits_older_terms || entry.term == first;
        let entries = lacks.take_while(is_sent).cloned().collect();
        let (term, committed, round) = (self.term, self.committed, leading.round);
        let message = Message::Append { term, before, entries, committed, round };
        out.push(Out { to, message, is_synced_first: false });
    }

    /// Begins a round: once [`Raft::proved`] it, it led after this call. None: it does not lead.
    pub fn round(&mut self, out: &mut Vec<Out<C>>) -> Option<u64> {
        let Role::Leader(leading) = &mut self.role else { return None };
        leading.round += 1;
        let (term, round) = (self.term, leading.round);
        for to in self.others() {
            out.push(Out { to, message: Message::Prove { term, round }, is_synced_first: false });
        }
        Some(round)
    }

    /// The number of the next round. None: it does not lead.
    pub fn next_round(&self) -> Option<u64> {
        match &self.role {
            Role::Leader(leading) => Some(leading.round + 1),
            _ => None,
        }
    }

    /// The same, and all are told what they lack.
    pub fn heartbeat(&mut self, out: &mut Vec<Out<C>>) -> Option<u64> {
        let Role::Leader(leading) = &mut self.role else { return None };
        leading.round += 1;
        let round = leading.round;
        self.sends(out);
        Some(round)
    }

    pub fn proved(&self, round: u64) -> bool {
        let Role::Leader(leading) = &self.role else { return false };
        let others = leading.answered.iter().filter(|answered| **answered >= round).count();
        self.is_majority(1 + others)
    }

    /// `hears_leader`: it heard of one so lately that there need be no other. True: of a leader, by this message.
    pub fn receives(
        &mut self,
        from: Member,
        message: Message<C>,
        hears_leader: bool,
        out: &mut Vec<Out<C>>,
    ) -> bool {
        match message {
            Message::Ask { term, last, is_pre } => {
                self.is_asked(from, term, last, is_pre, hears_leader, out);
                false
            }
            Message::Vote { term, granted, is_pre } => {
                self.is_answered(from, term, granted, is_pre, out);
                false
            }
            Message::Append { term, before, entries, committed, round } => {
                let is_leader = term >= self.term;
                let has = if is_leader { self.takes(from, term, before, entries, committed) } else { Err(0) };
                // Each leader counts its rounds anew: one of an older term proves nothing of a newer.
                let round = if is_leader { round } else { 0 };
                let message = Message::Appended { term: self.term, round, has };
                out.push(Out { to: from, message, is_synced_first: true });
                is_leader
            }
            Message::Appended { term, round, has } => {
                self.is_appended(from, term, round, has, out);
                false
            }
            Message::Prove { term, round } => {
                let round = if term == self.term { round } else { 0 };
                let message = Message::Proved { term: self.term, round };
                out.push(Out { to: from, message, is_synced_first: false });
                term == self.term
            }
            Message::Proved { term, round } => {
                if term > self.term {
                    self.follows(term, None);
                } else if term == self.term
                    && let Role::Leader(leading) = &mut self.role
                {
                    let answered = &mut leading.answered[usize::from(from)];
                    *answered = round.max(*answered);
                }
                false
            }
        }
    }

    fn follows(&mut self, term: u64, leader: Option<Member>) {
        if term > self.term {
            (self.term, self.voted) = (term, None);
        }
        (self.role, self.leader) = (Role::Follower, leader);
    }

    fn is_asked(
        &mut self,
        from: Member,
        term: u64,
        last: LogId,
        is_pre: bool,
        hears_leader: bool,
        out: &mut Vec<Out<C>>,
    ) {
        let is_current = last >= self.last();
        let mut granted = false;
        if term > self.term && !hears_leader && !self.leads() {
            if !is_pre {
                self.follows(term, None);
            }
            granted = is_pre && is_current;
        }
        if !is_pre && term == self.term && is_current && self.may_vote_for(from) {
            self.voted = Some(from);
            granted = true;
        }
        let message =
            Message::Vote { term: if is_pre && granted { term } else { self.term }, granted, is_pre };
        out.push(Out { to: from, message, is_synced_first: !is_pre });
    }

    fn may_vote_for(&self, candidate: Member) -> bool {
        self.votes_twice || self.voted.is_none_or(|voted| voted == candidate)
    }

    fn is_answered(&mut self, from: Member, term: u64, granted: bool, is_pre: bool, out: &mut Vec<Out<C>>) {
        let asked = if is_pre { self.term + 1 } else { self.term };
        if !granted {
            if term > self.term {
                self.follows(term, None);
            }
            return;
        }
        if let Role::Candidate { is_pre: asks_pre, votes } = &mut self.role
            && *asks_pre == is_pre
            && term == asked
            && !votes.contains(&from)
        {
            votes.push(from);
            self.counts_votes(out);
        }
    }

    fn takes(
        &mut self,
        from: Member,
        term: u64,
        before: LogId,
        entries: Vec<Logged<C>>,
        committed: u64,
    ) -> Result<u64, u64> {
        self.follows(term, Some(from));
        if before.index > self.log.len() as u64 || self.term_at(before.index) != before.term {
            return Err((self.log.len() as u64).min(before.index.saturating_sub(1)));
        }
        let mut index = before.index;
        for entry in entries {
            index += 1;
            if self.entry(index).is_some_and(|own| own.term == entry.term) {
                continue;
            }
            if self.log.len() as u64 >= index {
                self.log.truncate(index as usize - 1);
                self.cuts.push(index - 1);
                self.durable.length = self.durable.length.min(index - 1);
            }
            self.log.push(entry);
        }
        self.committed = self.committed.max(committed.min(index));
        Ok(index)
    }

    fn is_appended(
        &mut self,
        from: Member,
        term: u64,
        round: u64,
        has: Result<u64, u64>,
        out: &mut Vec<Out<C>>,
    ) {
        if term > self.term {
            return self.follows(term, None);
        }
        let last = self.log.len() as u64;
        let Role::Leader(leading) = &mut self.role else { return };
        if term < self.term {
            return;
        }
        let member = usize::from(from);
        leading.answered[member] = leading.answered[member].max(round);
        match has {
            Ok(has) => {
                leading.has[member] = leading.has[member].max(has);
                leading.next[member] = leading.has[member] + 1;
                let lacks_more = leading.has[member] < last;
                let before = self.committed;
                self.commit();
                // Whoever is far behind is not left to the next heartbeat; nor is what was committed.
                if self.committed > before {
                    self.sends(out);
                } else if lacks_more {
                    self.sends_to(from, out);
                }
            }
            Err(may_have) => {
                leading.next[member] = (may_have + 1).min(leading.next[member].saturating_sub(1)).max(1);
                self.sends_to(from, out);
            }
        }
    }

    /// Only what is of its own term is committed by counting (figure 8 of the paper).
    fn commit(&mut self) {
        let Role::Leader(leading) = &self.role else { return };
        let mut has = leading.has.clone();
        has.sort_unstable_by(|a, b| b.cmp(a));
        let by_majority = has[usize::from(self.members) / 2];
        let is_own = self.term_at(by_majority) == self.term || self.commits_older_terms;
        if by_majority > self.committed && is_own {
            self.committed = by_majority;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::chance::Chance;

    /// Members whose messages come in any order, late, twice, or never; who crash, with disks that are behind.
    struct Group {
        members: Vec<Raft<u64>>,
        under_way: Vec<(Member, Member, Message<u64>)>,
        /// Synced with the next round of the disk: what is said only then.
        unsynced: Vec<(Member, Durable, Vec<Out<u64>>)>,
        /// What was ever committed, and in which term.
        committed: Vec<(u64, Option<u64>)>,
        leaders: std::collections::BTreeMap<u64, Member>,
        chance: Chance,
    }

    impl Group {
        fn new(members: Member, seed: u64) -> Group {
            Group {
                members: (0..members).map(|id| Raft::new(id, members)).collect(),
                under_way: Vec::new(),
                unsynced: Vec::new(),
                committed: Vec::new(),
                leaders: Default::default(),
                chance: Chance::new(seed),
            }
        }

        fn does(&mut self, id: Member, act: impl FnOnce(&mut Raft<u64>, &mut Vec<Out<u64>>)) {
            let mut out = Vec::new();
            let member = &mut self.members[usize::from(id)];
            act(member, &mut out);
            let durable = member.unsynced();
            let (later, now): (Vec<_>, Vec<_>) = out.into_iter().partition(|out| out.is_synced_first);
            self.under_way.extend(now.into_iter().map(|out| (id, out.to, out.message)));
            self.unsynced.push((id, durable, later));
            self.looks(id);
        }

        fn syncs(&mut self, n: usize) {
            let (id, durable, said) = self.unsynced.remove(n);
            self.members[usize::from(id)].synced(durable);
            self.under_way.extend(said.into_iter().map(|out| (id, out.to, out.message)));
            self.looks(id);
        }

        fn looks(&mut self, id: Member) {
            let member = &self.members[usize::from(id)];
            if member.leads() {
                let first = *self.leaders.entry(member.term()).or_insert(id);
                assert_eq!(first, id, "two leaders in term {}", member.term());
            }
            for index in 1..=member.committed() {
                let entry = member.entry(index).unwrap();
                let is = (entry.term, entry.command.as_deref().copied());
                match self.committed.get(index as usize - 1) {
                    Some(was) => assert_eq!(*was, is, "index {index} of member {id}"),
                    None => self.committed.push(is),
                }
            }
        }

        fn step(&mut self, n: u64) {
            let members = self.members.len() as u64;
            let id = self.chance.below(members) as Member;
            match self.chance.below(100) {
                0..2 => self.does(id, |member, out| member.times_out(out)),
                2..3 => {
                    self.unsynced.retain(|(of, ..)| *of != id);
                    let keeps = self.chance.below(3);
                    self.members[usize::from(id)].crash(keeps);
                }
                3..10 => self.does(id, |member, out| {
                    member.propose(n, out);
                }),
                10..16 => self.does(id, |member, out| member.sends(out)),
                16..40 if !self.unsynced.is_empty() => {
                    // Disks write in order, each by itself.
                    let first = self.unsynced.iter().position(|(of, ..)| *of == id);
                    if let Some(first) = first {
                        self.syncs(first);
                    }
                }
                _ if !self.under_way.is_empty() => {
                    let n = self.chance.below(self.under_way.len() as u64) as usize;
                    let lost = self.chance.permille(100);
                    let (from, to, message) = match self.chance.permille(50) {
                        true => self.under_way[n].clone(),
                        false => self.under_way.swap_remove(n),
                    };
                    if !lost {
                        self.does(to, |member, out| {
                            member.receives(from, message, false, out);
                        });
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn what_is_committed_stays_whatever_happens() {
        let (mut most, mut elections) = (0, 0);
        for seed in 0..40 {
            let mut group = Group::new(if seed % 2 == 0 { 3 } else { 5 }, seed);
            for n in 0..6_000 {
                group.step(n);
            }
            most = most.max(group.committed.len());
            elections += group.leaders.len();
        }
        assert!(most > 50 && elections > 200, "hardly anything happened: {most} {elections}");
    }

    #[test]
    fn a_vote_that_was_not_on_the_disk_elects_two() {
        // The same group, but what is said does not wait for the disk.
        let finds = (0..60).any(|seed| {
            std::panic::catch_unwind(|| {
                let mut group = Group::new(3, seed);
                for n in 0..6_000 {
                    group.step(n);
                    for (id, _, said) in &mut group.unsynced {
                        group.under_way.extend(said.drain(..).map(|out| (*id, out.to, out.message)));
                    }
                }
            })
            .is_err()
        });
        assert!(finds, "the test of the model cannot fail");
    }

    #[test]
    fn a_round_proves_that_it_led_after_it_was_asked() {
        let mut group = Group::new(3, 1);
        group.does(0, |member, out| member.times_out(out));
        let run = |group: &mut Group| {
            while !group.unsynced.is_empty() || !group.under_way.is_empty() {
                while !group.unsynced.is_empty() {
                    group.syncs(0);
                }
                for (from, to, message) in std::mem::take(&mut group.under_way) {
                    group.does(to, |member, out| {
                        member.receives(from, message, false, out);
                    });
                }
            }
        };
        run(&mut group);
        assert!(group.members[0].leads() && group.members[0].begun() == Some(1));
        let mut asked = None;
        group.does(0, |member, out| asked = member.round(out));
        assert!(!group.members[0].proved(asked.unwrap()));
        run(&mut group);
        assert!(group.members[0].proved(asked.unwrap()));
        // Alone it proves nothing.
        group.does(0, |member, out| asked = member.round(out));
        group.under_way.clear();
        assert!(!group.members[0].proved(asked.unwrap()));
    }
}
