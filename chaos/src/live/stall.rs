//! Whether the machine itself stands still: its processors, or the disk that all regions share. What is measured over a
//! long time is told with it, because no region of the simulated kind, each on a machine of its own, would.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

const EVERY: Duration = Duration::from_millis(10);
/// Shorter ones are the ordinary jitter of a busy machine.
const STALL: Duration = Duration::from_millis(150);

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stall {
    /// Since the watching began.
    pub at_s: f64,
    pub of: Of,
    pub ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// A thread that does nothing else was not run.
    Processor,
    Disk,
}

/// Until `done`. `folder` is on the disk.
pub(super) fn watch(folder: &Path, done: &AtomicBool) -> Vec<Stall> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let disk = scope.spawn(|| watch_disk(folder, began, done));
        let mut stalls = watch_processor(began, done);
        stalls.extend(disk.join().unwrap_or_default());
        stalls.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
        stalls
    })
}

fn stall(of: Of, began: Instant, asked: Instant, expected: Duration) -> Option<Stall> {
    let late = asked.elapsed().saturating_sub(expected);
    let at_s = asked.duration_since(began).as_secs_f64();
    (late >= STALL).then_some(Stall { at_s, of, ms: late.as_millis() as u64 })
}

fn watch_processor(began: Instant, done: &AtomicBool) -> Vec<Stall> {
    let mut stalls = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let asked = Instant::now();
        std::thread::sleep(EVERY);
        stalls.extend(stall(Of::Processor, began, asked, EVERY));
    }
    stalls
}

fn watch_disk(folder: &Path, began: Instant, done: &AtomicBool) -> Vec<Stall> {
    let mut stalls = Vec::new();
    let path = folder.join("watched");
    let Ok(mut file) = File::create(&path) else { return stalls };
    while !done.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let written = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&[0; 512]))
            .and_then(|()| file.sync_data());
        if written.is_err() {
            break;
        }
        stalls.extend(stall(Of::Disk, began, asked, Duration::ZERO));
        std::thread::sleep(EVERY * 10);
    }
    stalls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_long_is_a_stall() {
        let now = Instant::now();
        let (began, ms) = (now - Duration::from_secs(60), Duration::from_millis);
        assert_eq!(stall(Of::Disk, began, now, ms(0)), None);
        let found = stall(Of::Processor, began, now - Duration::from_secs(2), ms(10)).unwrap();
        assert!((57.9..58.1).contains(&found.at_s) && (1_990..5_000).contains(&found.ms), "{found:?}");
    }
}
