//! What a member's log holds, for whoever judges it.

use std::io;

use decision::command::Stamped;
use openraft::EntryPayload;
use openraft::storage::RaftLogReader;

use super::log_store::Store;
use super::types::{Entry, LogId};

/// An entry of the log; without a command, where Raft itself made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    pub id: LogId,
    pub command: Option<Stamped>,
}

impl Store {
    /// From an index to the one before another; less, where it was dropped. Of an entry that was applied nothing changes
    /// any more.
    ///
    /// # Errors
    /// The disk.
    pub async fn logged(&self, from: u64, until: u64) -> io::Result<Vec<Logged>> {
        let entries = self.clone().try_get_log_entries(from..until).await?;
        let logged = |entry: Entry| match entry.payload {
            EntryPayload::Normal(proposal) => {
                Logged { id: entry.log_id, command: Some(proposal.into_stamped()) }
            }
            EntryPayload::Blank | EntryPayload::Membership(_) => Logged { id: entry.log_id, command: None },
        };
        Ok(entries.into_iter().map(logged).collect())
    }
}
