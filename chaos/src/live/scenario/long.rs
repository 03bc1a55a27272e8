//! A long time without any fault but a bad network and busy processors: nothing should move.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Runner, steady};
use crate::live::clock::now_ns;
use crate::live::judge::{Judgement, judge};
use crate::live::stall::{Stall, watch};

#[derive(Clone, Debug, Serialize)]
pub struct Long {
    pub lasted_s: u64,
    /// One less than the eras: each is a failover, or a start, that nobody needed.
    pub false_failovers: usize,
    /// Of the machine that all regions share.
    pub stalls: Vec<Stall>,
    pub judged: Judgement,
}

impl Runner<'_> {
    pub fn long(&mut self, lasts: Duration, busy_threads: usize) -> anyhow::Result<Long> {
        let primary = self.cluster.wait_healthy()?;
        let load = self.cluster.load(primary, self.through, self.next_id)?;
        steady(&load, None)?;
        let (began, began_ns, done) = (Instant::now(), now_ns(), AtomicBool::new(false));
        let stalls = std::thread::scope(|scope| {
            let stalls = scope.spawn(|| watch(self.cluster.folder(), &done));
            for _ in 0..busy_threads {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            while began.elapsed() < lasts {
                std::thread::sleep(Duration::from_millis(100));
            }
            done.store(true, Ordering::Relaxed);
            stalls.join().unwrap_or_default()
        });
        let (attempts, next_id) = load.finish();
        let to = self.cluster.wait_healthy()?;
        let judged = judge(&attempts, began_ns, &self.cluster.rows(to, self.next_id)?);
        self.next_id = next_id;
        let false_failovers = judged.eras.saturating_sub(1);
        Ok(Long { lasted_s: lasts.as_secs(), false_failovers, stalls, judged })
    }
}
