//! Makes a configuration of real places runnable on one machine.

use decision::config::{Config, DnsProvider, DnsRecord, Routing, ZoneConfig};
use decision::dns::RecordType;
use decision::name::{DnsName, ServiceName};

use super::layout::Layout;
use crate::config::retarget;

/// The zone of services that name none.
const ZONE: &str = "regent.test";
const TTL_S: u32 = 5;

/// Endpoints and addresses become those of the sample services. Gives what was changed.
pub fn localise(config: &mut Config, layout: &Layout) -> Vec<String> {
    let mut changes = Vec::new();
    for region in &layout.regions {
        let Some(service) = region.service else { continue };
        let endpoint = format!("http://{service}");
        let held = config.region(&region.name).map(|region| region.endpoints.clone()).unwrap_or_default();
        if held != [endpoint.clone()] {
            changes.push(format!("{}: {} → {endpoint}", region.name, held.join(", ")));
            retarget(config, &region.name, &endpoint);
        }
    }
    let services: Vec<ServiceName> = config.services.keys().cloned().collect();
    for service in services {
        give_name(config, &service, &mut changes);
    }
    for (name, service) in &mut config.services {
        for record in &mut service.dns {
            if point_here(record, layout) {
                changes.push(format!("{name}: {} → the sample services", record.name));
            }
        }
    }
    changes.extend(super::databases::localise(config, layout));
    changes
}

/// A service without a record could not be seen to move.
fn give_name(config: &mut Config, service: &ServiceName, changes: &mut Vec<String>) {
    let hosts: Vec<_> = config.hosts(service).map(|region| region.name.clone()).collect();
    let Some(found) = config.services.get_mut(service) else { return };
    if !found.dns.is_empty() {
        return;
    }
    let name = DnsName(format!("{}.{ZONE}", service.as_str().to_lowercase().replace('_', "-")));
    changes.push(format!("{service}: has no DNS record; here it is {name}"));
    found.dns.push(DnsRecord {
        name,
        zone: DnsName::new(ZONE),
        rtype: RecordType::A,
        ttl_s: TTL_S,
        values: hosts.into_iter().map(|region| (region, vec![String::new()])).collect(),
        routing: Routing::Primary,
    });
    let zone = ZoneConfig { provider: DnsProvider::Embedded, secondaries: Vec::new() };
    config.zones.entry(DnsName::new(ZONE)).or_insert(zone);
}

fn point_here(record: &mut DnsRecord, layout: &Layout) -> bool {
    let mut changed = false;
    for (region, values) in &mut record.values {
        let place = layout.regions.iter().find(|place| place.name == *region);
        let Some(service) = place.and_then(|place| place.service) else { continue };
        let here = match record.rtype {
            RecordType::A => vec![service.ip().to_string()],
            RecordType::Aaaa => vec!["::1".to_owned()],
            RecordType::Cname | RecordType::Txt => continue,
        };
        if *values != here {
            *values = here;
            changed = true;
        }
    }
    changed
}
