//! What DNS should say: zones as data, built from the configuration and where services are.

use serde::{Deserialize, Serialize};

use crate::name::{DnsName, RegionName};

/// A whole zone as its authoritative servers must serve it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    pub origin: DnsName,
    /// Rises with every change; also the SOA serial (RFC 1035, 3.3.13), so it comes from the
    /// replicated log's index and survives every restart (S2).
    pub generation: u64,
    /// Names of the authoritative servers, for NS and SOA.
    pub name_servers: Vec<NameServer>,
    pub records: Vec<RecordSet>,
    /// `host:port` of ordinary secondaries: told by NOTIFY (RFC 1996), allowed AXFR (RFC 5936).
    #[serde(default)]
    pub secondaries: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameServer {
    pub name: DnsName,
    /// Glue; empty where the name lies outside of the zone.
    #[serde(default)]
    pub addresses: Vec<std::net::IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordType {
    A,
    #[serde(rename = "AAAA")]
    Aaaa,
    #[serde(rename = "CNAME")]
    Cname,
    #[serde(rename = "TXT")]
    Txt,
}

/// All answers for one name and type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSet {
    pub name: DnsName,
    pub rtype: RecordType,
    pub ttl_s: u32,
    /// One group is served at a time, drawn by weight; a sole group is always served. A server
    /// that cannot draw (a plain secondary, RFC 2136) serves all groups of weight above 0.
    pub groups: Vec<Group>,
}

/// The answers that belong to one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub region: RegionName,
    /// 0 to 255; 0 is never drawn.
    pub weight: u8,
    /// In presentation form: `192.0.2.1`, `2001:db8::1`, `host.example`, or a TXT string.
    pub values: Vec<String>,
}
