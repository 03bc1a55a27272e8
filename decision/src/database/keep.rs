//! What an agent does next with its instance: a table of what is wished and what is seen. Asked
//! anew after each action, so that a restarted agent and normal running are one path, and anything
//! may have happened meanwhile.

use std::collections::BTreeSet;

use super::Position;
use super::branch::Kinship;
use crate::goal::DatabaseRole;
use crate::name::RegionName;
use crate::plan::Epoch;
use crate::planted::{self, Bug};

/// What is found on this machine now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub files: Files,
    pub process: Process,
    /// Whether this agent holds a lease of the goal's epoch that the guard counts.
    pub leased: bool,
    /// How the last postmaster that took writes ended, if none runs now.
    pub ended: Option<Ended>,
    /// Why it must be ended although it runs.
    pub dead: Option<String>,
    /// Of its log, to the history that counts.
    pub kin: Kinship,
    /// Whether this agent has told the running server whom to follow, or nobody.
    pub was_told: bool,
    /// Whether the lease of the goal's epoch was given back from here already.
    pub released: bool,
    /// As it is, it can never follow whom it should: they have parted, or log that it needs is gone.
    pub parted: bool,
    /// It should have come to follow by now.
    pub suspect: bool,
    /// It starts as a replica, answers nothing yet, and was not told of whom it should follow at this epoch. Without log
    /// that another sends it may never answer.
    pub misled: bool,
    /// Who receives its log as it is written.
    pub followers: BTreeSet<RegionName>,
}

/// The data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    Absent,
    Present {
        system: String,
        /// It would start as a replica.
        standby: bool,
        /// Where it was shut down in order.
        clean: Option<Position>,
    },
    /// A copy that was not finished, or a folder that cannot be read as one.
    Broken {
        why: String,
    },
    /// Not ours to touch.
    Foreign {
        why: String,
    },
    /// Not looked at: a server runs in it, or it could not be read just now.
    Unseen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Process {
    None,
    /// It does not answer yet.
    Starting,
    /// It was told to end, and has not yet.
    Stopping,
    Replica {
        /// Whom it is set to follow.
        of: Option<RegionName>,
        /// What it has on disk.
        position: Option<Position>,
        /// A receiver is there, whatever it receives: what it has may still become more.
        streaming: bool,
    },
    Primary,
}

/// The end of the last postmaster that took writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The highest at which it held a lease.
    pub epoch: Epoch,
    /// The guard ended it because the lease was over.
    pub fenced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// All is as it should be.
    Rest,
    /// For something that is under way already.
    Wait(&'static str),
    /// It stands still for the vacancy that is now, and may say so.
    Settled,
    /// Have the lease renewed, and the guard count it, before anything that takes writes.
    Lease,
    Create,
    /// As it is: it goes on where it ended.
    StartPrimary,
    /// `None`: following nobody, only to be asked or promoted.
    StartReplica {
        of: Option<RegionName>,
    },
    Promote,
    Follow {
        of: Option<RegionName>,
    },
    /// In order, once whoever takes over has everything.
    ShutDown {
        to: RegionName,
    },
    /// In order; nothing was written here that others lack.
    Stop,
    /// At once, every process of it.
    Kill(&'static str),
    Rewind {
        of: RegionName,
    },
    Clone {
        of: RegionName,
    },
    /// To find out why it does not follow.
    LookInto {
        of: RegionName,
    },
    Release {
        clean: Option<Position>,
        why: String,
    },
    /// Only a person can help.
    Problem(String),
}

/// `system`: the database that this must be a copy of, once that is known.
pub fn next(role: &DatabaseRole, epoch: Epoch, system: Option<&str>, seen: &Seen) -> Action {
    if let (Files::Present { system: its, .. }, Some(ours)) = (&seen.files, system)
        && its != ours
    {
        return match seen.process {
            Process::None => Action::Problem(format!(
                "its data folder is of another database (system {its}, not {ours}): move it away, and it is copied anew"
            )),
            _ => Action::Kill("its data folder is of another database"),
        };
    }
    if let (Files::Foreign { why }, Process::None) = (&seen.files, &seen.process) {
        return Action::Problem(why.clone());
    }
    match role {
        DatabaseRole::Primary { at_least, .. } => as_primary(epoch, system, *at_least, seen),
        DatabaseRole::Replica { of, .. } => as_replica(of, seen),
        DatabaseRole::Yield { to } => as_yielding(to.as_ref(), seen),
        DatabaseRole::Rest { wrote_last } => at_rest(*wrote_last, seen),
    }
}

/// Instead of `next`, when a person wants the instance copied anew: only what follows another is
/// thrown away, and nothing that is not ours to touch.
pub fn anew(role: &DatabaseRole, seen: &Seen, next: Action) -> Action {
    let DatabaseRole::Replica { of, .. } = role else { return next };
    match (&seen.process, &next) {
        (_, Action::Kill(_) | Action::Problem(_)) => next,
        // One that never comes up is why a person asks.
        (Process::Replica { .. } | Process::Starting, _) => Action::Stop,
        (
            Process::None,
            Action::StartReplica { .. }
            | Action::Rewind { .. }
            | Action::Clone { .. }
            | Action::LookInto { .. },
        ) => Action::Clone { of: of.clone() },
        _ => next,
    }
}

fn as_primary(epoch: Epoch, system: Option<&str>, at_least: Option<Position>, seen: &Seen) -> Action {
    if seen.released {
        return given_back(seen);
    }
    let died = seen.ended.filter(|ended| ended.epoch == epoch && !ended.fenced);
    if died.is_some() && seen.process == Process::None {
        return release(None, "postgres ended");
    }
    match (&seen.process, &seen.files) {
        // S1: the guard counts before anything can be written.
        _ if !seen.leased => match &seen.process {
            Process::Primary => Action::Kill(UNLEASED),
            _ => Action::Lease,
        },
        (Process::None, Files::Absent) if system.is_none() => Action::Create,
        (Process::None, Files::Absent) => release(None, "its data folder is gone"),
        (Process::None, Files::Broken { .. }) => release(None, "its data folder cannot be used"),
        (Process::None, Files::Present { standby: true, .. }) => Action::StartReplica { of: None },
        (Process::None, Files::Present { standby: false, .. }) => Action::StartPrimary,
        (Process::None, Files::Foreign { .. } | Files::Unseen) => Action::Wait("for its data folder"),
        (Process::Stopping, _) => Action::Wait("for it to end"),
        // One that hangs answers nothing, as one that starts.
        (Process::Starting | Process::Primary, _) => match (&seen.dead, &seen.process) {
            (Some(why), _) => release(None, why),
            (None, Process::Starting) => Action::Wait("for it to start"),
            (None, _) => Action::Rest,
        },
        (Process::Replica { position, .. }, _) => match at_least {
            // S3: a planned move hands over everything.
            Some(least)
                if position.is_none_or(|position| position.lsn < least.lsn)
                    && !planted::has(Bug::HeirBeginsEarly) =>
            {
                Action::Wait(ALL)
            }
            _ => Action::Promote,
        },
    }
}

pub const UNLEASED: &str = "it holds no lease";
/// What it lacks may never come: whoever has it is gone.
pub const ALL: &str = "for everything that was acknowledged";
const HEIR: &str = "for its heir to follow";
const KIN: &str = "for the primary to tell which timeline it began";

/// S1: from the moment it was told, another may be granted the lease.
fn given_back(seen: &Seen) -> Action {
    match seen.process {
        Process::None => Action::Wait("for the controllers to know that the lease was given back"),
        _ => Action::Kill("its lease was given back"),
    }
}

fn release(clean: Option<Position>, why: &str) -> Action {
    Action::Release { clean, why: why.to_owned() }
}

fn as_replica(of: &RegionName, seen: &Seen) -> Action {
    match (&seen.process, &seen.files) {
        (Process::Primary, _) => Action::Kill("another holds the lease"),
        (Process::None, Files::Absent | Files::Broken { .. }) => Action::Clone { of: of.clone() },
        (Process::None, Files::Present { .. }) if seen.kin == Kinship::Stranger => {
            Action::Clone { of: of.clone() }
        }
        (Process::None, Files::Present { .. }) if seen.kin == Kinship::Unknown => Action::Wait(KIN),
        // What it has beyond the others goes, and is kept aside.
        (Process::None, Files::Present { standby, .. })
            if (!standby || seen.parted) && !planted::has(Bug::NeverRewound) =>
        {
            Action::Rewind { of: of.clone() }
        }
        (Process::None, Files::Present { .. }) if seen.suspect => Action::LookInto { of: of.clone() },
        (Process::None, Files::Present { .. }) => Action::StartReplica { of: Some(of.clone()) },
        (Process::None, Files::Foreign { .. } | Files::Unseen) => Action::Wait("for its data folder"),
        (Process::Stopping, _) => Action::Wait("for it to end"),
        (Process::Starting | Process::Replica { .. }, _)
            if seen.parted && !planted::has(Bug::NeverRewound) =>
        {
            Action::Stop
        }
        (Process::Starting, _) if seen.misled => turned(of, seen),
        (Process::Starting, _) if seen.suspect => Action::LookInto { of: of.clone() },
        (Process::Starting, _) => Action::Wait("for it to start"),
        (Process::Replica { of: follows, .. }, _) if follows.as_ref() != Some(of) => turned(of, seen),
        // It took it in while nobody could tell it whose that was. It would be no candidate, and nothing else mends it.
        (Process::Replica { .. }, _) if seen.kin == Kinship::Stranger => Action::Stop,
        (Process::Replica { .. }, _) if seen.suspect => Action::LookInto { of: of.clone() },
        (Process::Replica { .. }, _) => Action::Rest,
    }
}

/// To another, or to the same one at another epoch.
fn turned(of: &RegionName, seen: &Seen) -> Action {
    match seen.kin {
        Kinship::Kin => Action::Follow { of: Some(of.clone()) },
        Kinship::Stranger => Action::Stop,
        Kinship::Unknown => Action::Wait(KIN),
    }
}

fn as_yielding(to: Option<&RegionName>, seen: &Seen) -> Action {
    if seen.released {
        return given_back(seen);
    }
    match (&seen.process, to, &seen.files) {
        // It goes on meanwhile. One that began anew just now has nobody yet who would have its last words.
        (Process::Primary, Some(to), _) if !seen.followers.contains(to) => Action::Wait(HEIR),
        (Process::Primary, Some(to), _) => Action::ShutDown { to: to.clone() },
        (Process::Primary | Process::Stopping | Process::Starting, None, _) => {
            Action::Kill("it is told to end")
        }
        (Process::Stopping | Process::Starting, Some(_), _) => Action::Wait("for it to end"),
        // Granted, and not begun yet: nothing was written.
        (Process::Replica { .. }, _, _) => release(None, "it was not promoted yet"),
        (Process::None, _, Files::Present { clean: Some(at), standby: false, .. }) => {
            release(Some(*at), "it was shut down in order")
        }
        (Process::None, _, Files::Unseen) => Action::Wait("for its data folder"),
        (Process::None, _, _) => release(None, "it has ended, and not in order"),
    }
}

/// Nobody may write, and what each has must not change while the others are compared with it.
fn at_rest(wrote_last: bool, seen: &Seen) -> Action {
    match &seen.process {
        Process::Primary => Action::Kill("nobody holds the lease"),
        Process::Starting => Action::Wait("for it to start"),
        Process::Stopping => Action::Wait("for it to end"),
        Process::Replica { of: Some(_), .. } => Action::Follow { of: None },
        // A process before this one may have had it follow somebody.
        Process::Replica { .. } if !seen.was_told => Action::Follow { of: None },
        // What has arrived is written down before it counts.
        Process::Replica { streaming: true, .. } => Action::Wait("for it to stop receiving"),
        Process::Replica { .. } => Action::Settled,
        // Files say what was replayed; what it has on disk, and may have acknowledged, only a server tells.
        Process::None => match &seen.files {
            Files::Present { standby: true, .. } => Action::StartReplica { of: None },
            // It crashed as a primary, and another was granted the lease since.
            Files::Present { clean: None, .. } if !wrote_last => Action::StartReplica { of: None },
            _ => Action::Settled,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;

    const EPOCH: Epoch = Epoch(7);
    const REST: DatabaseRole = DatabaseRole::Rest { wrote_last: true };

    fn at(lsn: u64) -> Position {
        Position { timeline: 1, lsn: Lsn(lsn) }
    }

    fn present(standby: bool) -> Files {
        Files::Present { system: "7".into(), standby, clean: None }
    }

    fn seen(files: Files, process: Process) -> Seen {
        Seen {
            files,
            process,
            leased: true,
            ended: None,
            dead: None,
            kin: Kinship::Kin,
            was_told: true,
            released: false,
            parted: false,
            suspect: false,
            misled: false,
            followers: ["eu".into()].into(),
        }
    }

    fn replica(of: Option<&str>) -> Process {
        let of = of.map(RegionName::from);
        Process::Replica { streaming: of.is_some(), of, position: Some(at(100)) }
    }

    fn primary(at_least: Option<Position>) -> DatabaseRole {
        DatabaseRole::Primary { ready: None, at_least }
    }

    fn follow() -> DatabaseRole {
        DatabaseRole::Replica { of: "us".into(), heir: false }
    }

    fn go(role: &DatabaseRole, seen: &Seen) -> Action {
        next(role, EPOCH, Some("7"), seen)
    }

    #[test]
    fn nothing_takes_writes_without_a_lease() {
        for files in [Files::Absent, present(true), present(false)] {
            for process in [Process::None, Process::Starting, replica(None), replica(Some("us"))] {
                let seen = Seen { leased: false, ..seen(files.clone(), process) };
                assert_eq!(go(&primary(None), &seen), Action::Lease, "{seen:?}");
            }
        }
        let unleased = Seen { leased: false, ..seen(present(false), Process::Primary) };
        assert_eq!(go(&primary(None), &unleased), Action::Kill("it holds no lease"));
    }

    #[test]
    fn a_primary_is_ended_by_every_other_role() {
        let running = seen(present(false), Process::Primary);
        assert_eq!(go(&follow(), &running), Action::Kill("another holds the lease"));
        assert_eq!(go(&REST, &running), Action::Kill("nobody holds the lease"));
        assert_eq!(go(&DatabaseRole::Yield { to: None }, &running), Action::Kill("it is told to end"));
        let to = Some("eu".into());
        assert_eq!(go(&DatabaseRole::Yield { to }, &running), Action::ShutDown { to: "eu".into() });
    }

    #[test]
    fn from_replica_to_primary_with_everything_that_was_acknowledged() {
        let waiting = seen(present(true), replica(None));
        assert_eq!(go(&primary(None), &waiting), Action::Promote);
        assert_eq!(go(&primary(Some(at(100))), &waiting), Action::Promote);
        let lacks = Action::Wait("for everything that was acknowledged");
        assert_eq!(go(&primary(Some(at(101))), &waiting), lacks);
        assert_eq!(
            go(&primary(None), &seen(present(true), Process::None)),
            Action::StartReplica { of: None },
            "a timeline of its own"
        );
        assert_eq!(go(&primary(None), &seen(present(false), Process::None)), Action::StartPrimary);
    }

    #[test]
    fn one_that_died_gives_back_and_one_that_was_fenced_goes_on() {
        let ended = |epoch, fenced| {
            let ended = Some(Ended { epoch: Epoch(epoch), fenced });
            Seen { ended, ..seen(present(false), Process::None) }
        };
        let release = release(None, "postgres ended");
        assert_eq!(go(&primary(None), &ended(7, false)), release);
        assert_eq!(go(&primary(None), &ended(7, true)), Action::StartPrimary);
        assert_eq!(go(&primary(None), &ended(6, false)), Action::StartPrimary, "that was another time");
    }

    #[test]
    fn one_that_hangs_gives_back() {
        for process in [Process::Primary, Process::Starting] {
            let dead = Some("it has not written for 5 s".into());
            let hangs = Seen { dead, ..seen(present(false), process) };
            assert_eq!(go(&primary(None), &hangs), release(None, "it has not written for 5 s"));
        }
    }

    #[test]
    fn what_was_given_back_never_begins_again_at_its_epoch() {
        let roles =
            [primary(None), DatabaseRole::Yield { to: None }, DatabaseRole::Yield { to: Some("eu".into()) }];
        for role in roles {
            for files in [present(true), present(false), Files::Absent] {
                for process in [Process::None, Process::Starting, replica(None), Process::Primary] {
                    let is_none = process == Process::None;
                    let found = go(&role, &Seen { released: true, ..seen(files.clone(), process) });
                    match is_none {
                        true => assert!(matches!(found, Action::Wait(_)), "{found:?}"),
                        false => assert!(matches!(found, Action::Kill(_)), "{found:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn one_that_hangs_is_ended_and_given_back() {
        let hangs = Seen { dead: Some("its disk hangs".into()), ..seen(present(false), Process::Primary) };
        assert_eq!(go(&primary(None), &hangs), release(None, "its disk hangs"));
    }

    #[test]
    fn only_the_first_of_all_makes_a_database() {
        let empty = seen(Files::Absent, Process::None);
        assert_eq!(next(&primary(None), EPOCH, None, &empty), Action::Create);
        assert!(matches!(go(&primary(None), &empty), Action::Release { .. }));
        assert_eq!(go(&follow(), &empty), Action::Clone { of: "us".into() });
    }

    #[test]
    fn what_came_apart_is_put_together_again() {
        assert_eq!(go(&follow(), &seen(present(false), Process::None)), Action::Rewind { of: "us".into() });
        let broken = Files::Broken { why: "a copy was not finished".into() };
        assert_eq!(go(&follow(), &seen(broken, Process::None)), Action::Clone { of: "us".into() });
        for process in [replica(Some("us")), Process::Starting] {
            let parted = Seen { parted: true, ..seen(present(true), process) };
            assert_eq!(go(&follow(), &parted), Action::Stop);
        }
        let parted = Seen { parted: true, ..seen(present(true), Process::None) };
        assert_eq!(go(&follow(), &parted), Action::Rewind { of: "us".into() });
        let elsewhere = seen(present(true), replica(Some("ap")));
        assert_eq!(go(&follow(), &elsewhere), Action::Follow { of: Some("us".into()) });
    }

    #[test]
    fn one_that_does_not_come_to_follow_is_looked_into() {
        for process in [replica(Some("us")), Process::Starting, Process::None] {
            let suspect = Seen { suspect: true, ..seen(present(true), process) };
            assert_eq!(go(&follow(), &suspect), Action::LookInto { of: "us".into() });
            assert_ne!(go(&REST, &suspect), Action::LookInto { of: "us".into() });
        }
    }

    #[test]
    fn another_log_under_the_same_number_is_never_gone_on_with() {
        let clone = Action::Clone { of: "us".into() };
        for (standby, process) in [(true, Process::None), (false, Process::None), (true, replica(Some("ap")))]
        {
            let as_seen = |kin| Seen { kin, ..seen(present(standby), process.clone()) };
            let stranger = go(&follow(), &as_seen(Kinship::Stranger));
            match process {
                Process::None => assert_eq!(stranger, clone),
                _ => assert_eq!(stranger, Action::Stop, "and then it is copied"),
            }
            let unknown = go(&follow(), &as_seen(Kinship::Unknown));
            assert!(matches!(unknown, Action::Wait(_)), "{unknown:?}");
        }
        for (kin, action) in [
            (Kinship::Kin, Action::Follow { of: Some("us".into()) }),
            (Kinship::Stranger, Action::Stop),
            (Kinship::Unknown, Action::Wait(KIN)),
        ] {
            let misled = Seen { kin, misled: true, suspect: true, ..seen(Files::Unseen, Process::Starting) };
            assert_eq!(go(&follow(), &misled), action, "it may answer only when it was told");
        }
        // What the primary sends is its own, whatever it has told of it by now.
        let follows = Seen { kin: Kinship::Unknown, ..seen(present(true), replica(Some("us"))) };
        assert_eq!(go(&follow(), &follows), Action::Rest);
        let follows = Seen { kin: Kinship::Stranger, ..follows };
        assert_eq!(go(&follow(), &follows), Action::Stop, "and then it is copied");
    }

    #[test]
    fn at_rest_nothing_moves_any_more() {
        let rest = |process| go(&REST, &seen(present(true), process));
        assert_eq!(rest(replica(Some("us"))), Action::Follow { of: None });
        assert_eq!(rest(replica(None)), Action::Settled);
        assert_eq!(rest(Process::None), Action::StartReplica { of: None });
        let ended = seen(present(false), Process::None);
        assert_eq!(go(&REST, &ended), Action::Settled);
        // What it has nobody knows otherwise, and it may be all that there is.
        let before = DatabaseRole::Rest { wrote_last: false };
        assert_eq!(go(&before, &ended), Action::StartReplica { of: None });
        let in_order = Files::Present { system: "7".into(), standby: false, clean: Some(at(9)) };
        assert_eq!(go(&before, &seen(in_order, Process::None)), Action::Settled);
        assert_eq!(go(&before, &seen(Files::Absent, Process::None)), Action::Settled);
        let untold = Seen { was_told: false, ..seen(present(true), replica(None)) };
        assert_eq!(go(&REST, &untold), Action::Follow { of: None });
        assert_eq!(rest(Process::Starting), Action::Wait("for it to start"));
    }

    #[test]
    fn copied_anew_is_only_what_follows() {
        let go = |role: &DatabaseRole, seen: &Seen| anew(role, seen, go(role, seen));
        let clone = Action::Clone { of: "us".into() };
        assert_eq!(go(&follow(), &seen(present(true), replica(Some("us")))), Action::Stop);
        assert_eq!(go(&follow(), &seen(Files::Unseen, Process::Starting)), Action::Stop);
        assert_eq!(go(&follow(), &seen(Files::Unseen, Process::Stopping)), Action::Wait("for it to end"));
        for files in [present(true), present(false), Files::Absent] {
            assert_eq!(go(&follow(), &seen(files.clone(), Process::None)), clone, "{files:?}");
        }
        let foreign = Files::Foreign { why: "another's".into() };
        assert!(matches!(go(&follow(), &seen(foreign, Process::None)), Action::Problem(_)));
        let writes = seen(present(false), Process::Primary);
        assert_eq!(go(&follow(), &writes), Action::Kill("another holds the lease"));
        assert_eq!(go(&primary(None), &writes), Action::Rest);
        let waits = seen(present(true), replica(None));
        assert_eq!(go(&REST, &waits), Action::Settled);
        assert_eq!(go(&primary(None), &waits), Action::Promote);
    }

    #[test]
    fn a_foreign_folder_is_never_touched() {
        let foreign = Files::Present { system: "8".into(), standby: false, clean: None };
        for role in [primary(None), follow(), REST] {
            let found = go(&role, &seen(foreign.clone(), Process::None));
            assert!(matches!(found, Action::Problem(_)), "{role:?}: {found:?}");
        }
        assert!(matches!(go(&follow(), &seen(foreign, replica(None))), Action::Kill(_)));
    }

    #[test]
    fn whoever_hands_over_does_not_end_before_its_heir_follows() {
        let to = |to: &str| DatabaseRole::Yield { to: Some(to.into()) };
        let writes = seen(Files::Unseen, Process::Primary);
        assert_eq!(go(&to("eu"), &writes), Action::ShutDown { to: "eu".into() });
        assert_eq!(go(&to("ap"), &writes), Action::Wait(HEIR));
        assert!(matches!(go(&DatabaseRole::Yield { to: None }, &writes), Action::Kill(_)));
    }

    #[test]
    fn what_ended_in_order_says_where() {
        let to = || DatabaseRole::Yield { to: Some("eu".into()) };
        let clean = Files::Present { system: "7".into(), standby: false, clean: Some(at(9)) };
        let ended = release(Some(at(9)), "it was shut down in order");
        assert_eq!(go(&to(), &seen(clean, Process::None)), ended);
        let crashed = release(None, "it has ended, and not in order");
        assert_eq!(go(&to(), &seen(present(false), Process::None)), crashed);
    }
}
