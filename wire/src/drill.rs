//! Holding a fault that was caused on purpose, until it is to end. Whoever holds it is cut off by it, so it asks past
//! its own gate; and it heals when nobody can tell that the drill goes on, for a drill must never outlive whoever runs it.

use std::time::Duration;

use decision::drill::{FaultGoal, HEARD_WITHIN, RENEWED_EVERY};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::connect::{ChannelOptions, channel};
use crate::host::Host;
use crate::proto::regent::v1 as pb;
use crate::proto::regent::v1::drills_client::DrillsClient;
use crate::tls::{Credentials, Expect};

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Once one has said that it is running.
const OTHERS_WITHIN: Duration = Duration::from_millis(250);

/// The controllers, reached past the gate.
pub struct Witnesses(Vec<DrillsClient<Channel>>);

/// Why it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Said,
    /// No controller could tell that it is running.
    Unknown,
    /// It lasted as long as it may.
    Long,
}

impl Witnesses {
    /// `outside`: not behind the gate.
    pub fn new(outside: &Host, credentials: &Credentials, controllers: &[String]) -> Witnesses {
        let options = ChannelOptions { connect_timeout: ANSWER_WITHIN, ..ChannelOptions::default() };
        let client = |address: &String| {
            DrillsClient::new(channel(outside, credentials, address, Expect::AnyController, options))
        };
        Witnesses(controllers.iter().map(client).collect())
    }

    /// Until the fault is to end. `begun`: when it was caused.
    pub async fn wait_for_end(&self, fault: &FaultGoal, begun: Instant) -> Over {
        let mut heard = begun;
        loop {
            if begun.elapsed() >= fault.lasts {
                return Over::Long;
            }
            match self.is_running(fault).await {
                Some(true) => heard = Instant::now(),
                Some(false) => return Over::Said,
                None if heard.elapsed() >= HEARD_WITHIN => return Over::Unknown,
                None => {}
            }
            let left = fault.lasts.saturating_sub(begun.elapsed());
            tokio::time::sleep(RENEWED_EVERY.min(left)).await;
        }
    }

    /// Any that says it is over is believed: what is over does not begin again.
    async fn is_running(&self, fault: &FaultGoal) -> Option<bool> {
        let mut calls: FuturesUnordered<_> = self
            .0
            .iter()
            .map(|client| {
                let mut client = client.clone();
                async move { client.is_running(pb::DrillQuery { drill: fault.drill.0 }).await }
            })
            .collect();
        let (mut answer, mut until) = (None, Instant::now() + ANSWER_WITHIN);
        while let Ok(Some(reply)) = tokio::time::timeout_at(until, calls.next()).await {
            let Ok(reply) = reply else { continue };
            if !reply.into_inner().running {
                return Some(false);
            }
            // Those that are cut off never answer.
            (answer, until) = (Some(true), until.min(Instant::now() + OTHERS_WITHIN));
        }
        answer
    }
}

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Over::Said => "the drill is over",
            Over::Unknown => "no controller can tell that it is running",
            Over::Long => "its longest duration is over",
        })
    }
}
