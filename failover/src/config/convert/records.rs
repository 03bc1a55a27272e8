//! DNS records of a service.

use decision::config::check::Finding;
use decision::config::place::Place;
use decision::config::{Config, DnsRecord, Routing};
use decision::dns::RecordType;
use decision::name::DnsName;

use super::{by_region, model};

const TTL_DEFAULT_S: u32 = 5;

pub(super) fn convert(
    config: &Config,
    written: Vec<model::Record>,
    at: &Place,
    findings: &mut Vec<Finding>,
) -> Vec<DnsRecord> {
    written
        .into_iter()
        .enumerate()
        .map(|(n, record)| convert_one(config, record, &at.index(n), findings))
        .collect()
}

fn convert_one(config: &Config, record: model::Record, at: &Place, findings: &mut Vec<Finding>) -> DnsRecord {
    let name = DnsName::new(record.name.0);
    let rtype = rtype(record.rtype);
    let zone = match record.zone {
        Some(zone) => DnsName::new(zone.0),
        None => zone_of(config, &name, at, findings),
    };
    let mut values = by_region(&config.regions, record.values, &at.key("values"), findings);
    if rtype == RecordType::Cname {
        for value in values.values_mut().flat_map(|many| many.0.iter_mut()) {
            *value = value.trim_end_matches('.').to_ascii_lowercase();
        }
    }
    let routing = match record.weights {
        Some(weights) => Routing::Weighted(by_region(&config.regions, weights, &at.key("weights"), findings)),
        None => Routing::Primary,
    };
    DnsRecord {
        zone,
        rtype,
        ttl_s: record.ttl.map_or(TTL_DEFAULT_S, |ttl| ttl.0),
        values: values.into_iter().map(|(region, many)| (region, many.0)).collect(),
        routing,
        name,
    }
}

pub(super) fn rtype(written: Option<model::RecordType>) -> RecordType {
    match written {
        Some(model::RecordType::A) | None => RecordType::A,
        Some(model::RecordType::Aaaa) => RecordType::Aaaa,
        Some(model::RecordType::Cname) => RecordType::Cname,
        Some(model::RecordType::Txt) => RecordType::Txt,
    }
}

/// The longest declared zone that the name ends with, else its parent.
fn zone_of(config: &Config, name: &DnsName, at: &Place, findings: &mut Vec<Finding>) -> DnsName {
    let declared =
        config.zones.keys().filter(|zone| lies_in(name, zone)).max_by_key(|zone| zone.as_str().len());
    if let Some(zone) = declared {
        return zone.clone();
    }
    let parent = name.as_str().split_once('.').map_or("", |(_, parent)| parent);
    if !parent.contains('.') {
        findings.push(Finding::error(
            at.key("name"),
            format!("{name} would need the zone {parent:?}, which cannot be yours"),
            format!("declare its zone: `dns: {{zones: {{{name}: {{}}}}}}`"),
        ));
    }
    DnsName::new(parent)
}

pub(super) fn lies_in(name: &DnsName, zone: &DnsName) -> bool {
    name == zone || name.as_str().strip_suffix(zone.as_str()).is_some_and(|rest| rest.ends_with('.'))
}
