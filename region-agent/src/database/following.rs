//! Whether a replica comes to follow its primary. PostgreSQL itself tries for ever, also what can never be.

use std::path::Path;
use std::time::{Duration, Instant};

use decision::database::keep::Process;
use decision::goal::{DatabaseGoal, DatabaseRole};
use decision::name::RegionName;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::see::{self, Look};

/// One that does not stream for so long, though its primary is there, is looked into.
const LOOK_AFTER: Duration = Duration::from_secs(4);
/// One that ends so often before it answers is looked into.
const STARTS: u32 = 3;
const COPY_AFTER: Duration = Duration::from_secs(10);
const START_AGAIN_MIN: Duration = Duration::from_millis(500);
const START_AGAIN_MAX: Duration = Duration::from_secs(15);

#[derive(Default)]
pub(super) struct Following {
    of: Option<RegionName>,
    /// Since when it does not, or was last looked into.
    waits_since: Option<Instant>,
    /// Starts since a server last answered, and when the last was.
    starts: u32,
    started: Option<Instant>,
    refused_since: Option<Instant>,
    /// As it is, it never can.
    pub(super) parted: bool,
    /// A rewind cannot help.
    pub(super) must_copy: bool,
    /// For a person.
    pub(super) problem: Option<String>,
}

impl Following {
    pub(super) fn note(&mut self, goal: &DatabaseGoal, look: &Look) {
        let of = match &goal.role {
            DatabaseRole::Replica { of, .. } => Some(of),
            _ => None,
        };
        let streams = look.observed.as_ref().is_some_and(|seen| seen.in_recovery && see::is_streaming(seen));
        if of != self.of.as_ref() || streams {
            // In another role it may start at once.
            *self = Following { of: of.cloned(), starts: self.starts, ..Following::default() };
        }
        if look.observed.is_some() {
            (self.starts, self.started) = (0, None);
        }
        let waits = match look.seen.process {
            Process::Starting | Process::Replica { streaming: false, .. } => true,
            // It ended by itself.
            Process::None => self.starts > 0,
            _ => false,
        };
        let since = self.waits_since.unwrap_or_else(Instant::now);
        self.waits_since = (waits && of.is_some()).then_some(since);
    }

    pub(super) fn is_suspect(&self, process: &Process) -> bool {
        let is_due = self.waits_since.is_some_and(|since| since.elapsed() > LOOK_AFTER);
        match process {
            Process::None => self.starts >= STARTS && is_due,
            _ => is_due,
        }
    }

    pub(super) fn was_looked_into(&mut self, found: Result<Option<String>, String>) {
        self.waits_since = Some(Instant::now());
        self.parted = matches!(found, Ok(Some(_)));
        self.problem = match found {
            Ok(Some(why)) => Some(format!("it cannot follow as it is: {why}")),
            Ok(None) => None,
            Err(why) => Some(format!("it does not follow its primary: {why}")),
        };
    }

    /// After it was rewound, or copied: it may be another now.
    pub(super) fn begins_anew(&mut self) {
        *self = Following { of: self.of.take(), ..Following::default() };
    }

    /// How long to wait before it is started once more: nothing, the first time.
    pub(super) fn may_start_in(&self) -> Option<Duration> {
        let started = self.started.filter(|_| self.starts > 0)?;
        let pause = START_AGAIN_MIN.saturating_mul(1 << self.starts.min(6)).min(START_AGAIN_MAX);
        Some(pause.saturating_sub(started.elapsed())).filter(|left| !left.is_zero())
    }

    /// By us: it did not end by itself.
    pub(super) fn is_stopped(&mut self) {
        (self.starts, self.started) = (0, None);
    }

    /// The primary has no connection for a rewind. A copy needs none of those that clients take.
    pub(super) fn is_refused(&mut self) {
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        self.must_copy |= since.elapsed() > COPY_AFTER;
    }

    pub(super) fn is_started(&mut self) {
        self.starts = self.starts.saturating_add(1);
        self.started = Some(Instant::now());
    }
}

const TAIL_BYTES: u64 = 8192;
const LINES: usize = 4;

/// The last complaints of a server's log; PostgreSQL's own words, which are translated, or none.
pub(super) async fn last_words(log: &Path) -> String {
    let read = async {
        let mut file = tokio::fs::File::open(log).await?;
        let length = file.metadata().await?.len();
        file.seek(std::io::SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).await?;
        let mut text = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut text).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&text).into_owned())
    };
    complaints(&read.await.unwrap_or_default())
}

/// The last grave one, and what led to it; of what it answers to whoever asks too early, nothing.
fn complaints(log: &str) -> String {
    let own = |line: &&str| {
        !["the database system is", "Consistent recovery state"].iter().any(|w| line.contains(w))
    };
    let lines: Vec<&str> = log.lines().map(str::trim).filter(own).collect();
    let is_grave = |line: &&str| ["FATAL:", "PANIC:"].iter().any(|word| line.contains(word));
    let end = lines.iter().rposition(is_grave).map_or(lines.len(), |last| last + 1);
    lines[end.saturating_sub(LINES)..end].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_grave_line_and_what_led_to_it() {
        let log = "1 LOG:  starting\n2 LOG:  could not bind: Address already in use\n3 HINT:  wait\n\
                   4 WARNING:  could not create listen socket\n5 FATAL:  could not create any TCP/IP sockets\n\
                   6 LOG:  shut down\n7 FATAL:  the database system is starting up\n";
        let told = complaints(log);
        assert!(told.starts_with("2 LOG:  could not bind: Address already in use; 3"), "{told}");
        assert!(told.ends_with("5 FATAL:  could not create any TCP/IP sockets"), "{told}");
        assert_eq!(complaints("x LOG:  one\nx LOG:  two\n"), "x LOG:  one; x LOG:  two");
        assert_eq!(complaints(""), "");
    }

    #[test]
    fn the_first_start_waits_for_nothing_and_later_ones_do() {
        let mut following = Following::default();
        assert_eq!(following.may_start_in(), None);
        following.is_started();
        assert!(following.may_start_in().is_some());
        following.begins_anew();
        assert_eq!(following.may_start_in(), None);
    }
}
