//! Asks controllers over mutual TLS: any one that answers will do.

use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use tonic::transport::Channel;
use wire::api::{Intent, IntentReply, Query};
use wire::connect::{ChannelOptions, channel, with_causes};
use wire::host::Host;
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::operator_client::OperatorClient;
use wire::tls::{Credentials, Expect, Files};

use super::context::Context;
use super::exit::{Exit, Failure};

const MESSAGE_MAX: usize = 64 * 1024 * 1024;
/// A controller that cannot be reached is passed over after this.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Longer than a controller itself waits for a majority.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

pub struct Client {
    controllers: Vec<(String, OperatorClient<Channel>)>,
}

/// A document and how sure it is.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    pub document: T,
    pub stale: bool,
    pub as_of_ms: u64,
}

impl Client {
    pub fn new(context: &Context, host: &Host) -> Result<Client, Failure> {
        let files =
            Files { certificate: context.cert.clone(), key: context.key.clone(), ca: context.ca.clone() };
        let credentials = Credentials::load(files, host.clock.clone())
            .map_err(|error| Failure::error(format!("the operator's certificate: {error}")))?;
        let options = ChannelOptions { connect_timeout: CONNECT_WITHIN, ..ChannelOptions::default() };
        let controllers = context
            .controllers
            .iter()
            .map(|address| {
                let channel = channel(host, &credentials, address, Expect::AnyController, options);
                let client = OperatorClient::new(channel)
                    .max_decoding_message_size(MESSAGE_MAX)
                    .max_encoding_message_size(MESSAGE_MAX);
                (address.clone(), client)
            })
            .collect();
        Ok(Client { controllers })
    }

    /// Falls back to a stale answer when no majority can be had, and the answer says so.
    pub async fn read<T: DeserializeOwned>(&self, query: &Query) -> Result<Answer<T>, Failure> {
        let json = to_json(query)?;
        let mut failures = Vec::new();
        for (address, client) in &self.controllers {
            let request = pb::ReadRequest { json: json.clone().into(), stale_ok: true };
            let call = async { client.clone().read(request).await };
            match tokio::time::timeout(ANSWER_WITHIN, call).await {
                Err(_) => failures.push(format!("{address}: no answer within {ANSWER_WITHIN:?}")),
                Ok(Ok(document)) => return answer(document.into_inner()),
                Ok(Err(status)) if status.code() == tonic::Code::NotFound => {
                    return Err(Failure::error(status.message().to_owned()));
                }
                Ok(Err(status)) => failures.push(format!("{address}: {}", with_causes(&status))),
            }
        }
        Err(nobody(&failures))
    }

    /// A wish is repeated at the next controller only when this one surely did not take it.
    pub async fn intent(&self, intent: &Intent) -> Result<IntentReply, Failure> {
        let json = to_json(intent)?;
        let mut failures = Vec::new();
        for (address, client) in &self.controllers {
            let request = pb::DoRequest { json: json.clone().into() };
            let call = async { client.clone().r#do(request).await };
            match tokio::time::timeout(ANSWER_WITHIN, call).await {
                Err(_) => {
                    let text = format!(
                        "{address} did not answer within {ANSWER_WITHIN:?}; it may still be carried out: look with `failover status` and `failover journal`"
                    );
                    return Err(Failure::new(Exit::TimedOut, text));
                }
                Ok(Ok(document)) => {
                    let reply: IntentReply = answer(document.into_inner())?.document;
                    return match reply {
                        IntentReply::Refused { refusal } => Err(refusal.into()),
                        done => Ok(done),
                    };
                }
                Ok(Err(status)) if status.code() == tonic::Code::Unavailable => {
                    failures.push(format!("{address}: {}", with_causes(&status)));
                }
                Ok(Err(status)) => {
                    return Err(Failure::error(format!("{address}: {}", with_causes(&status))));
                }
            }
        }
        Err(nobody(&failures))
    }

    /// Asks all at once, for what may be told twice; while some of them are cut off, this does not wait for those.
    pub async fn intent_at_any(&self, intent: &Intent, within: Duration) -> Result<IntentReply, Failure> {
        let json = to_json(intent)?;
        let mut calls: FuturesUnordered<_> = self
            .controllers
            .iter()
            .map(|(address, client)| {
                let (mut client, request) = (client.clone(), pb::DoRequest { json: json.clone().into() });
                async move { (address, client.r#do(request).await) }
            })
            .collect();
        let mut failures = Vec::new();
        let asked = async {
            while let Some((address, reply)) = calls.next().await {
                match reply {
                    Ok(document) => {
                        let reply: IntentReply = answer(document.into_inner())?.document;
                        return match reply {
                            IntentReply::Refused { refusal } => Err(refusal.into()),
                            done => Ok(done),
                        };
                    }
                    Err(status) => failures.push(format!("{address}: {}", with_causes(&status))),
                }
            }
            Err(nobody(&failures))
        };
        let late = || Err(Failure::new(Exit::TimedOut, format!("no controller answered within {within:?}")));
        tokio::time::timeout(within, asked).await.unwrap_or_else(|_| late())
    }

    /// The same for a question; what was confirmed with a majority is preferred.
    pub async fn read_at_any<T: DeserializeOwned>(
        &self,
        query: &Query,
        within: Duration,
    ) -> Result<Answer<T>, Failure> {
        let json = to_json(query)?;
        let mut calls: FuturesUnordered<_> = self
            .controllers
            .iter()
            .map(|(address, client)| {
                let request = pb::ReadRequest { json: json.clone().into(), stale_ok: true };
                let mut client = client.clone();
                async move { (address, client.read(request).await) }
            })
            .collect();
        let (mut failures, mut stale) = (Vec::new(), None);
        let asked = async {
            while let Some((address, document)) = calls.next().await {
                match document {
                    Ok(document) if document.get_ref().stale => stale = Some(document.into_inner()),
                    Ok(document) => return Some(document.into_inner()),
                    Err(status) => failures.push(format!("{address}: {}", with_causes(&status))),
                }
            }
            None
        };
        let found = tokio::time::timeout(within, asked).await.ok().flatten().or(stale);
        found.map_or_else(|| Err(nobody(&failures)), answer)
    }

    /// The documents as they change, from the first controller that gives any.
    pub async fn watch<T: DeserializeOwned>(
        &self,
        query: &Query,
    ) -> Result<impl Stream<Item = Result<Answer<T>, Failure>> + use<T>, Failure> {
        let json = to_json(query)?;
        let mut failures = Vec::new();
        for (address, client) in &self.controllers {
            let request = pb::ReadRequest { json: json.clone().into(), stale_ok: true };
            match client.clone().watch(request).await {
                Ok(stream) => {
                    return Ok(stream.into_inner().map(|document| {
                        document.map_err(|status| Failure::error(with_causes(&status))).and_then(answer)
                    }));
                }
                Err(status) => failures.push(format!("{address}: {}", with_causes(&status))),
            }
        }
        Err(nobody(&failures))
    }

    /// What each controller says for itself, for `doctor`.
    pub async fn ask_each<T: DeserializeOwned>(
        &self,
        query: &Query,
    ) -> Vec<(String, Result<Answer<T>, Failure>)> {
        let mut answers = Vec::new();
        for (address, client) in &self.controllers {
            let single = Client { controllers: vec![(address.clone(), client.clone())] };
            answers.push((address.clone(), single.read(query).await));
        }
        answers
    }
}

fn answer<T: DeserializeOwned>(document: pb::Document) -> Result<Answer<T>, Failure> {
    let stale = document.stale;
    serde_json::from_slice(&document.json)
        .map(|json| Answer { document: json, stale, as_of_ms: document.as_of_ms })
        .map_err(|error| {
            Failure::error(format!(
                "the controller's answer cannot be read ({error}): are both of one version?"
            ))
        })
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::error(error.to_string()))
}

fn nobody(failures: &[String]) -> Failure {
    Failure::error(format!(
        "no controller answered; nothing was changed:\n  {}\nis the cluster up? `failover doctor` looks closer",
        failures.join("\n  ")
    ))
}
