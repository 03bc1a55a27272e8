//! When a replica last surely had all that its primary had written. An agent that restarts goes on from what
//! is kept beside the guard: taken for "just now", rows could be given up that nobody allowed to be lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use decision::time::Uptime;
use serde::{Deserialize, Serialize};

const FILE: &str = "level.json";
const KEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The clock begins anew with the machine.
    boot: String,
    at_ns: u64,
}

pub(super) struct Level {
    file: PathBuf,
    boot: String,
    /// As it was kept last.
    at_ns: Option<u64>,
}

impl Level {
    /// `folder`: that of this database beside its guard.
    pub(super) fn new(folder: &Path) -> Level {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Level::of_boot(folder, boot.trim().to_owned())
    }

    fn of_boot(folder: &Path, boot: String) -> Level {
        let file = folder.join(FILE);
        // What cannot be read is not known.
        let kept = std::fs::read(&file).ok().and_then(|json| serde_json::from_slice::<Kept>(&json).ok());
        let at_ns = kept.filter(|kept| kept.boot == boot && !boot.is_empty()).map(|kept| kept.at_ns);
        Level { file, boot, at_ns }
    }

    /// What a process before this one kept.
    pub(super) fn last(&self) -> Option<Uptime> {
        self.at_ns.map(Uptime)
    }

    /// Keeps what is newer, once in a while.
    pub(super) fn keep(&mut self, at: Option<Uptime>) {
        let Some(Uptime(at_ns)) = at else { return };
        let kept_ns = self.at_ns.unwrap_or(0);
        if self.at_ns.is_none() || at_ns.saturating_sub(kept_ns) >= KEEP_EVERY.as_nanos() as u64 {
            self.at_ns = Some(at_ns);
            self.write();
        }
    }

    /// Not synced, for it must outlive this process and not the machine; and not waited for, for the disk
    /// may hang.
    fn write(&self) {
        let Some(at_ns) = self.at_ns else { return };
        let Ok(json) = serde_json::to_vec(&Kept { boot: self.boot.clone(), at_ns }) else { return };
        let (file, new) = (self.file.clone(), self.file.with_extension("new"));
        tokio::task::spawn_blocking(move || {
            if let Err(error) = std::fs::write(&new, json).and_then(|()| std::fs::rename(&new, &file)) {
                tracing::debug!(%error, file = %file.display(), "not kept");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_agent_that_restarts_knows_how_long_ago_and_a_machine_that_does_knows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let of_boot = |boot: &str| Level::of_boot(folder.path(), boot.to_owned());
        let mut level = of_boot("1");
        assert_eq!(level.last(), None);
        let at = Some(Uptime(5_000_000_000));
        level.keep(at);
        while !folder.path().join(FILE).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(of_boot("1").last(), at);
        assert_eq!(of_boot("2").last(), None);
        assert_eq!(of_boot("").last(), None);
    }
}
