//! What is to be told beside the session, until it is committed. Only the newest matters.

use std::time::Duration;

use decision::command::Outcome;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tonic::transport::Channel;
use wire::lease::Told;
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::agents_client::AgentsClient;

use super::Life;

const WITHIN: Duration = Duration::from_millis(1_500);
const AGAIN_AFTER: Duration = Duration::from_millis(100);

pub async fn tells(life: &Life, mut newest: watch::Receiver<Option<Told>>) {
    let clients = life.clients();
    let mut untold: Option<Told> = None;
    loop {
        tokio::select! {
            biased;
            changed = newest.changed() => match changed {
                Ok(()) => untold = newest.borrow_and_update().clone(),
                Err(_) => return,
            },
            () = until_told(&clients, untold.as_ref()) => untold = None,
        }
    }
}

async fn until_told(clients: &[AgentsClient<Channel>], told: Option<&Told>) {
    let Some(json) = told.and_then(|told| serde_json::to_vec(told).ok()) else {
        return std::future::pending().await;
    };
    let json = bytes::Bytes::from(json);
    loop {
        let call = |client: &AgentsClient<Channel>| {
            let (mut client, request) = (client.clone(), pb::TellRequest { json: json.clone() });
            async move { client.tell(request).await }
        };
        let mut calls: FuturesUnordered<_> = clients.iter().map(call).collect();
        let answered = async {
            while let Some(reply) = calls.next().await {
                let outcome =
                    reply.ok().map(|reply| serde_json::from_slice::<Outcome>(&reply.get_ref().json));
                if matches!(outcome, Some(Ok(_))) {
                    return true;
                }
            }
            false
        };
        if tokio::time::timeout(WITHIN, answered).await == Ok(true) {
            return;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
