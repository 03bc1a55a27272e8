//! Whether the world is told what was decided: every authoritative server is asked directly,
//! without any cache between.

use std::net::SocketAddr;
use std::time::Duration;

use decision::dns::RecordSet;
use decision::name::DnsName;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::{DnsError as NetDnsError, NetError};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};

use super::error::DnsError;
use super::records::{self, RrSet};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// In the order that they were given.
    pub servers: Vec<ServerReport>,
    /// Caches may give what differing servers still say for this long, once these follow.
    pub ttl_tail_s: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// `host:port`
    pub server: String,
    pub finding: Finding,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    Matches,
    /// What it says instead, one line a difference, and the longest TTL among that.
    Differs {
        says: Vec<String>,
        ttl_s: u32,
    },
    Unreachable {
        why: String,
    },
}

impl Verification {
    /// Whether every server says what was wanted.
    pub fn is_complete(&self) -> bool {
        self.servers.iter().all(|report| report.finding == Finding::Matches)
    }
}

/// Of one server.
const QUESTIONS_AT_A_TIME: usize = 8;

/// Asks all `servers` (`host:port`) side by side, each within `timeout` a question.
pub async fn verify(
    servers: &[String],
    zone: &DnsName,
    set: &[RecordSet],
    timeout: Duration,
) -> Result<Verification, DnsError> {
    let wanted = records::wanted(zone, set)?;
    let mut questions = Vec::new();
    for (name, want) in &wanted {
        let owner = records::name(name)?;
        questions.extend(want.iter().map(|rr| (owner.clone(), rr)));
    }
    let reports = servers.iter().map(|server| async {
        let finding = ask_server(server, &questions, timeout).await;
        ServerReport { server: server.clone(), finding }
    });
    let servers = join_all(reports).await;
    let tails = servers.iter().map(|report| match report.finding {
        Finding::Differs { ttl_s, .. } => ttl_s,
        _ => 0,
    });
    let ttl_tail_s = tails.max().unwrap_or(0);
    Ok(Verification { servers, ttl_tail_s })
}

/// One question, with what it was about.
async fn ask_one<'q>(
    resolver: &TokioResolver,
    owner: &'q Name,
    want: &'q RrSet,
    timeout: Duration,
) -> (&'q Name, &'q RrSet, Result<Option<RrSet>, String>) {
    let answer = tokio::time::timeout(timeout, ask(resolver, owner, want.rtype)).await;
    (owner, want, answer.unwrap_or_else(|_| Err("no answer in time".into())))
}

async fn ask_server(server: &str, questions: &[(Name, &RrSet)], timeout: Duration) -> Finding {
    let unreachable = |why: String| Finding::Unreachable { why };
    let address = match tokio::time::timeout(timeout, address(server)).await {
        Ok(Ok(address)) => address,
        Ok(Err(why)) => return unreachable(why),
        Err(_) => return unreachable("its address was not found in time".into()),
    };
    let resolver = match resolver(address, timeout, false) {
        Ok(resolver) => resolver,
        Err(error) => return unreachable(error.to_string()),
    };
    let asked: Vec<_> =
        questions.iter().map(|(owner, want)| ask_one(&resolver, owner, want, timeout)).collect();
    let mut answers = stream::iter(asked).buffered(QUESTIONS_AT_A_TIME);
    let mut says = Vec::new();
    let mut ttl_s = 0;
    while let Some((owner, want, answer)) = answers.next().await {
        match answer {
            Err(why) => return unreachable(why),
            Ok(Some(said)) if said.says_the_same(want) => {}
            Ok(Some(said)) => {
                ttl_s = ttl_s.max(said.ttl_s);
                let values: Vec<String> = said.values().into_iter().collect();
                says.push(format!("{owner} {} {} {}", said.ttl_s, said.rtype, values.join(" ")));
            }
            Ok(None) => says.push(format!("{owner} has no {}", want.rtype)),
        }
    }
    if says.is_empty() { Finding::Matches } else { Finding::Differs { says, ttl_s } }
}

pub(crate) async fn address(server: &str) -> Result<SocketAddr, String> {
    let mut found = tokio::net::lookup_host(server).await.map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "its name has no address".to_owned())
}

/// One resolver a server, so that no other can answer in its place.
pub(crate) fn resolver(
    server: SocketAddr,
    timeout: Duration,
    recursion_desired: bool,
) -> Result<TokioResolver, NetError> {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    connections.iter_mut().for_each(|connection| connection.port = server.port());
    let name_server = NameServerConfig::new(server.ip(), true, connections);
    let config = ResolverConfig::from_name_servers(vec![name_server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.recursion_desired = recursion_desired;
    options.attempts = 1;
    options.timeout = timeout;
    options.use_hosts_file = ResolveHosts::Never;
    options.try_tcp_on_error = true;
    builder.build()
}

/// What it says of one name and type; a CNAME when that stands there instead.
async fn ask(resolver: &TokioResolver, owner: &Name, rtype: RecordType) -> Result<Option<RrSet>, String> {
    let said = lookup(resolver, owner, rtype).await;
    match said {
        // The resolver follows an alias to where this server may have no say, and then tells only
        // of that: so the alias is asked for itself.
        Ok(None) | Err(NetError::Dns(_)) if rtype != RecordType::CNAME => {
            match lookup(resolver, owner, RecordType::CNAME).await {
                Ok(Some(alias)) => Ok(Some(alias)),
                _ => said.map_err(|error| error.to_string()),
            }
        }
        said => said.map_err(|error| error.to_string()),
    }
}

pub(crate) async fn lookup(
    resolver: &TokioResolver,
    owner: &Name,
    rtype: RecordType,
) -> Result<Option<RrSet>, NetError> {
    let lookup = match resolver.lookup(owner.clone(), rtype).await {
        Ok(lookup) => lookup,
        Err(NetError::Dns(NetDnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let records =
        lookup.answers().iter().filter(|record| record.name == *owner && record.record_type() == rtype);
    let rdata: Vec<_> = records.clone().map(|record| record.data.clone()).collect();
    Ok(records.map(|record| record.ttl).max().map(|ttl_s| RrSet { rtype, ttl_s, rdata }))
}

/// As an operator would read it in a log.
impl std::fmt::Display for ServerReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.finding {
            Finding::Matches => write!(f, "{}: matches", self.server),
            Finding::Differs { says, .. } => write!(f, "{}: differs: {}", self.server, says.join("; ")),
            Finding::Unreachable { why } => write!(f, "{}: unreachable: {why}", self.server),
        }
    }
}
