//! What resolvers say of the service's names, and when that changes: each is asked by itself, again and again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use decision::drill::report::{Moment, Phase};
use decision::name::DnsName;
use futures::future::join_all;
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::TokioResolver;
use tokio_util::sync::CancellationToken;
use wire::api::NameStatus;
use wire::host::Clock;

use crate::dns::records;
use crate::dns::verify::{address, lookup, resolver};

const EVERY: Duration = Duration::from_millis(200);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// What one says of one name changes a few times in a drill; what goes on changing tells nothing more.
const MOST: usize = 5;

/// Until `stop`. What each said first is no change.
pub(super) async fn watch(
    servers: Vec<String>,
    names: Vec<NameStatus>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Vec<Moment> {
    let pairs = servers.iter().flat_map(|server| names.iter().map(move |name| (server, name)));
    let followed = pairs.map(|(server, name)| follow(server, name, &*clock, &stop));
    join_all(followed).await.into_iter().flatten().collect()
}

async fn follow(server: &str, name: &NameStatus, clock: &dyn Clock, stop: &CancellationToken) -> Vec<Moment> {
    let mut moments = Vec::new();
    let changes = async {
        let Some((resolver, owner, rtype)) = asking(server, name).await else { return };
        let mut last: Option<BTreeSet<String>> = None;
        while moments.len() < MOST {
            if let Some(said) = values(&resolver, &owner, rtype).await
                && last.as_ref() != Some(&said)
            {
                let text = format!("{server} says {} of {}", words(&said), name.name);
                if last.replace(said).is_some() {
                    moments.push(Moment { at: clock.now(), phase: Phase::ResolverSees, text });
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = changes => {}
    }
    moments
}

async fn asking(server: &str, name: &NameStatus) -> Option<(TokioResolver, Name, RecordType)> {
    let address = tokio::time::timeout(ANSWER_WITHIN, address(server)).await.ok()?.ok()?;
    let resolver = resolver(address, ANSWER_WITHIN, true).ok()?;
    let owner = records::name(&DnsName::from(name.name.as_str())).ok()?;
    Some((resolver, owner, name.rtype.parse().ok()?))
}

/// None: it gave no answer.
async fn values(resolver: &TokioResolver, owner: &Name, rtype: RecordType) -> Option<BTreeSet<String>> {
    let said = tokio::time::timeout(ANSWER_WITHIN, lookup(resolver, owner, rtype)).await.ok()?.ok()?;
    Some(said.map(|set| set.values()).unwrap_or_default())
}

fn words(said: &BTreeSet<String>) -> String {
    match said.is_empty() {
        true => "nothing".into(),
        false => said.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
    }
}
