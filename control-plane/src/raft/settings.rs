//! What a node is told at start.

use std::path::PathBuf;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// Timers and sizes of one member.
#[derive(Clone, Debug)]
pub struct Settings {
    pub member_id: u64,
    pub cluster_id: String,
    pub data_dir: PathBuf,
    /// How often the leader is heard. Must exceed the longest round trip between members: openraft gives
    /// a heartbeat no longer than this to be answered.
    pub heartbeat: Duration,
    /// A follower that heard nothing for `election_timeout_max` (the leader's lease) and then for a
    /// random time from here …
    pub election_timeout_min: Duration,
    /// … to here asks for votes: a lost leader is replaced after 1.5 to 2 times this, plus two round trips.
    pub election_timeout_max: Duration,
    /// A snapshot is taken after this many entries, and the log before it dropped …
    pub snapshot_after_entries: u64,
    /// … save this many, from which a member that was away a short while catches up.
    pub keep_entries: u64,
}

impl Settings {
    /// Timers for members within 100 ms round trip of each other.
    pub fn new(member_id: u64, cluster_id: impl Into<String>, data_dir: impl Into<PathBuf>) -> Settings {
        Settings {
            member_id,
            cluster_id: cluster_id.into(),
            data_dir: data_dir.into(),
            heartbeat: Duration::from_millis(150),
            election_timeout_min: Duration::from_millis(500),
            election_timeout_max: Duration::from_millis(1_000),
            snapshot_after_entries: 50_000,
            keep_entries: 2_000,
        }
    }

    pub(super) fn config(&self) -> Result<Config, openraft::ConfigError> {
        let ms = |duration: Duration| duration.as_millis() as u64;
        Config {
            cluster_name: self.cluster_id.clone(),
            heartbeat_interval: ms(self.heartbeat),
            election_timeout_min: ms(self.election_timeout_min),
            election_timeout_max: ms(self.election_timeout_max),
            max_payload_entries: 1_024,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_after_entries),
            // Above what is kept, or a snapshot would not end the lag it was sent for.
            replication_lag_threshold: self.snapshot_after_entries + self.keep_entries,
            max_in_snapshot_log_to_keep: self.keep_entries,
            purge_batch_size: self.snapshot_after_entries.clamp(1, 256),
            api_channel_size: Some(4_096),
            notification_channel_size: Some(4_096),
            install_snapshot_timeout: ms(self.snapshot_patience()),
            enable_pre_vote: Some(true),
            // Whoever led before it crashed would lead the same term again. What it had sent before its own disk
            // had it, it would send anew under the same number, with other content; and it would answer reads
            // by a commit that it does not remember (S7).
            enable_leader_restore: Some(false),
            // Followers write while the leader does, not after it.
            broadcast_submitted_on_append: Some(true),
            ..Config::default()
        }
        .validate()
    }

    pub(super) fn append_patience(&self) -> Duration {
        self.election_timeout_max.max(Duration::from_secs(1))
    }

    pub(super) fn snapshot_patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// A heartbeat is longer than a round trip.
    pub(super) fn silence_patience(&self) -> Duration {
        self.heartbeat * 5
    }

    /// How long a leader may go without a majority's answer and still take commands.
    pub(super) fn quorum_patience(&self) -> Duration {
        self.election_timeout_max * 2
    }
}
