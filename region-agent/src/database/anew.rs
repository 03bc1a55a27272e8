//! Which wish that the instance be copied anew was carried out last: on disk, so that an agent
//! that restarts does not copy once more.

use std::path::{Path, PathBuf};

use super::durable;

const FILE: &str = "reinit";

pub(super) struct Anew {
    file: PathBuf,
    /// The number of the last one; none until it was looked up.
    done: Option<u64>,
}

impl Anew {
    /// `folder`: that of this database beside its guard.
    pub(super) fn new(folder: &Path) -> Anew {
        Anew { file: folder.join(FILE), done: None }
    }

    /// Whether the wish of this number is yet to be carried out. A file that cannot be read as one
    /// means the same as none: copied once more, a replica loses nothing.
    pub(super) async fn is_wished(&mut self, number: u64) -> bool {
        if number == 0 {
            return false;
        }
        let done = match self.done {
            Some(done) => done,
            None => durable::read(&self.file, "").await.ok().flatten().unwrap_or(0),
        };
        self.done = Some(done);
        number > done
    }

    /// What is copied, or takes writes, need not be copied for any wish so far.
    pub(super) async fn is_done(&mut self, number: u64) -> Result<(), String> {
        if !self.is_wished(number).await {
            return Ok(());
        }
        durable::write(&self.file, &number).await?;
        self.done = Some(number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_is_carried_out_once_also_by_an_agent_that_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let mut anew = Anew::new(folder.path());
        assert!(!anew.is_wished(0).await);
        assert!(anew.is_wished(7).await);
        anew.is_done(7).await.unwrap();
        assert!(!anew.is_wished(7).await);
        let mut again = Anew::new(folder.path());
        assert!(!again.is_wished(7).await);
        assert!(again.is_wished(8).await);
    }
}
