//! The agent's calls to the controllers beside its session. Each goes to several at once where one
//! slow or lost connection must not cost the lease.

use std::sync::Arc;
use std::time::Duration;

use decision::command::Outcome;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tonic::transport::Channel;
use wire::connect::{ChannelOptions, channel};
use wire::host::Host;
use wire::lease::{Renewal, Renewed, Told};
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::agents_client::AgentsClient;
use wire::tls::{Credentials, Expect};

#[derive(Clone)]
pub struct Controllers {
    /// Those of the own region first.
    clients: Arc<[AgentsClient<Channel>]>,
}

impl Controllers {
    pub fn new(
        host: &Host,
        credentials: &Credentials,
        addresses: &[String],
        patience: Duration,
    ) -> Controllers {
        let options = ChannelOptions {
            connect_timeout: patience,
            keepalive_interval: patience,
            keepalive_timeout: patience,
        };
        let client = |address: &String| {
            AgentsClient::new(channel(host, credentials, address, Expect::AnyController, options))
        };
        Controllers { clients: addresses.iter().map(client).collect() }
    }

    /// Asks all of them; the first that is sure decides. None: nobody could tell in time.
    pub async fn renew(&self, renewal: Renewal, within: Duration) -> Option<Renewed> {
        let mut calls: FuturesUnordered<_> = self
            .clients
            .iter()
            .map(|client| {
                let (mut client, request) = (client.clone(), pb::RenewRequest::from(renewal.clone()));
                async move { client.renew(request).await }
            })
            .collect();
        let answer = async {
            let mut refused = None;
            while let Some(reply) = calls.next().await {
                match reply.map(|reply| Renewed::from(reply.into_inner())) {
                    Ok(Renewed::Granted) => return Some(Renewed::Granted),
                    // Another may have got through to a newer state.
                    Ok(no) => refused = Some(no),
                    Err(_) => {}
                }
            }
            refused
        };
        tokio::time::timeout(within, answer).await.ok().flatten()
    }

    /// Until it is committed, or every controller has failed to say so. Told twice it changes nothing.
    pub async fn tell(&self, told: &Told, within: Duration) -> Result<Outcome, String> {
        let json: bytes::Bytes = serde_json::to_vec(told).map_err(|error| error.to_string())?.into();
        let mut calls: FuturesUnordered<_> = self
            .clients
            .iter()
            .map(|client| {
                let (mut client, request) = (client.clone(), pb::TellRequest { json: json.clone() });
                async move { client.tell(request).await }
            })
            .collect();
        let answer = async {
            let mut why = "no controller is configured".to_owned();
            while let Some(reply) = calls.next().await {
                match reply {
                    Ok(reply) => {
                        return serde_json::from_slice(&reply.into_inner().json).map_err(|e| e.to_string());
                    }
                    Err(status) => why = wire::connect::with_causes(&status),
                }
            }
            Err(why)
        };
        tokio::time::timeout(within, answer)
            .await
            .unwrap_or_else(|_| Err(format!("no controller answered within {} ms", within.as_millis())))
    }
}
