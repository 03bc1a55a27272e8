//! The DNS actuator: reads, compares and sets under a condition, reads back, verifies from
//! outside. Every implementation passes the same conformance suite.

#[cfg(feature = "testing")]
pub mod conformance;
pub mod error;
mod exchange;
mod judge;
pub mod marker;
pub mod records;
pub mod rfc2136;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tsig;
mod update;
pub mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_trait::async_trait;
use decision::dns::RecordSet;
use decision::name::{DnsName, ServiceName};
use decision::plan::Epoch;

pub use error::{Class, DnsError, Version};
pub use marker::Marker;
pub use verify::{ServerReport, Verification};

/// What one step wants to stand in a zone. All of it happens, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub zone: DnsName,
    /// Whose names these are: the cluster and its service.
    pub cluster: String,
    pub service: ServiceName,
    pub epoch: Epoch,
    pub generation: u64,
    /// The same for every attempt of one step, and for no other step.
    pub operation: String,
    /// At each name, these types in full; types that Regent wrote there before and that are not
    /// among these are removed.
    pub set: Vec<RecordSet>,
}

impl Change {
    pub fn version(&self) -> Version {
        Version { epoch: self.epoch, generation: self.generation }
    }
}

/// One name as its server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub records: Vec<Answer>,
    /// None too when something stands at the marker's place that is not a marker.
    pub marker: Option<Marker>,
}

/// All answers for one name and type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// The type's mnemonic, such as `A` or `MX`.
    pub rtype: String,
    pub ttl_s: u32,
    pub values: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This call changed the zone.
    Applied,
    /// The same operation had done so before.
    AlreadySo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shifted {
    pub outcome: Outcome,
    /// The newest generation found before this change; none where names were new.
    pub seen_generation: Option<u64>,
    /// Caches may give the answers that were replaced for this long.
    pub ttl_tail_s: u32,
}

/// What a change would do, for a dry run: zone-file lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    pub delete: Vec<String>,
    pub add: Vec<String>,
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.delete.iter().try_for_each(|line| writeln!(f, "- {line}"))?;
        self.add.iter().try_for_each(|line| writeln!(f, "+ {line}"))
    }
}

/// Every call is bounded in time and may be dropped at any await: what a dropped `shift` did is
/// found out by the next one, which begins by reading.
#[async_trait]
pub trait DnsActuator: Send + Sync {
    /// What the server that takes the changes says of these names.
    async fn read(&self, zone: &DnsName, names: &[DnsName]) -> Result<BTreeMap<DnsName, Observed>, DnsError>;

    /// What `shift` would do, or the error that it would refuse with. Changes nothing.
    async fn diff(&self, change: &Change) -> Result<Diff, DnsError>;

    /// Makes it so, unless a newer change was there first (S2) or a name is not Regent's.
    /// Repeating a change is harmless (S9).
    async fn shift(&self, change: &Change) -> Result<Shifted, DnsError>;

    /// Asks every authoritative server whether it says so.
    async fn verify(&self, zone: &DnsName, set: &[RecordSet]) -> Result<Verification, DnsError>;
}
