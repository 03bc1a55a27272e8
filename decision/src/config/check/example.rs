//! A sound configuration for the tests of the rules, each of which breaks one thing in it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::place::Place;
use crate::config::{
    Check, Config, Database, DnsProvider, DnsRecord, Engine, Failback, GradualShift, Instance, Login,
    MaxDataLoss, Mode, MoveLimits, Probe, Profile, Region, Routing, SecretSource, Service, StatusPage,
    Strategy, Tier, ZoneConfig,
};
use crate::dns::RecordType;
use crate::name::{CheckId, RegionName};

use super::{Finding, Severity};

pub(super) fn config() -> Config {
    let names = ["us", "eu", "ap"];
    let timings = Profile::Balanced.timings();
    Config {
        regions: names.iter().enumerate().map(|(n, name)| region(name, n)).collect(),
        services: BTreeMap::from([("app".into(), service(&names))]),
        strategy: Strategy {
            profile: Profile::Balanced,
            detection_timeout: timings.detection_timeout,
            recovery_timeout: Duration::from_secs(300),
            session_timeout: timings.session_timeout,
            automatic_failover: true,
            manual_approval_required: false,
            failback: Failback::Manual,
            min_stay: timings.min_stay,
            hold_down: timings.hold_down,
            moves: MoveLimits { per_service: 3, overall: 5, window: Duration::from_secs(3600) },
            gradual_shift: GradualShift { stages_percent: vec![50, 100], pause: Duration::from_secs(30) },
            no_drills: Vec::new(),
        },
        checks: names.iter().enumerate().map(|(n, name)| http_check(name, n)).collect(),
        zones: BTreeMap::from([(
            "example.test".into(),
            ZoneConfig { provider: DnsProvider::Embedded, secondaries: Vec::new() },
        )]),
        status_page: StatusPage { name: "Regent".to_owned(), url: "http://127.0.0.1".to_owned() },
    }
}

/// The same with a database, one instance in each region.
pub(super) fn with_database() -> Config {
    let mut config = config();
    let instances = config.regions.iter().enumerate();
    let instances = instances.map(|(n, region)| (region.name.clone(), instance(n))).collect();
    let database = Database {
        engine: Engine::Postgresql,
        mode: Mode::Async,
        max_data_loss: MaxDataLoss { bytes: 16 << 20, time: Duration::from_secs(60) },
        lease: Profile::Balanced.lease(),
        failsafe: false,
        instances,
        superuser: "postgres".to_owned(),
        replication: Login {
            user: "regent_replication".to_owned(),
            password: Some(SecretSource::Env("REPLICATION".to_owned())),
        },
        settings: BTreeMap::new(),
        hba: Vec::new(),
        users: Vec::new(),
    };
    config.services.get_mut(&"app".into()).expect("the service").database = Some(database);
    config
}

fn instance(n: usize) -> Instance {
    Instance {
        data_dir: "/var/lib/postgresql/regent".to_owned(),
        host: format!("10.0.{n}.1"),
        port: 5432,
        listen: vec![format!("10.0.{n}.1")],
        bin_dir: None,
        os_user: "postgres".to_owned(),
        priority: 100,
        nofailover: false,
        write_endpoint: Some(format!("10.0.{n}.1:6432")),
        read_endpoint: Some(format!("10.0.{n}.1:6433")),
    }
}

fn region(name: &str, n: usize) -> Region {
    Region {
        name: name.into(),
        label: format!("label_{name}"),
        provider: "test".to_owned(),
        endpoints: vec![format!("http://127.0.1.{n}:80")],
        services: vec!["app".into()],
        capacity_percent: 100,
        jurisdiction: None,
        controllers: 1,
        agents: 1,
        witness: false,
    }
}

fn service(names: &[&str]) -> Service {
    let values = names.iter().enumerate().map(|(n, name)| ((*name).into(), vec![format!("192.0.2.{n}")]));
    Service {
        tier: Tier {
            name: "standard".to_owned(),
            rto: Duration::from_secs(300),
            rpo: Duration::from_secs(60),
        },
        jurisdictions: Vec::new(),
        min_capacity_percent: 0,
        database: None,
        dns: vec![DnsRecord {
            name: "app.example.test".into(),
            zone: "example.test".into(),
            rtype: RecordType::A,
            ttl_s: 5,
            values: values.collect(),
            routing: Routing::Primary,
        }],
    }
}

fn http_check(name: &str, n: usize) -> Check {
    let timings = Profile::Balanced.timings();
    Check {
        id: CheckId::new(format!("{name}/endpoint/1")),
        region: name.into(),
        service: None,
        probe: Probe::Http {
            url: format!("http://127.0.1.{n}:80"),
            expect_status: vec![(200, 399)],
            expect_body: None,
        },
        interval: timings.probe_interval,
        timeout: timings.probe_timeout,
        healthy_threshold: timings.healthy_threshold,
        unhealthy_threshold: timings.unhealthy_threshold,
    }
}

/// The same without one region.
pub(super) fn remove_region(config: &mut Config, name: &str) {
    let name = RegionName::from(name);
    config.regions.retain(|region| region.name != name);
    config.checks.retain(|check| check.region != name);
    for service in config.services.values_mut() {
        for record in &mut service.dns {
            record.values.remove(&name);
        }
    }
}

/// The one finding that a broken configuration has: severity, place, message.
pub(super) fn only(config: &Config) -> (Severity, String, String) {
    let found = super::check(config);
    assert_eq!(found.len(), 1, "{found:#?}");
    brief(&found[0])
}

/// The finding at a place, among others.
pub(super) fn at(config: &Config, place: &Place) -> (Severity, String) {
    let found = super::check(config);
    let here: Vec<&Finding> = found.iter().filter(|finding| finding.at == *place).collect();
    assert_eq!(here.len(), 1, "at {place}: {found:#?}");
    assert!(!here[0].fix.is_empty(), "no fix: {:?}", here[0]);
    (here[0].severity, here[0].message.clone())
}

fn brief(finding: &Finding) -> (Severity, String, String) {
    assert!(!finding.fix.is_empty(), "no fix: {finding:?}");
    (finding.severity, finding.at.to_string(), finding.message.clone())
}
