//! Which epoch's log lies in the data folder: on disk beside it, so that an agent that restarts knows.

use std::path::{Path, PathBuf};

use decision::database::branch::{self, Branch, Kinship, Mark};
use decision::goal::DatabaseGoal;
use decision::plan::Epoch;
use failover::postgres::{Observed, Postgres};

use super::durable;

const FILE: &str = "branches.json";
const UNKNOWN: &str = "it is not known whose log the data folder holds: remove it if this instance never was a primary \
                       that was given up, or have it copied anew";

pub(super) struct Branches {
    file: PathBuf,
    /// None until it was looked up.
    marks: Option<Vec<Mark>>,
    /// The newest timeline, and what was seen when it was looked for.
    newest: Option<(Sight, Option<u32>)>,
}

/// While it is the same, no other timeline has come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sight {
    runs: bool,
    takes_writes: bool,
    timeline: u32,
    received: Option<u32>,
}

impl Sight {
    fn of(observed: Option<&Observed>) -> Sight {
        let receiver = observed.and_then(|observed| observed.wal_receiver.as_ref());
        Sight {
            runs: observed.is_some(),
            takes_writes: observed.is_some_and(|observed| !observed.in_recovery),
            timeline: observed.map_or(0, |observed| observed.timeline),
            received: receiver.and_then(|receiver| receiver.received_timeline),
        }
    }
}

impl Branches {
    /// `folder`: that of this database beside its guard.
    pub(super) fn new(folder: &Path) -> Branches {
        Branches { file: folder.join(FILE), marks: None, newest: None }
    }

    /// The newest timeline of the instance, and whether it is of the history that counts.
    pub(super) async fn of(
        &mut self,
        postgres: &Postgres,
        goal: &DatabaseGoal,
        observed: Option<&Observed>,
    ) -> Result<(Option<Branch>, Kinship), String> {
        let sight = Sight::of(observed);
        let timeline = match &self.newest {
            Some((before, timeline)) if *before == sight && sight.runs => *timeline,
            _ => postgres.newest_timeline().await.map_err(|error| error.to_string())?,
        };
        self.newest = Some((sight, timeline));
        if goal.history_is_whole {
            let mut marks = self.marks().await?.clone();
            branch::learn(&mut marks, goal.epoch, &goal.history);
            self.write(marks).await?;
        }
        let marks = self.marks().await?;
        let Some(timeline) = timeline else { return Ok((None, Kinship::Kin)) };
        let kin = branch::kinship_of(marks, timeline, &goal.history, goal.history_is_whole);
        Ok((branch::newest(marks, timeline), kin))
    }

    /// The newest epoch that it was marked for, as far as it was looked up.
    pub(super) fn marked(&self) -> Option<Epoch> {
        self.marks.as_ref()?.last().map(|mark| mark.epoch)
    }

    /// Of its newest timeline, looked up afresh.
    pub(super) async fn newest(&mut self, postgres: &Postgres) -> Result<Option<Branch>, String> {
        let timeline = postgres.newest_timeline().await.map_err(|error| error.to_string())?;
        let marks = self.marks().await?;
        Ok(timeline.and_then(|timeline| branch::newest(marks, timeline)))
    }

    /// Before it takes in, or writes, what another epoch has begun.
    pub(super) async fn mark(&mut self, postgres: &Postgres, epoch: Epoch) -> Result<(), String> {
        let timeline = postgres.newest_timeline().await.map_err(|error| error.to_string())?;
        let mut marks = self.marks().await?.clone();
        branch::mark(&mut marks, epoch, timeline.unwrap_or_default());
        self.write(marks).await
    }

    /// Before it goes on as a primary: what was never marked is held to be of this epoch.
    pub(super) async fn adopt(&mut self, postgres: &Postgres, epoch: Epoch) -> Result<(), String> {
        if !self.marks().await?.is_empty() {
            return Ok(());
        }
        let timeline = postgres.newest_timeline().await.map_err(|error| error.to_string())?;
        let mut marks = Vec::new();
        branch::mark(&mut marks, epoch, timeline.unwrap_or_default().saturating_sub(1));
        self.write(marks).await
    }

    /// It was made what the primary is.
    pub(super) async fn is_copy(&mut self, goal: &DatabaseGoal) -> Result<(), String> {
        self.newest = None;
        self.write(branch::of_copy(&goal.history, goal.epoch)).await
    }

    async fn marks(&mut self) -> Result<&Vec<Mark>, String> {
        if self.marks.is_none() {
            self.marks = Some(durable::read(&self.file, UNKNOWN).await?.unwrap_or_default());
        }
        Ok(self.marks.get_or_insert_default())
    }

    async fn write(&mut self, marks: Vec<Mark>) -> Result<(), String> {
        if self.marks.as_ref() == Some(&marks) {
            return Ok(());
        }
        durable::write(&self.file, &marks).await?;
        self.marks = Some(marks);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn marks_outlive_the_agent_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut branches = Branches::new(folder.path());
        assert!(branches.marks().await.unwrap().is_empty());
        let marks = branch::of_copy(&[], Epoch(3));
        branches.write(marks.clone()).await.unwrap();
        assert_eq!(*Branches::new(folder.path()).marks().await.unwrap(), marks);
        std::fs::write(folder.path().join(FILE), "[{").unwrap();
        let error = Branches::new(folder.path()).marks().await.unwrap_err();
        assert!(error.contains("copied anew"), "{error}");
    }
}
