//! What one vantage found of one target, after thresholds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::CheckId;
use crate::time::{Time, ms};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Healthy,
    Unhealthy,
    /// Not looked at yet, or the vantage does not trust itself.
    Unknown,
}

/// A change of evidence as a vantage reports it. It carries an age, not a moment: the clocks of
/// two machines are never compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub check: CheckId,
    pub condition: Condition,
    /// How long ago, when sent, the run of probes that led here began.
    #[serde(with = "ms", rename = "age_ms")]
    pub age: Duration,
    /// What the last probe said, in a few words.
    pub reason: String,
}

/// Evidence as it is kept in the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub condition: Condition,
    /// When the condition began, in the leader's time.
    pub since: Time,
    pub reason: String,
}
