//! One look at one target, by the kind of its check. Each says in a few words why it failed.

mod command;
mod dns;
mod grpc;
mod http;
mod pool;
mod tcp;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use decision::config::{Check, Probe};
use decision::name::RegionName;
use tokio::time::Instant;
use wire::host::Host;
use wire::target::{Opener, Roots};

/// Reasons are cut to this many characters.
const REASON_MAX_CHARS: usize = 160;

/// Probes of all kinds, with the connections they use again.
pub struct Prober {
    /// A region that a drill has cut off: nothing there answers.
    cut_off: Mutex<Option<RegionName>>,
    host: Host,
    opener: Opener,
    http: pool::Pool,
    grpc: grpc::Channels,
}

impl Prober {
    /// `roots` are whom https and grpc targets are to be certified by.
    pub fn new(host: Host, roots: Roots) -> Prober {
        let opener = Opener::new(host.network.clone(), roots);
        let (http, grpc) = (pool::Pool::default(), grpc::Channels::default());
        Prober { cut_off: Mutex::default(), host, opener, http, grpc }
    }

    /// None: every region is reached again.
    pub fn cut_off(&self, region: Option<RegionName>) {
        *self.cut_off.lock().unwrap_or_else(PoisonError::into_inner) = region;
    }

    fn is_cut_off(&self, region: &RegionName) -> bool {
        self.cut_off.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(region)
    }

    /// Looks once, for at most `within`.
    ///
    /// # Errors
    /// Why the target did not pass, for a person to read.
    pub async fn probe(&self, check: &Check, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        let looked = async {
            if self.is_cut_off(&check.region) {
                return std::future::pending().await;
            }
            match &check.probe {
                Probe::Http { url, expect_status, expect_body } => {
                    http::probe(self, url, expect_status, expect_body.as_deref(), deadline).await
                }
                Probe::Tcp { address } => tcp::probe(&self.opener, address).await,
                Probe::Dns { server, name, rtype, expect } => {
                    dns::probe(&self.host, server, name, *rtype, expect, deadline).await
                }
                Probe::Grpc { url, service } => grpc::probe(self, url, service).await,
                Probe::Command { argv } => command::probe(argv, deadline).await,
            }
        };
        let result = match tokio::time::timeout_at(deadline, looked).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {}", decision::time::Human(within))),
        };
        result.map_err(|reason| cut(&reason))
    }
}

/// One line of bounded length, without what could garble a terminal.
fn cut(reason: &str) -> String {
    let line = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(REASON_MAX_CHARS).collect()
}
