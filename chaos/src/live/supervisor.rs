//! Whoever starts again what ended, as a service manager does.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::cluster::Cluster;
use super::options::REGIONS;
use super::part::Part;

const LOOK_EVERY: Duration = Duration::from_millis(5);
/// systemd's default.
pub(super) const RESTARTS_AFTER: Duration = Duration::from_millis(100);

impl Cluster {
    /// What is killed while `work` goes on is started again, so long after. Gives the names of those parts, too.
    pub(super) fn supervised<T>(
        &self,
        down: Duration,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Vec<String>)> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let supervisor = scope.spawn(|| {
                let mut fallen = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    for region in REGIONS {
                        self.raise(region, down, &mut fallen)?;
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                anyhow::Ok(fallen)
            });
            let worked = work();
            done.store(true, Ordering::Relaxed);
            let fallen = supervisor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok((worked?, fallen))
        })
    }

    /// Those of a region that run no more, and that nobody killed.
    pub(super) fn ended_by_themselves(&self, region: &str) -> anyhow::Result<Vec<String>> {
        let mut parts = self.parts(region)?;
        let parts = &mut *parts;
        let ended = |part: &mut Part| Some((part.name.clone(), part.ended()?));
        let ended = [&mut parts.controller, &mut parts.agent].into_iter().filter_map(ended);
        let by_itself = ended.filter(|(_, status)| status.signal().is_none());
        Ok(by_itself.map(|(name, status)| format!("{name} ended by itself: {status}; see its log")).collect())
    }

    fn raise(&self, region: &str, down: Duration, fallen: &mut Vec<String>) -> anyhow::Result<()> {
        let mut parts = self.parts(region)?;
        let parts = &mut *parts;
        for part in [&mut parts.controller, &mut parts.agent] {
            let Some(status) = part.ended() else { continue };
            anyhow::ensure!(
                status.signal().is_some(),
                "{} ended by itself: {status}; see its log",
                part.name
            );
            fallen.push(part.name.clone());
            std::thread::sleep(down);
            part.start(&self.net)?;
        }
        Ok(())
    }
}
