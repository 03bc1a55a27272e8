//! Whether a replica comes to follow its primary. PostgreSQL itself tries for ever, also what can never be.

use std::time::Duration;

use super::keep::Process;
use super::look::{Look, Server};
use crate::goal::{DatabaseGoal, DatabaseRole};
use crate::lsn::Lsn;
use crate::name::RegionName;
use crate::time::Uptime;

/// One that does not stream for so long, though its primary is there, is looked into.
const LOOK_AFTER: Duration = Duration::from_secs(4);
/// One that ends so often before it answers is looked into.
const STARTS: u32 = 3;
/// One that was waited for follows when it is fed for so long, or is sent more. Where the logs have parted a
/// receiver begins and is ended, three times a second or more, and may look fed in between.
const STEADY: Duration = Duration::from_secs(2);
const COPY_AFTER: Duration = Duration::from_secs(10);
const START_AGAIN_MIN: Duration = Duration::from_millis(500);
const START_AGAIN_MAX: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, Default)]
pub struct Following {
    of: Option<RegionName>,
    /// Since when it does not, or was last looked into.
    waits_since: Option<Uptime>,
    /// What it had been sent then.
    had: Option<Lsn>,
    /// In the last look.
    is_fed: bool,
    /// In every look.
    fed_since: Option<Uptime>,
    /// Starts since a server last answered, and when the last was.
    starts: u32,
    started: Option<Uptime>,
    refused_since: Option<Uptime>,
    /// As it is, it never can.
    pub parted: bool,
    /// A rewind cannot help.
    pub must_copy: bool,
    /// For a person.
    pub problem: Option<String>,
}

impl Following {
    pub fn note(&mut self, goal: &DatabaseGoal, look: &Look, now: Uptime) {
        let of = match &goal.role {
            DatabaseRole::Replica { of, .. } => Some(of),
            _ => None,
        };
        let server = look.server.as_ref().filter(|server| server.in_recovery);
        let streams = server.is_some_and(|server| server.streams);
        let is_fed = server.is_some_and(Server::is_fed);
        let received = server.and_then(|server| server.received);
        self.is_fed = is_fed;
        self.fed_since = is_fed.then_some(self.fed_since.unwrap_or(now));
        let is_further = received.zip(self.had).is_some_and(|(received, had)| received > had);
        let is_steady = self.fed_since.is_some_and(|since| now.since(since) >= STEADY);
        let follows = streams && is_further || is_fed && (self.waits_since.is_none() || is_steady);
        if of != self.of.as_ref() || follows {
            // In another role it may start at once.
            *self = Following { of: of.cloned(), starts: self.starts, is_fed, ..Following::default() };
        }
        if look.server.is_some() {
            (self.starts, self.started) = (0, None);
        }
        let waits = match look.seen.process {
            Process::Starting => true,
            Process::Replica { .. } => !is_fed || self.waits_since.is_some(),
            // It ended by itself.
            Process::None => self.starts > 0,
            _ => false,
        };
        let is_new = self.waits_since.is_none();
        let since = self.waits_since.unwrap_or(now);
        self.waits_since = (waits && of.is_some()).then_some(since);
        if is_new || self.had.is_none() {
            self.had = received;
        }
    }

    pub fn is_suspect(&self, process: &Process, now: Uptime) -> bool {
        let is_due = self.waits_since.is_some_and(|since| now.since(since) > LOOK_AFTER);
        match process {
            Process::None => self.starts >= STARTS && is_due,
            Process::Replica { .. } if self.is_fed => false,
            _ => is_due,
        }
    }

    /// An error: it is not known yet.
    pub fn was_looked_into(&mut self, found: Result<Option<String>, String>, now: Uptime) {
        self.waits_since = Some(now);
        self.parted = matches!(found, Ok(Some(_)));
        self.problem = match found {
            Ok(Some(why)) => Some(format!("it cannot follow as it is: {why}")),
            Ok(None) => None,
            Err(why) => Some(format!("it does not follow its primary: {why}")),
        };
    }

    /// After it was rewound, or copied: it may be another now.
    pub fn begins_anew(&mut self) {
        *self = Following { of: self.of.take(), ..Following::default() };
    }

    /// How long to wait before it is started once more: nothing, the first time.
    pub fn may_start_in(&self, now: Uptime) -> Option<Duration> {
        let started = self.started.filter(|_| self.starts > 0)?;
        let pause = START_AGAIN_MIN.saturating_mul(1 << self.starts.min(6)).min(START_AGAIN_MAX);
        Some(pause.saturating_sub(now.since(started))).filter(|left| !left.is_zero())
    }

    /// By us: it did not end by itself.
    pub fn is_stopped(&mut self) {
        (self.starts, self.started) = (0, None);
    }

    /// The primary has no connection for a rewind. A copy needs none of those that clients take.
    pub fn is_refused(&mut self, now: Uptime) {
        let since = *self.refused_since.get_or_insert(now);
        self.must_copy |= now.since(since) > COPY_AFTER;
    }

    pub fn is_started(&mut self, now: Uptime) {
        self.starts = self.starts.saturating_add(1);
        self.started = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_waits_for_nothing_and_later_ones_do() {
        let now = Uptime(7);
        let mut following = Following::default();
        assert_eq!(following.may_start_in(now), None);
        following.is_started(now);
        assert!(following.may_start_in(now).is_some());
        following.begins_anew();
        assert_eq!(following.may_start_in(now), None);
    }
}
