//! Dynamic update (RFC 2136) over TCP, signed by TSIG: every attempt reads, decides, updates under
//! the condition that what was read still holds, and reads back. So an answer lost after success
//! is found out by the next attempt, which finds its own operation.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use decision::dns::RecordSet;
use decision::name::DnsName;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::time::Instant;
use wire::host::Host;

use super::error::{Class, DnsError};
use super::exchange::{Exchange, Timing};
use super::judge::{self, Judged, KNOWN_TYPES, Reading, Readings};
use super::marker::marker_name;
use super::records::{self, RrSet, Wanted};
use super::tsig::TsigKey;
use super::verify::{self, Verification};
use super::{Change, Diff, DnsActuator, Observed, Outcome, Shifted, update};
use crate::retry::{Policy, Retry};

#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port` of the one primary that takes updates. One: two writers behind one address
    /// break compare-and-set on servers that keep zones in a shared database.
    pub server: String,
    /// `host:port` of every authoritative server, for verification.
    pub authoritative: Vec<String>,
    pub key: TsigKey,
    /// Whether records that stood at a name before Regent may be taken over.
    pub adopt: bool,
    /// For connecting, and for each reply.
    pub step_timeout: Duration,
    /// For one call with all its attempts.
    pub deadline: Duration,
    pub retry: Policy,
}

impl Settings {
    pub fn new(server: impl Into<String>, authoritative: Vec<String>, key: TsigKey) -> Settings {
        Settings {
            server: server.into(),
            authoritative,
            key,
            adopt: false,
            step_timeout: Duration::from_secs(2),
            deadline: Duration::from_secs(10),
            retry: Policy::default(),
        }
    }
}

#[derive(Clone)]
pub struct Rfc2136 {
    settings: Settings,
    host: Host,
}

impl Rfc2136 {
    pub fn new(settings: Settings, host: Host) -> Rfc2136 {
        Rfc2136 { settings, host }
    }

    fn until(&self) -> Instant {
        Instant::now() + self.settings.deadline
    }

    async fn open(&self, until: Instant) -> Result<Exchange<'_>, DnsError> {
        let timing = Timing { step: self.settings.step_timeout, until };
        Exchange::open(&self.host, &self.settings.server, &self.settings.key, timing).await
    }

    async fn read_once(
        &self,
        zone: &DnsName,
        names: &[&DnsName],
        until: Instant,
    ) -> Result<Readings, DnsError> {
        self.read_over(&mut self.open(until).await?, zone, names).await
    }

    async fn read_over(
        &self,
        exchange: &mut Exchange<'_>,
        zone: &DnsName,
        names: &[&DnsName],
    ) -> Result<Readings, DnsError> {
        let mut questions = Vec::new();
        for name in names {
            let (owner, place) = (records::name(name)?, records::name(&marker_name(name))?);
            questions.extend(read_types().map(|rtype| (owner.clone(), rtype)));
            questions.push((place, RecordType::TXT));
        }
        let requests = questions.iter().map(|(owner, rtype)| query(owner, *rtype)).collect();
        let replies = exchange.ask(requests, "reading").await?;
        let mut sets = Vec::with_capacity(replies.len());
        for ((owner, rtype), reply) in questions.iter().zip(&replies) {
            self.acceptable(reply, "reading", zone)?;
            sets.push(answers(reply, owner, *rtype));
        }
        let readings = names.iter().zip(sets.chunks(read_types().count() + 1)).map(|(name, sets)| {
            let mut reading = Reading::default();
            let (place, at_name) =
                sets.split_last().map_or((&[][..], &[][..]), |(last, rest)| (&last[..], rest));
            reading.marker = place.first().cloned();
            for rr in at_name.iter().flatten() {
                // What was asked for by type comes first; ANY only adds.
                if !reading.records.iter().any(|known| known.rtype == rr.rtype) {
                    reading.records.push(rr.clone());
                }
            }
            ((*name).clone(), reading)
        });
        Ok(readings.collect())
    }

    /// One attempt. `sent` says afterwards whether an update left, whatever became of it.
    async fn attempt(
        &self,
        change: &Change,
        wanted: &Wanted,
        until: Instant,
        sent: &mut bool,
    ) -> Result<Shifted, DnsError> {
        let names: Vec<&DnsName> = wanted.keys().collect();
        let mut exchange = self.open(until).await?;
        let before = self.read_over(&mut exchange, &change.zone, &names).await?;
        let seen_generation = judge::newest(&before).map(|version| version.generation);
        let replacements = match judge::judge(change, wanted, &before, self.settings.adopt)? {
            Judged::Replace(replacements) => replacements,
            Judged::AlreadySo => {
                let outcome = if *sent { Outcome::Applied } else { Outcome::AlreadySo };
                return Ok(Shifted { outcome, seen_generation, ttl_tail_s: 0 });
            }
        };
        let message = update::update(&records::name(&change.zone)?, &replacements)?;
        *sent = true;
        let replies = exchange.ask(vec![message], "updating").await?;
        for reply in &replies {
            match reply.metadata.response_code {
                rcode @ (ResponseCode::NXRRSet
                | ResponseCode::YXRRSet
                | ResponseCode::NXDomain
                | ResponseCode::YXDomain) => {
                    let server = self.settings.server.clone();
                    let names = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                    return Err(DnsError::Contended { server, rcode: rcode.to_string(), names });
                }
                _ => self.acceptable(reply, "updating", &change.zone)?,
            }
        }
        // NOERROR proves nothing: servers acknowledge what they then ignore.
        let after = self.read_over(&mut exchange, &change.zone, &names).await?;
        match judge::judge(change, wanted, &after, self.settings.adopt)? {
            Judged::AlreadySo => Ok(Shifted {
                outcome: Outcome::Applied,
                seen_generation,
                ttl_tail_s: judge::ttl_tail_s(&replacements),
            }),
            Judged::Replace(_) => Err(DnsError::NotApplied {
                server: self.settings.server.clone(),
                differs: judge::differences(wanted, &after),
            }),
        }
    }

    /// After a reply that cannot be believed: whether the update happened all the same.
    async fn is_so(&self, change: &Change, wanted: &Wanted, until: Instant) -> bool {
        let names: Vec<&DnsName> = wanted.keys().collect();
        let Ok(readings) = self.read_once(&change.zone, &names, until).await else { return false };
        matches!(judge::judge(change, wanted, &readings, self.settings.adopt), Ok(Judged::AlreadySo))
    }

    fn acceptable(&self, reply: &Message, doing: &'static str, zone: &DnsName) -> Result<(), DnsError> {
        let server = self.settings.server.clone();
        let rejected = |hint| DnsError::Rejected {
            server: server.clone(),
            rcode: reply.metadata.response_code.to_string(),
            doing,
            zone: zone.clone(),
            hint,
        };
        match reply.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain if doing == "reading" => {
                if reply.metadata.authoritative {
                    return Ok(());
                }
                Err(rejected("it is not authoritative there; name the zone's own primary in regions.yml"))
            }
            ResponseCode::NoError => Ok(()),
            ResponseCode::ServFail => Err(DnsError::Busy {
                server,
                rcode: reply.metadata.response_code.to_string(),
                doing,
                zone: zone.clone(),
            }),
            ResponseCode::Refused => Err(rejected(
                "the key is known there but may not do this; allow it to query and update A, AAAA, CNAME and TXT \
                 at the service's names and at _regent under them",
            )),
            ResponseCode::NotAuth | ResponseCode::NotZone => {
                Err(rejected("it is not the zone's primary; name the primary in regions.yml"))
            }
            ResponseCode::NotImp => Err(rejected("it does not take dynamic updates; turn them on there")),
            _ => Err(rejected("see the server's log")),
        }
    }
}

#[async_trait]
impl DnsActuator for Rfc2136 {
    async fn read(&self, zone: &DnsName, names: &[DnsName]) -> Result<BTreeMap<DnsName, Observed>, DnsError> {
        let names: Vec<&DnsName> = names.iter().collect();
        let readings = self.read_once(zone, &names, self.until()).await?;
        Ok(readings.into_iter().map(|(name, reading)| (name, reading.observed())).collect())
    }

    async fn diff(&self, change: &Change) -> Result<Diff, DnsError> {
        let wanted = records::wanted(&change.zone, &change.set)?;
        let names: Vec<&DnsName> = wanted.keys().collect();
        let readings = self.read_once(&change.zone, &names, self.until()).await?;
        Ok(match judge::judge(change, &wanted, &readings, self.settings.adopt)? {
            Judged::AlreadySo => Diff::default(),
            Judged::Replace(replacements) => judge::diff(&replacements),
        })
    }

    async fn shift(&self, change: &Change) -> Result<Shifted, DnsError> {
        let wanted = records::wanted(&change.zone, &change.set)?;
        let until = self.until();
        let mut retry = Retry::new(&self.settings.retry, &*self.host.random, until);
        let mut sent = false;
        loop {
            let error = match self.attempt(change, &wanted, until, &mut sent).await {
                Ok(shifted) => return Ok(shifted),
                Err(error) => error,
            };
            if sent && matches!(error, DnsError::Key { .. } | DnsError::Unauthentic { .. }) {
                return if self.is_so(change, &wanted, until).await {
                    Ok(Shifted { outcome: Outcome::Applied, seen_generation: None, ttl_tail_s: 0 })
                } else {
                    Err(error)
                };
            }
            tracing::debug!(%error, operation = change.operation, "DNS shift not done by this attempt");
            if error.class() != Class::Retry || !retry.pause().await {
                return Err(error);
            }
        }
    }

    async fn verify(&self, zone: &DnsName, set: &[RecordSet]) -> Result<Verification, DnsError> {
        verify::verify(&self.settings.authoritative, zone, set, self.settings.step_timeout).await
    }
}

/// By type, for servers that answer ANY with a part only (RFC 8482; Knot does); ANY for what else
/// there is.
fn read_types() -> impl Iterator<Item = RecordType> {
    KNOWN_TYPES.into_iter().chain([RecordType::ANY])
}

fn query(owner: &Name, rtype: RecordType) -> Message {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(owner.clone(), rtype));
    message
}

/// The answers at the very name: not those that a CNAME leads to.
fn answers(reply: &Message, owner: &Name, asked: RecordType) -> Vec<RrSet> {
    let at_name = reply.answers.iter().filter(|record| {
        let rtype = record.record_type();
        record.name == *owner
            && !judge::is_of_dnssec(&record.data)
            && (asked == RecordType::ANY || asked == rtype)
    });
    let mut sets: Vec<RrSet> = Vec::new();
    for record in at_name {
        let rtype = record.record_type();
        match sets.iter_mut().find(|rr| rr.rtype == rtype) {
            Some(rr) => {
                rr.ttl_s = rr.ttl_s.max(record.ttl);
                rr.rdata.push(record.data.clone());
            }
            None => sets.push(RrSet { rtype, ttl_s: record.ttl, rdata: vec![record.data.clone()] }),
        }
    }
    sets
}
