//! What a cluster is to be.

use std::fmt;
use std::time::Duration;

use decision::config;
use decision::database::lease::guard_after;

use crate::net::Link;

/// Of the parts that Regent has, the client is apart: see [`CLIENT`].
pub const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-southeast-1"];
/// A place of its own, as far from every region as they are from each other.
pub const CLIENT: &str = "client";
/// Where DNS servers of others are, as far.
pub const PROVIDER: &str = "provider";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    Fast,
    Balanced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Async,
    Sync,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub profile: Profile,
    pub mode: Mode,
    pub failsafe: bool,
    /// Each way between any two places.
    pub one_way: Duration,
    pub jitter: Duration,
    /// Of each way.
    pub loss: f64,
    /// `lease_ttl`, `lease_renew_every` and `fence_budget`, if not the profile's.
    pub lease: Option<[Duration; 3]>,
    /// `max_data_loss.bytes`, if not the default.
    pub max_data_loss: Option<String>,
    /// Whoever comes to this point while the cluster begins is killed there, once.
    pub failpoint: Option<String>,
    /// Each database on a small disk of its own, and parts whose wall clocks can be set, for faults that need that.
    pub for_faults: bool,
    /// A BIND serves a name of the service, beside Regent's own servers.
    pub with_provider: bool,
    /// What the parts log: `REGENT_LOG`.
    pub log: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            profile: Profile::Balanced,
            mode: Mode::Async,
            failsafe: false,
            one_way: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss: 0.0,
            lease: None,
            max_data_loss: None,
            failpoint: None,
            for_faults: false,
            with_provider: false,
            log: None,
        }
    }
}

impl Options {
    pub fn new(profile: Profile, mode: Mode) -> Options {
        Options { profile, mode, ..Options::default() }
    }

    /// With all that faults need.
    pub fn for_faults(profile: Profile, mode: Mode) -> Options {
        Options { for_faults: true, with_provider: true, ..Options::new(profile, mode) }
    }

    /// Between any two places.
    pub(super) fn link(&self) -> Link {
        Link { jitter: self.jitter, loss: self.loss, ..Link::delayed(self.one_way) }
    }

    /// How long a primary may write after its last renewal.
    pub fn lease_ttl(&self) -> Duration {
        self.lease_timings().ttl
    }

    /// And from when on its guard ends it.
    pub fn guard_after(&self) -> Duration {
        let timings = self.lease_timings();
        guard_after(timings.ttl, timings.fence_budget)
    }

    fn lease_timings(&self) -> config::LeaseTimings {
        let of_profile = match self.profile {
            Profile::Fast => config::Profile::Fast,
            Profile::Balanced => config::Profile::Balanced,
        };
        match self.lease {
            Some([ttl, renew_every, fence_budget]) => config::LeaseTimings { ttl, renew_every, fence_budget },
            None => of_profile.lease(),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Profile::Fast => "fast",
            Profile::Balanced => "balanced",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mode::Async => "async",
            Mode::Sync => "sync",
        })
    }
}
