//! The log of one copy of a database: where it came from, and how far it goes. Bytes are not kept, only where they
//! were written: a record is known by its branch and where it ends.

/// A stretch of the log that one primary wrote; no two are the same, whatever number PostgreSQL gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub id: BranchId,
    /// PostgreSQL's number of the timeline.
    pub timeline: u32,
    /// Where it left the one before.
    pub from: u64,
}

/// Where a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub branch: BranchId,
    pub end: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    stretches: Vec<Stretch>,
    pub end: u64,
}

/// Why PostgreSQL would not send one log to whoever has the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parted {
    /// It has a timeline that the sender does not know.
    Unknown,
    /// It goes on where the sender's history has left its timeline.
    Beyond,
}

impl Log {
    pub fn new(id: BranchId, timeline: u32, end: u64) -> Log {
        Log { stretches: vec![Stretch { id, timeline, from: 0 }], end }
    }

    pub fn timeline(&self) -> u32 {
        self.last().timeline
    }

    fn last(&self) -> Stretch {
        *self.stretches.last().expect("a log has a beginning")
    }

    pub fn newest(&self) -> Record {
        Record { branch: self.last().id, end: self.end }
    }

    /// A primary begins to write here.
    pub fn branches(&mut self, id: BranchId, timeline: u32) {
        self.stretches.push(Stretch { id, timeline, from: self.end });
    }

    /// Where the stretch at this place ends.
    fn until(&self, place: usize) -> u64 {
        self.stretches.get(place + 1).map_or(self.end, |next| next.from)
    }

    pub fn has(&self, record: Record) -> bool {
        let place = self.stretches.iter().position(|stretch| stretch.id == record.branch);
        place.is_some_and(|place| record.end <= self.until(place))
    }

    /// Up to where both are the same.
    pub fn common(&self, other: &Log) -> u64 {
        let mut common = 0;
        for (place, (own, its)) in self.stretches.iter().zip(&other.stretches).enumerate() {
            if own.id != its.id || own.from != its.from {
                break;
            }
            common = self.until(place).min(other.until(place));
            if self.until(place) != other.until(place) {
                break;
            }
        }
        common
    }

    /// As PostgreSQL decides it: by numbers and places alone.
    pub fn may_follow(&self, sender: &Log) -> Result<(), Parted> {
        let own = self.last();
        let place = sender.stretches.iter().position(|stretch| stretch.timeline == own.timeline);
        match place {
            None => Err(Parted::Unknown),
            Some(place) if self.end > sender.until(place) => Err(Parted::Beyond),
            Some(_) => Ok(()),
        }
    }

    /// Takes in what the sender has up to `to`. False: they were never the same, and only the numbers were.
    pub fn takes(&mut self, sender: &Log, to: u64) -> bool {
        let is_kin = self.common(sender) >= self.end;
        if to > self.end {
            self.stretches.clone_from(&sender.stretches);
            self.end = to;
            self.stretches.retain(|stretch| stretch.from < to || stretch.from == 0);
        }
        is_kin
    }

    /// What is beyond is gone.
    pub fn cut(&mut self, end: u64) {
        self.end = self.end.min(end);
        let end = self.end;
        self.stretches.retain(|stretch| stretch.from <= end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BranchId = BranchId(1);
    const B: BranchId = BranchId(2);
    const C: BranchId = BranchId(3);

    fn record(branch: BranchId, end: u64) -> Record {
        Record { branch, end }
    }

    #[test]
    fn a_log_has_what_was_written_before_it_branched_and_after() {
        let mut old = Log::new(A, 1, 100);
        let mut new = old.clone();
        old.end = 150;
        new.branches(B, 2);
        new.end = 180;
        assert!(new.has(record(A, 100)) && new.has(record(B, 180)));
        assert!(!new.has(record(A, 101)) && !new.has(record(C, 1)));
        assert!(old.has(record(A, 150)) && !old.has(record(B, 101)));
        assert_eq!(old.common(&new), 100);
        assert_eq!(old.may_follow(&new), Err(Parted::Beyond));
        assert_eq!(new.may_follow(&old), Err(Parted::Unknown));
        old.cut(100);
        assert_eq!(old.may_follow(&new), Ok(()));
        assert!(old.takes(&new, 180));
        assert_eq!(old, new);
    }

    #[test]
    fn two_of_one_number_are_mixed_and_that_is_seen() {
        let base = Log::new(A, 1, 100);
        let (mut one, mut other) = (base.clone(), base);
        one.branches(B, 2);
        one.end = 120;
        other.branches(C, 2);
        other.end = 200;
        assert_eq!(one.may_follow(&other), Ok(()), "PostgreSQL sees no difference");
        assert!(!one.takes(&other, 200));
    }

    #[test]
    fn what_is_only_partly_sent_ends_where_it_ends() {
        let mut primary = Log::new(A, 1, 100);
        let mut replica = primary.clone();
        replica.cut(60);
        primary.branches(B, 2);
        primary.end = 140;
        assert!(replica.takes(&primary, 90));
        assert_eq!((replica.end, replica.timeline()), (90, 1));
        assert!(replica.takes(&primary, 140));
        assert_eq!(replica.timeline(), 2);
    }
}
