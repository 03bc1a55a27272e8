//! What an agent that restarts must know of how fresh its replica is, kept beside the guard: taken for "just now", rows
//! could be given up that nobody allowed to be lost (S3).

use std::path::{Path, PathBuf};
use std::time::Duration;

use decision::database::freshness::Freshness;
use decision::time::Uptime;
use serde::{Deserialize, Serialize};

const FILE: &str = "freshness.json";
const KEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    /// The clock begins anew with the machine.
    boot: String,
    freshness: Freshness,
}

pub(super) struct Kept {
    file: PathBuf,
    boot: String,
    /// As it was written last.
    freshness: Freshness,
}

impl Kept {
    /// `folder`: that of this database beside its guard.
    pub(super) fn new(folder: &Path) -> Kept {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Kept::of_boot(folder, boot.trim().to_owned())
    }

    fn of_boot(folder: &Path, boot: String) -> Kept {
        let file = folder.join(FILE);
        // What cannot be read is not known.
        let written =
            std::fs::read(&file).ok().and_then(|json| serde_json::from_slice::<Written>(&json).ok());
        let of_this = written.filter(|written| written.boot == boot && !boot.is_empty());
        Kept { file, boot, freshness: of_this.map(|written| written.freshness).unwrap_or_default() }
    }

    /// What a process before this one kept.
    pub(super) fn last(&self) -> &Freshness {
        &self.freshness
    }

    /// Keeps what is newer, once in a while.
    pub(super) fn keep(&mut self, freshness: &Freshness) {
        let Some(level) = freshness.level() else { return };
        if level.since(self.freshness.level().unwrap_or(Uptime(0))) >= KEEP_EVERY {
            self.freshness = freshness.clone();
            self.write();
        }
    }

    /// Not synced, for it must outlive this process and not the machine; and not waited for, for the disk
    /// may hang.
    fn write(&self) {
        let written = Written { boot: self.boot.clone(), freshness: self.freshness.clone() };
        let Ok(json) = serde_json::to_vec(&written) else { return };
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
        let of_boot = |boot: &str| Kept::of_boot(folder.path(), boot.to_owned());
        let mut kept = of_boot("1");
        assert_eq!(kept.last().level(), None);
        let mut freshness = Freshness::default();
        freshness.writes(Uptime(5_000_000_000));
        kept.keep(&freshness);
        while !folder.path().join(FILE).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(*of_boot("1").last(), freshness);
        assert_eq!(of_boot("2").last().level(), None);
        assert_eq!(of_boot("").last().level(), None);
    }
}
