//! What every DNS actuator must do, checked against a real server and seen through other eyes
//! (`dig`). An implementation supplies only a way to build itself.

#![allow(clippy::unwrap_used, reason = "the suite is a test: a panic is its verdict")]

mod content;
mod faults;
mod ownership;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use decision::dns::{Group, RecordSet, RecordType};
use decision::name::DnsName;
use decision::plan::Epoch;

use super::testing::tools::{Line, dig, nsupdate};
use super::testing::{Relay, Server};
use super::{Change, DnsActuator, DnsError};

/// What an actuator is built for.
#[derive(Clone, Debug)]
pub struct Reach {
    /// `host:port` of the server that takes changes.
    pub server: String,
    /// `host:port` of those that verification asks.
    pub authoritative: Vec<String>,
    pub adopt: bool,
    /// For one call with all its attempts.
    pub deadline: Duration,
    pub step_timeout: Duration,
}

pub type Built = Arc<dyn DnsActuator>;

struct Bed<'a> {
    server: &'a Server,
    build: &'a (dyn Fn(Reach) -> Built + Sync),
}

/// Runs every case, each at names of its own; panics at the first that fails.
pub async fn suite(server: &Server, build: impl Fn(Reach) -> Built + Sync) {
    let bed = Bed { server, build: &build };
    content::create_change_and_remove(&bed).await;
    content::ttl_only(&bed).await;
    content::address_to_cname_and_back(&bed).await;
    content::all_weighted_groups(&bed).await;
    ownership::foreign_records_stay(&bed).await;
    ownership::foreign_types_beside_stay(&bed).await;
    ownership::foreign_markers_stay(&bed).await;
    ownership::adoption(&bed).await;
    ownership::stale_is_refused(&bed).await;
    ownership::all_names_or_none(&bed).await;
    ownership::repeated_is_harmless(&bed).await;
    ownership::drift_is_repaired(&bed).await;
    content::dry_run_changes_nothing(&bed).await;
    faults::race(&bed).await;
    faults::a_held_update_comes_too_late(&bed).await;
    faults::what_is_planted_meanwhile_stays(&bed).await;
    faults::lost_answers(&bed).await;
    faults::unreachable_is_bounded(&bed).await;
    content::verification(&bed).await;
}

/// For calls that must not end for want of time on a machine under load.
const PATIENT: Duration = Duration::from_secs(60);

impl Bed<'_> {
    fn actuator(&self) -> Built {
        self.built(|_| {})
    }

    fn built(&self, adjust: impl FnOnce(&mut Reach)) -> Built {
        let mut reach = Reach {
            server: self.server.addr(),
            authoritative: vec![self.server.addr()],
            adopt: false,
            deadline: PATIENT,
            step_timeout: Duration::from_secs(10),
        };
        adjust(&mut reach);
        (self.build)(reach)
    }

    fn name(&self, label: &str) -> DnsName {
        DnsName::new(format!("{label}.{}", self.server.zone()))
    }

    fn change(&self, epoch: u64, generation: u64, operation: &str, set: Vec<RecordSet>) -> Change {
        Change {
            zone: self.server.zone().clone(),
            cluster: "conformance".into(),
            service: "web".into(),
            epoch: Epoch(epoch),
            generation,
            operation: operation.into(),
            set,
        }
    }

    /// The error of a change whose update is held back until `meanwhile` is over.
    async fn held(&self, change: Change, meanwhile: impl Future<Output = ()>) -> DnsError {
        let relay = Relay::holding(&self.server.addr()).await;
        let actuator = self.built(|reach| {
            reach.server = relay.addr();
            reach.step_timeout = PATIENT;
        });
        let interfere = async {
            relay.holds_one().await;
            meanwhile.await;
            relay.release();
        };
        let (shifted, ()) = tokio::join!(actuator.shift(&change), interfere);
        shifted.expect_err("the world had changed")
    }

    async fn plant(&self, lines: &[String]) {
        nsupdate(self.server, lines).await;
    }

    async fn look(&self, name: &DnsName, rtype: &str) -> Vec<Line> {
        dig(&self.server.addr(), name, rtype).await
    }

    async fn expect(&self, name: &DnsName, rtype: &str, ttl_s: u32, values: &[&str]) {
        let lines = self.look(name, rtype).await;
        let seen: BTreeSet<(u32, &str)> = lines
            .iter()
            .filter(|line| line.rtype == rtype)
            .map(|line| (line.ttl_s, line.value.as_str()))
            .collect();
        assert_eq!(seen, values.iter().map(|value| (ttl_s, *value)).collect(), "{name} {rtype}");
    }
}

fn set(name: &DnsName, rtype: RecordType, groups: &[(u8, &str)]) -> RecordSet {
    let group = |(weight, value): &(u8, &str)| Group {
        region: "r1".into(),
        weight: *weight,
        values: vec![(*value).to_owned()],
    };
    RecordSet { name: name.clone(), rtype, ttl_s: 30, groups: groups.iter().map(group).collect() }
}

fn a(name: &DnsName, value: &str) -> RecordSet {
    set(name, RecordType::A, &[(1, value)])
}

fn aaaa(name: &DnsName, value: &str) -> RecordSet {
    set(name, RecordType::Aaaa, &[(1, value)])
}

fn cname(name: &DnsName, value: &str) -> RecordSet {
    set(name, RecordType::Cname, &[(1, value)])
}
