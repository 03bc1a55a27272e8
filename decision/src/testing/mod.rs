//! Worlds to try the rules in: configurations, and regions that live, die, lie and come back
//! under virtual time. For tests only; failures here are panics.

mod databases;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

pub use databases::{SimInstance, with_database};
pub use world::{Answers, World};

use crate::config::{
    Check, Config, DnsProvider, DnsRecord, Failback, GradualShift, MoveLimits, Probe, Profile, Region,
    Routing, SecretSource, Service, StatusPage, Strategy, Tier, ZoneConfig,
};
use crate::dns::RecordType;
use crate::name::{CheckId, RegionName, ServiceName};

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// `us`, `eu` and `ap`, all hosting `app`.
pub fn three_regions() -> Config {
    config(&["us", "eu", "ap"])
}

pub fn five_regions() -> Config {
    config(&["us", "eu", "ap", "sa", "af"])
}

/// `us` and `eu` host, `wit` only votes and observes.
pub fn two_and_a_witness() -> Config {
    let mut config = config(&["us", "eu"]);
    let mut witness = region("wit");
    (witness.witness, witness.endpoints, witness.services) = (true, Vec::new(), Vec::new());
    config.regions.push(witness);
    config
}

/// Timings of profile `balanced`; one agent a region; `app` at `app.example.test` in every one,
/// with an endpoint to probe and the service's own check.
pub fn config(names: &[&str]) -> Config {
    let timings = Profile::Balanced.timings();
    let mut config = Config {
        regions: names.iter().map(|name| region(name)).collect(),
        services: BTreeMap::new(),
        strategy: Strategy {
            profile: Profile::Balanced,
            detection_timeout: timings.detection_timeout,
            recovery_timeout: secs(300),
            session_timeout: timings.session_timeout,
            automatic_failover: true,
            manual_approval_required: false,
            failback: Failback::Manual,
            min_stay: timings.min_stay,
            hold_down: timings.hold_down,
            moves: MoveLimits { per_service: 3, overall: 5, window: secs(3_600) },
            gradual_shift: GradualShift { stages_percent: vec![25, 50, 100], pause: secs(30) },
            no_drills: Vec::new(),
        },
        checks: names.iter().map(|name| check(name, None, "endpoint")).collect(),
        zones: BTreeMap::from([(
            "example.test".into(),
            ZoneConfig { provider: DnsProvider::Embedded, secondaries: Vec::new() },
        )]),
        status_page: StatusPage { name: "Regent".into(), url: "http://127.0.0.1".into() },
    };
    add_service(&mut config, "app");
    config
}

/// A service in every region that is no witness; its names follow its primary.
pub fn add_service(config: &mut Config, name: &str) {
    let mut values = BTreeMap::new();
    for (n, region) in config.regions.iter_mut().enumerate().filter(|(_, region)| !region.witness) {
        region.services.push(name.into());
        values.insert(region.name.clone(), vec![format!("192.0.2.{}", n + 1)]);
        config.checks.push(check(region.name.as_str(), Some(name), "http"));
    }
    let record = DnsRecord {
        name: format!("{name}.example.test").as_str().into(),
        zone: "example.test".into(),
        rtype: RecordType::A,
        ttl_s: 5,
        values,
        routing: Routing::Primary,
    };
    let tier = Tier { name: "standard".into(), rto: secs(300), rpo: secs(60) };
    let service = Service {
        tier,
        jurisdictions: Vec::new(),
        min_capacity_percent: 0,
        dns: vec![record],
        database: None,
    };
    config.services.insert(name.into(), service);
}

/// Moves the names of all services to a server that speaks RFC 2136.
pub fn by_dynamic_update(config: &mut Config) {
    for zone in config.zones.values_mut() {
        zone.provider = DnsProvider::Rfc2136 {
            server: "127.0.0.1:53".into(),
            authoritative: vec!["127.0.0.1:53".into()],
            tsig_name: "key".into(),
            tsig_algorithm: "hmac-sha256".into(),
            secret: SecretSource::File("key".into()),
        };
    }
}

/// Names a service in a second zone, which a server that speaks RFC 2136 serves.
pub fn also_elsewhere(config: &mut Config, service: &str) {
    let mut elsewhere = config.clone();
    by_dynamic_update(&mut elsewhere);
    let zone = elsewhere.zones.pop_first().expect("a configuration has a zone").1;
    config.zones.insert("other.test".into(), zone);
    let known = config.services.get_mut(&ServiceName::from(service)).expect("a known service");
    let mut record = known.dns[0].clone();
    (record.name, record.zone) = (format!("{service}.other.test").as_str().into(), "other.test".into());
    known.dns.push(record);
}

/// Spreads the names of a service over all regions with weight 100.
pub fn weighted(config: &mut Config, service: &str) {
    let service = config.services.get_mut(&ServiceName::from(service)).expect("a known service");
    for record in &mut service.dns {
        record.routing =
            Routing::Weighted(record.values.keys().map(|region| (region.clone(), 100)).collect());
    }
}

pub fn region_mut<'a>(config: &'a mut Config, name: &str) -> &'a mut Region {
    let name = RegionName::from(name);
    config.regions.iter_mut().find(|region| region.name == name).expect("a known region")
}

fn region(name: &str) -> Region {
    Region {
        name: name.into(),
        label: name.to_owned(),
        provider: "test".into(),
        endpoints: vec![format!("http://{name}.test")],
        services: Vec::new(),
        capacity_percent: 100,
        jurisdiction: None,
        controllers: 1,
        agents: 1,
        witness: false,
    }
}

fn check(region: &str, service: Option<&str>, kind: &str) -> Check {
    let timings = Profile::Balanced.timings();
    let id = match service {
        None => format!("{region}/{kind}/1"),
        Some(service) => format!("{region}/{service}/{kind}/1"),
    };
    Check {
        id: CheckId::new(id),
        region: region.into(),
        service: service.map(ServiceName::from),
        probe: Probe::Http {
            url: format!("http://{region}.test"),
            expect_status: vec![(200, 399)],
            expect_body: None,
        },
        interval: timings.probe_interval,
        timeout: timings.probe_timeout,
        healthy_threshold: timings.healthy_threshold,
        unhealthy_threshold: timings.unhealthy_threshold,
    }
}
