//! Real processes in regions of this machine: a whole cluster with its PostgreSQL, faults, clients that write
//! all the time, observers beside every server, and a judge of what they saw.

mod client;
mod clock;
mod cluster;
mod disk;
mod failpoints;
mod faults;
mod folder;
mod health;
mod judge;
mod layout;
mod names;
mod options;
mod part;
mod place;
mod plans;
mod prepare;
mod programs;
mod provider;
mod readers;
mod record;
mod regions_yml;
pub mod scenario;
mod small_disk;
mod sql;
mod stall;
mod status;
mod strace;
mod supervisor;
mod wall_clock;

pub use client::{Load, Through};
pub use clock::{ms, now_ns};
pub use cluster::Cluster;
pub use faults::Kind;
pub use judge::{Gap, Judgement, Lost};
pub use options::{CLIENT, Mode, Options, PROVIDER, Profile, REGIONS};
pub use readers::Seen;
pub use record::{Attempt, Class, Era, Lookup, Outcome, Reading, Way, Who};
pub use small_disk::sweep as sweep_disks;
