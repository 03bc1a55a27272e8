//! What was given back, on disk before it is told: from then on somebody else may be granted the lease,
//! so that nothing may begin here at that epoch again, also not by an agent that restarts (S1).

use std::path::{Path, PathBuf};

use decision::database::report::Release;
use decision::plan::Epoch;

use super::durable;

const FILE: &str = "released.json";
const UNKNOWN: &str = "it is not known whether the lease was given back: remove it once `failover status` shows that \
                       another region writes";

pub(super) struct Released {
    file: PathBuf,
    /// The outer none: not looked up yet.
    last: Option<Option<Release>>,
}

impl Released {
    /// `folder`: that of this database beside its guard.
    pub(super) fn new(folder: &Path) -> Released {
        Released { file: folder.join(FILE), last: None }
    }

    /// What was given back of this epoch.
    pub(super) async fn of(&mut self, epoch: Epoch) -> Result<Option<&Release>, String> {
        if self.last.is_none() {
            self.last = Some(durable::read(&self.file, UNKNOWN).await?);
        }
        let last = self.last.as_ref().and_then(Option::as_ref);
        Ok(last.filter(|release| release.epoch == epoch))
    }

    pub(super) async fn note(&mut self, release: &Release) -> Result<(), String> {
        durable::write(&self.file, release).await?;
        self.last = Some(Some(release.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_given_back_stays_so_also_for_an_agent_that_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let mut released = Released::new(folder.path());
        assert_eq!(released.of(Epoch(3)).await, Ok(None));
        let why = "it died".into();
        let release = Release { epoch: Epoch(3), clean: None, last_known: None, unwritten: false, why };
        released.note(&release).await.unwrap();
        for mut again in [released, Released::new(folder.path())] {
            assert_eq!(again.of(Epoch(3)).await, Ok(Some(&release)));
            assert_eq!(again.of(Epoch(4)).await, Ok(None));
        }
    }
}
