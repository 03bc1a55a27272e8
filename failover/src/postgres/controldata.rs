//! What `pg_controldata` prints.

use std::collections::HashMap;

use decision::lsn::Lsn;

/// The state of a cluster as its control file has it, in PostgreSQL's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    StartingUp,
    ShutDown,
    ShutDownInRecovery,
    ShuttingDown,
    InCrashRecovery,
    InArchiveRecovery,
    InProduction,
}

impl ClusterState {
    fn read(text: &str) -> Option<ClusterState> {
        Some(match text {
            "starting up" => ClusterState::StartingUp,
            "shut down" => ClusterState::ShutDown,
            "shut down in recovery" => ClusterState::ShutDownInRecovery,
            "shutting down" => ClusterState::ShuttingDown,
            "in crash recovery" => ClusterState::InCrashRecovery,
            "in archive recovery" => ClusterState::InArchiveRecovery,
            "in production" => ClusterState::InProduction,
            _ => return None,
        })
    }

    pub fn is_clean(self) -> bool {
        matches!(self, ClusterState::ShutDown | ClusterState::ShutDownInRecovery)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlData {
    pub system_identifier: u64,
    pub state: ClusterState,
    /// Of the latest checkpoint.
    pub timeline: u32,
    pub checkpoint: Lsn,
    /// Where recovery begins.
    pub redo: Lsn,
    /// How far recovery must go before the data is consistent; 0/0 on a primary.
    pub min_recovery_end: Lsn,
    pub min_recovery_end_timeline: u32,
    pub checksums: bool,
    pub wal_log_hints: bool,
    pub wal_segment_bytes: u64,
}

/// The error says what is missing. `LC_ALL=C` is needed, for the labels are translated.
pub fn parse(text: &str) -> Result<ControlData, String> {
    let fields: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':').map(|(label, value)| (label.trim(), value.trim())))
        .collect();
    let field =
        |label: &str| fields.get(label).copied().ok_or_else(|| format!("pg_controldata names no {label:?}"));
    let strange = |label: &str, value: &str| format!("pg_controldata says {value:?} for {label:?}");
    let number = |label: &'static str| {
        let value = field(label)?;
        value.parse::<u64>().map_err(|_| strange(label, value))
    };
    let timeline = |label: &'static str| {
        let value = number(label)?;
        u32::try_from(value).map_err(|_| strange(label, &value.to_string()))
    };
    let lsn = |label: &'static str| {
        let value = field(label)?;
        value.parse::<Lsn>().map_err(|_| strange(label, value))
    };
    let state = field("Database cluster state")?;
    let wal_segment_bytes = number("Bytes per WAL segment")?;
    if !wal_segment_bytes.is_power_of_two() || !(1 << 20..=1 << 30).contains(&wal_segment_bytes) {
        return Err(strange("Bytes per WAL segment", &wal_segment_bytes.to_string()));
    }
    Ok(ControlData {
        system_identifier: number("Database system identifier")?,
        state: ClusterState::read(state).ok_or_else(|| strange("Database cluster state", state))?,
        timeline: timeline("Latest checkpoint's TimeLineID")?,
        checkpoint: lsn("Latest checkpoint location")?,
        redo: lsn("Latest checkpoint's REDO location")?,
        min_recovery_end: lsn("Minimum recovery ending location")?,
        min_recovery_end_timeline: timeline("Min recovery ending loc's timeline")?,
        checksums: number("Data page checksum version")? > 0,
        wal_log_hints: field("wal_log_hints setting")? == "on",
        wal_segment_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
pg_control version number:            1300
Catalog version number:               202209061
Database system identifier:           7423456789012345678
Database cluster state:               shut down in recovery
pg_control last modified:             Sat 21 Nov 2026 03:33:25 PM UTC
Latest checkpoint location:           0/3000060
Latest checkpoint's REDO location:    0/3000028
Latest checkpoint's TimeLineID:       2
Latest checkpoint's PrevTimeLineID:   2
Minimum recovery ending location:     0/3000110
Min recovery ending loc's timeline:   2
wal_log_hints setting:                on
Bytes per WAL segment:                16777216
Data page checksum version:           1
";

    #[test]
    fn reads_what_the_program_prints() {
        let data = parse(SAMPLE).unwrap();
        assert_eq!(data.system_identifier, 7_423_456_789_012_345_678);
        assert_eq!((data.state, data.timeline), (ClusterState::ShutDownInRecovery, 2));
        assert_eq!((data.checkpoint, data.min_recovery_end), (Lsn(0x300_0060), Lsn(0x300_0110)));
        assert!(data.checksums && data.wal_log_hints);
    }

    #[test]
    fn what_is_missing_or_strange_is_named() {
        for (from, to) in [
            ("shut down in recovery", "feeling unwell"),
            ("7423456789012345678", "-1"),
            ("0/3000060", "nowhere"),
            ("16777216", "0"),
            ("16777216", "16777217"),
            ("TimeLineID:       2", "TimeLineID:       99999999999"),
            ("wal_log_hints setting:", "wal_log_hints:"),
        ] {
            assert!(parse(&SAMPLE.replacen(from, to, 1)).is_err(), "{to}");
        }
        for text in ["", "\0\u{fffd}:::", ":", "Database cluster state:"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
