//! `regions.yml` as it is written. The JSON Schema, for editors and for the loader's own checks,
//! is made from these types; their comments are what an editor shows.

mod database;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use database::{Database, Engine, Instance, Mode, Replication, User};

use super::address::{Endpoint, HostPort, NameInDns, WebUrl};
use super::collection::{OneOrMany, Ordered, TierRef};
use super::scalar::{Percent, RegionWord, ServiceWord, StatusRange, Time, TimeOrZero, Ttl, Weekly};

/// Regent's configuration: the regions, what they host, and when to move it. Only `regions` is required.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "regions.yml")]
pub(super) struct File {
    /// The regions in order of preference: a service starts in the first that hosts it. The keys are
    /// labels of your choice.
    pub(super) regions: Ordered<Region>,
    /// When to fail over, how often, and how to come back.
    pub(super) failover_strategy: Option<Strategy>,
    /// How often every target is checked, unless a service says otherwise.
    pub(super) health_checks: Option<HealthDefaults>,
    /// The services by name; one that is only listed in a region has the defaults.
    pub(super) services: Option<Ordered<Option<Service>>>,
    /// Classes of services by name, each with its objective. `standard` (5m, 1m) is the default.
    pub(super) tiers: Option<Ordered<Tier>>,
    /// Who serves the DNS zones.
    pub(super) dns: Option<Dns>,
    /// How the public status page presents itself.
    pub(super) status_page: Option<StatusPage>,
}

/// A failure domain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Region {
    /// Its name, as commands and DNS values use it; the label unless given.
    pub(super) name: Option<RegionWord>,
    /// Who runs it, for the reader; such as `aws` or `on-premises`.
    pub(super) provider: Option<String>,
    /// Where it answers from outside; each is checked. `https://…`, `http://…` or `tcp://host:port`.
    pub(super) endpoints: Option<Vec<Endpoint>>,
    /// The services it can run.
    pub(super) services: Option<Vec<ServiceWord>>,
    /// Share of the full load it can carry, 1% to 100%. Default: 100%.
    pub(super) capacity: Option<Percent>,
    /// Where its data lies in law, compared with the `jurisdictions` of services; such as `EU`.
    pub(super) jurisdiction: Option<String>,
    /// Controllers that run in it, each with a vote. Default: 1.
    #[schemars(range(max = 9))]
    pub(super) controllers: Option<u16>,
    /// Agents that run in it. Default: 1.
    #[schemars(range(max = 64))]
    pub(super) agents: Option<u16>,
    /// It votes, keeps the log and observes, but hosts nothing. Default: false.
    pub(super) witness: Option<bool>,
}

/// When to fail over, how often, and how to come back.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Strategy {
    /// A set of timings that fits together; whatever is not set is taken from it. Default: balanced.
    pub(super) profile: Option<Profile>,
    /// From the first failed probe to the decision. At least interval × unhealthy_threshold.
    pub(super) detection_timeout: Option<Time>,
    /// For a whole plan; after it a person is called. Default: 5m.
    pub(super) recovery_timeout: Option<Time>,
    /// An agent unheard of for this long has lost its session. At most detection_timeout.
    pub(super) session_timeout: Option<Time>,
    /// Move without a person. Default: true.
    pub(super) automatic_failover: Option<bool>,
    /// Every plan waits for `failover approve`. Default: false.
    pub(super) manual_approval_required: Option<bool>,
    /// Whether services go home by themselves. Default: manual.
    pub(super) failback: Option<Failback>,
    /// A service that has just moved stays at least this long.
    pub(super) min_stay: Option<TimeOrZero>,
    /// A region that flapped is no target until it was healthy for this long.
    pub(super) hold_down: Option<TimeOrZero>,
    /// How many automatic moves a window of time may see.
    pub(super) moves: Option<Moves>,
    /// How a planned move to a smaller region goes in stages.
    pub(super) gradual_shift: Option<GradualShift>,
    /// No drill begins, or goes on, in these times of the week, in UTC.
    pub(super) no_drills: Option<Vec<Weekly>>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Profile {
    /// For links up to 300 ms round trip, and noisy hosts; detects within 30s.
    Safe,
    /// Detects within 3.5s.
    Balanced,
    /// For links up to 40 ms round trip and quiet hosts; detects within 450ms.
    Fast,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failback {
    /// A plan stands ready; a person starts it.
    Manual,
    /// Once the preferred region was healthy for `hold_down` and the service stayed `min_stay`.
    Automatic,
}

/// Blast radius: how many automatic moves a window of time may see.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Moves {
    /// Of one service. Default: 3.
    pub(super) per_service: Option<u32>,
    /// Of all; services that leave one region together count once. Default: 6.
    pub(super) overall: Option<u32>,
    /// Default: 10m.
    pub(super) window: Option<Time>,
}

/// How a planned move to a smaller region goes in stages.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GradualShift {
    /// Share of the traffic at the target after each stage; rising, the last 100%. Default: 25%, 50%, 100%.
    #[schemars(length(min = 1))]
    pub(super) stages: Option<Vec<Percent>>,
    /// Between two stages. Default: 30s.
    pub(super) pause: Option<TimeOrZero>,
}

/// How often every target is checked, unless a service says otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthDefaults {
    /// Between two probes of one target. Default: of the profile.
    pub(super) interval: Option<Time>,
    /// For one probe. Default: of the profile.
    pub(super) timeout: Option<Time>,
    /// Good probes in a row until a target is healthy. Default: of the profile.
    #[schemars(range(min = 1, max = 100))]
    pub(super) healthy_threshold: Option<u32>,
    /// Failed probes in a row until a target is unhealthy. Default: of the profile.
    #[schemars(range(min = 1, max = 100))]
    pub(super) unhealthy_threshold: Option<u32>,
    /// Appended to every http(s) endpoint of a region, such as `/healthz`.
    #[schemars(regex(pattern = "^/[^ ]*$"))]
    pub(super) path: Option<String>,
    /// HTTP statuses that count as healthy. Default: 200-399.
    pub(super) expect_status: Option<OneOrMany<StatusRange>>,
    /// Text that the body of an HTTP answer must contain, in its first 64 KiB.
    pub(super) expect_body: Option<String>,
}

/// What moves as one: its records, its objective, its checks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    /// The name of a tier, or an objective of its own. Default: standard.
    pub(super) tier: Option<TierRef>,
    /// It may run only in regions of these. Default: anywhere.
    pub(super) jurisdictions: Option<OneOrMany<String>>,
    /// A region with less is no target. Default: any will do.
    pub(super) min_capacity: Option<Percent>,
    /// Its names, and what they are in each region.
    pub(super) dns: Option<Vec<Record>>,
    /// Checks of this service, beside those of the regions' endpoints.
    pub(super) health_checks: Option<Vec<Check>>,
    /// Its database, one instance in every region that hosts it.
    pub(super) database: Option<Database>,
}

/// How long a service may be away, and how much of it may be lost.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tier {
    /// Recovery time objective.
    pub(super) rto: Time,
    /// Recovery point objective; 0s: nothing may be lost.
    pub(super) rpo: TimeOrZero,
}

/// One name and type.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) name: NameInDns,
    /// Default: A.
    #[serde(rename = "type")]
    pub(super) rtype: Option<RecordType>,
    /// Seconds a resolver may keep it; what clients wait at worst. Default: 5.
    pub(super) ttl: Option<Ttl>,
    /// The zone it lies in. Default: the declared zone it ends with, else its parent.
    pub(super) zone: Option<NameInDns>,
    /// For each region (by name or label), one value or several.
    pub(super) values: Ordered<OneOrMany<String>>,
    /// Serve all healthy regions at these weights, 0 to 255, instead of the primary alone.
    pub(super) weights: Option<Ordered<u8>>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) enum RecordType {
    A,
    #[serde(rename = "AAAA")]
    Aaaa,
    #[serde(rename = "CNAME")]
    Cname,
    #[serde(rename = "TXT")]
    Txt,
}

/// One health check, made in every region that hosts the service.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    /// Default: http.
    pub(super) kind: Option<CheckKind>,
    /// http, https: appended to the region's endpoints.
    #[schemars(regex(pattern = "^/[^ ]*$"))]
    pub(super) path: Option<String>,
    /// http, https, grpc: the whole address; `{region}` and `{host}` stand for the region's name and the host of
    /// its first endpoint.
    pub(super) url: Option<String>,
    /// tcp, dns: host:port; `{region}` and `{host}` as in `url`.
    pub(super) address: Option<String>,
    /// Instead of `url` or `address`: one for each region, by name or label.
    pub(super) targets: Option<Ordered<String>>,
    /// dns: the name asked for.
    pub(super) name: Option<NameInDns>,
    /// dns: the type asked for. Default: A.
    #[serde(rename = "type")]
    pub(super) rtype: Option<RecordType>,
    /// dns: one of these must be answered. Default: any answer will do.
    pub(super) expect: Option<OneOrMany<String>>,
    /// grpc: the service asked about. Default: the server as a whole.
    pub(super) service: Option<String>,
    /// command: program and arguments, run by the region's own agents; 0 is healthy.
    #[schemars(length(min = 1))]
    pub(super) command: Option<Vec<String>>,
    /// http, https: statuses that count as healthy. Default: 200-399.
    pub(super) expect_status: Option<OneOrMany<StatusRange>>,
    /// http, https: text that the body must contain, in its first 64 KiB.
    pub(super) expect_body: Option<String>,
    /// Between two probes of one target.
    pub(super) interval: Option<Time>,
    /// For one probe.
    pub(super) timeout: Option<Time>,
    /// Good probes in a row until a target is healthy.
    #[schemars(range(min = 1, max = 100))]
    pub(super) healthy_threshold: Option<u32>,
    /// Failed probes in a row until a target is unhealthy.
    #[schemars(range(min = 1, max = 100))]
    pub(super) unhealthy_threshold: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckKind {
    #[default]
    Http,
    Https,
    Tcp,
    Dns,
    /// grpc.health.v1.Health/Check
    Grpc,
    Command,
}

/// Who serves the DNS zones.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Dns {
    /// By the zone's name. A zone not listed is served by Regent itself.
    pub(super) zones: Option<Ordered<Option<Zone>>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Zone {
    /// Default: embedded.
    pub(super) provider: Option<Provider>,
    /// rfc2136: the one primary that takes updates.
    pub(super) server: Option<HostPort>,
    /// rfc2136: every server that is asked whether a change has arrived. Default: `server`.
    pub(super) authoritative: Option<Vec<HostPort>>,
    /// rfc2136: the key that signs updates.
    pub(super) tsig: Option<Tsig>,
    /// embedded: ordinary secondaries, told by NOTIFY and allowed AXFR.
    pub(super) secondaries: Option<Vec<HostPort>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Provider {
    /// Regent's own authoritative server in every agent.
    #[default]
    Embedded,
    /// Dynamic update (RFC 2136) of BIND, Knot, PowerDNS, signed by TSIG.
    Rfc2136,
}

/// A TSIG key (RFC 8945). The secret itself never stands in this file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tsig {
    /// The key's name at the server.
    pub(super) name: String,
    /// Default: hmac-sha256.
    pub(super) algorithm: Option<TsigAlgorithm>,
    /// A file on the agent's machine that holds the secret, base64.
    pub(super) secret_file: Option<String>,
    /// A variable of the agent's environment that holds the secret, base64.
    pub(super) secret_env: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) enum TsigAlgorithm {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha384")]
    HmacSha384,
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
}

/// How the public status page presents itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusPage {
    /// Its title. Default: Regent.
    pub(super) name: Option<String>,
    /// Where the public finds it.
    pub(super) url: Option<WebUrl>,
}
