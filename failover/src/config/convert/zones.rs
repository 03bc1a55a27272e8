//! Zones, declared and implied.

use std::collections::{BTreeMap, BTreeSet};

use decision::config::check::Finding;
use decision::config::place::Place;
use decision::config::{Config, DnsProvider, SecretSource, ZoneConfig};
use decision::name::DnsName;

use super::model;
use super::records::lies_in;
use crate::config::address::NameInDns;
use crate::config::scalar::Scalar as _;

pub(super) fn convert(written: model::Dns, findings: &mut Vec<Finding>) -> BTreeMap<DnsName, ZoneConfig> {
    let mut zones = BTreeMap::new();
    for (key, zone) in written.zones.unwrap_or_default().0 {
        let at = Place::of(&["dns", "zones", &key]);
        match NameInDns::parse(&key) {
            Ok(name) => {
                let zone = convert_one(zone.unwrap_or_default(), &at, findings);
                if zones.insert(DnsName::new(name.0), zone).is_some() {
                    findings.push(Finding::error(
                        at,
                        format!("zone {key} stands twice"),
                        "keep one of the two",
                    ));
                }
            }
            Err(fault) => findings.push(Finding::error(at, fault.message, fault.fix)),
        }
    }
    zones
}

fn convert_one(zone: model::Zone, at: &Place, findings: &mut Vec<Finding>) -> ZoneConfig {
    let secondaries = zone.secondaries.into_iter().flatten().map(|address| address.0).collect();
    if zone.provider.unwrap_or_default() == model::Provider::Embedded {
        let foreign = [
            ("server", zone.server.is_some()),
            ("authoritative", zone.authoritative.is_some()),
            ("tsig", zone.tsig.is_some()),
        ];
        for (key, _) in foreign.iter().filter(|(_, present)| *present) {
            findings.push(Finding::error(
                at.key(key),
                format!("{key} belongs to provider rfc2136, and this zone is embedded"),
                format!("add `provider: rfc2136`, or remove {key}"),
            ));
        }
        return ZoneConfig { provider: DnsProvider::Embedded, secondaries };
    }
    let mut missing = |key: &str, example: &str| {
        findings.push(Finding::error(
            at.clone(),
            format!("{key:?} is missing, which provider rfc2136 needs"),
            format!("add `{key}: {example}`"),
        ));
    };
    let server = zone.server.map(|address| address.0).unwrap_or_else(|| {
        missing("server", "192.0.2.53:53");
        String::new()
    });
    let Some(tsig) = zone.tsig else {
        missing("tsig", "{name: regent-key, secret_file: /etc/regent/tsig}");
        return ZoneConfig { provider: DnsProvider::Embedded, secondaries };
    };
    let secret = match (tsig.secret_file, tsig.secret_env) {
        (Some(file), None) => SecretSource::File(file),
        (None, Some(variable)) => SecretSource::Env(variable),
        (file, _) => {
            let message = if file.is_some() {
                "secret_file and secret_env exclude each other"
            } else {
                "the key has neither secret_file nor secret_env"
            };
            findings.push(Finding::error(
                at.key("tsig"),
                message,
                "give one of them, such as `secret_file: /etc/regent/tsig`; the secret itself never stands here",
            ));
            SecretSource::Env(String::new())
        }
    };
    let authoritative = match zone.authoritative {
        Some(servers) if !servers.is_empty() => servers.into_iter().map(|address| address.0).collect(),
        _ => vec![server.clone()],
    };
    let algorithm = match tsig.algorithm {
        Some(model::TsigAlgorithm::HmacSha256) | None => "hmac-sha256",
        Some(model::TsigAlgorithm::HmacSha384) => "hmac-sha384",
        Some(model::TsigAlgorithm::HmacSha512) => "hmac-sha512",
    };
    ZoneConfig {
        provider: DnsProvider::Rfc2136 {
            server,
            authoritative,
            tsig_name: tsig.name,
            tsig_algorithm: algorithm.to_owned(),
            secret,
        },
        secondaries,
    }
}

/// Zones that records lie in and nobody declared are served by Regent. Of two implied zones where
/// one lies in the other, only the outer stands, or it would need a delegation.
pub(super) fn implied(config: &mut Config) {
    let undeclared: BTreeSet<DnsName> = config
        .services
        .values()
        .flat_map(|service| &service.dns)
        .map(|record| record.zone.clone())
        .filter(|zone| !config.zones.contains_key(zone))
        .collect();
    let outermost = |zone: &DnsName| {
        undeclared
            .iter()
            .filter(|other| lies_in(zone, other))
            .min_by_key(|other| other.as_str().len())
            .cloned()
    };
    for record in config.services.values_mut().flat_map(|service| &mut service.dns) {
        if let Some(outer) = outermost(&record.zone) {
            record.zone = outer;
        }
    }
    for zone in undeclared.iter().filter(|zone| outermost(zone).as_ref() == Some(zone)) {
        let embedded = ZoneConfig { provider: DnsProvider::Embedded, secondaries: Vec::new() };
        config.zones.insert(zone.clone(), embedded);
    }
}
