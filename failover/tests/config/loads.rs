use std::time::Duration;

use decision::config::{Probe, Profile};
use failover::config;

use super::{assert_file, data, root};

#[test]
fn the_seed_loads_as_it_stands() {
    let loaded = config::load(&data("regions.seed.yml")).unwrap_or_else(|errors| panic!("{errors}"));
    let config = loaded.config;
    let names: Vec<&str> = config.regions.iter().map(|region| region.name.as_str()).collect();
    assert_eq!(names, ["us-east-1", "eu-west-1", "ap-southeast-1"], "order is preference");
    let capacities: Vec<u8> = config.regions.iter().map(|region| region.capacity_percent).collect();
    assert_eq!(capacities, [100, 50, 25]);
    let services: Vec<&str> = config.services.keys().map(|name| name.as_str()).collect();
    assert_eq!(services, ["backup", "chain", "collector", "monitoring", "signer"]);
    assert_eq!(config.strategy.detection_timeout, Duration::from_secs(30));
    assert_eq!(config.strategy.recovery_timeout, Duration::from_secs(300));
    assert_eq!(config.strategy.profile, Profile::Balanced);
    assert!(config.strategy.automatic_failover && !config.strategy.manual_approval_required);
    assert_eq!(config.checks.len(), 3);
    for check in &config.checks {
        assert_eq!((check.interval, check.timeout), (Duration::from_secs(10), Duration::from_secs(5)));
        assert_eq!((check.healthy_threshold, check.unhealthy_threshold), (2, 3));
    }
    assert!(
        matches!(&config.checks[0].probe, Probe::Http { url, .. } if url == "https://api-east.merajutasa.id")
    );
    // Only this: monitoring runs in one region.
    let warnings: Vec<&str> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(warnings, ["only ap-southeast-1 hosts monitoring: it cannot be failed over"]);
}

#[test]
fn the_sample_loads_without_a_word() {
    let text = std::fs::read_to_string(root("regions.yml")).unwrap();
    assert!(text.starts_with("# yaml-language-server: $schema=regions.schema.json\n"));
    let loaded = config::parse("regions.yml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, [], "{}", config::to_text(&loaded.warnings));
    for profile in ["safe", "balanced", "fast"] {
        let text =
            text.replace("failover_strategy:\n", &format!("failover_strategy:\n  profile: {profile}\n"));
        let loaded = config::parse("regions.yml", &text).unwrap_or_else(|errors| panic!("{errors}"));
        let expected = if profile == "safe" { 1 } else { 0 }; // its RTO is not for patient timings
        assert_eq!(loaded.warnings.len(), expected, "{profile}: {}", config::to_text(&loaded.warnings));
    }
}

#[test]
fn another_profile_can_stand_in() {
    let loaded = config::load_with(&root("regions.yml"), Some(Profile::Fast)).unwrap();
    assert_eq!(loaded.config.strategy.detection_timeout, Profile::Fast.timings().detection_timeout);
    // What the file sets itself stays.
    let loaded = config::load_with(&data("good/everything.yml"), Some(Profile::Balanced)).unwrap();
    assert_eq!(loaded.config.strategy.profile, Profile::Balanced);
    assert_eq!(loaded.config.strategy.detection_timeout, Duration::from_secs(40));
}

#[test]
fn the_schema_file_is_current() {
    assert_file(&root("regions.schema.json"), &config::schema_json());
}

#[test]
fn the_examples_of_the_document_load() {
    const REGIONS: &str = "\
regions:
  primary: {name: us-east-1, endpoints: [http://127.0.1.1:80], services: [app], jurisdiction: EU}
  secondary: {name: eu-west-1, endpoints: [http://127.0.1.2:80], services: [app], jurisdiction: EU}
  third: {name: eu-north-1, witness: true}
tiers: {critical: {rto: 2m, rpo: 0s}}
";
    let document = std::fs::read_to_string(root("docs/CONFIGURATION.md")).unwrap();
    let examples: Vec<&str> =
        document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 4);
    for example in examples {
        let whole = example.starts_with("regions:");
        let text = if whole { example.to_owned() } else { format!("{REGIONS}{example}") };
        let loaded =
            config::parse("docs/CONFIGURATION.md", &text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, [], "{}", config::to_text(&loaded.warnings));
    }
}

#[test]
fn a_label_and_a_name_are_the_same_region() {
    let text = std::fs::read_to_string(root("regions.yml")).unwrap();
    let labelled = text
        .replace("          us-east-1:", "          primary:")
        .replace("          ap-southeast-1:", "          tertiary:");
    assert_ne!(text, labelled);
    let by_name = config::parse("a", &text).unwrap().config;
    assert_eq!(by_name, config::parse("b", &labelled).unwrap().config);
}

#[test]
fn a_difference_is_a_line_with_its_effect() {
    let text = std::fs::read_to_string(root("regions.yml")).unwrap();
    let old = config::parse("old", &text).unwrap().config;
    assert_eq!(config::diff(&old, &old), []);
    let changed = text
        .replace("ttl: 5", "ttl: 2")
        .replace("capacity: 50%", "capacity: 75%")
        .replace("          eu-west-1: 127.0.1.2\n", "          eu-west-1: [127.0.1.2, 127.0.2.2]\n")
        .replace("failover_strategy:\n", "failover_strategy:\n  min_stay: 1500ms\n")
        .replace("path: /healthz", "path: /ready");
    let new = config::parse("new", &changed).unwrap_or_else(|errors| panic!("{errors}")).config;
    let lines: Vec<String> = config::diff(&old, &new).iter().map(ToString::to_string).collect();
    assert_file(&data("diff.txt"), &format!("{}\n", lines.join("\n")));

    let mut swapped = old.clone();
    swapped.regions.swap(0, 1);
    let only = config::diff(&old, &swapped);
    assert_eq!(only.len(), 1);
    assert_eq!(
        (only[0].at.as_str(), only[0].to.as_deref()),
        ("regions", Some("eu-west-1, us-east-1, ap-southeast-1"))
    );
    let mut fewer = old.clone();
    fewer.regions.pop();
    assert!(
        config::diff(&old, &fewer)
            .iter()
            .any(|line| line.at == "regions.ap-southeast-1" && line.to.is_none())
    );
}

#[test]
fn a_change_of_a_database_is_told_by_its_key() {
    let text = std::fs::read_to_string(data("good/everything.yml")).unwrap();
    let old = config::parse("old", &text).unwrap().config;
    let mut changed = text.clone();
    for (from, to) in [
        ("mode: sync\n", "mode: sync-strict\n"),
        ("bytes: 1.5GiB", "bytes: 1GB"),
        ("lease_ttl: 25s", "lease_ttl: 26s"),
        ("password_file: /etc/regent/replication.password", "password_env: REPLICATION"),
        ("max_connections: 200, jit: false", "max_connections: 300"),
        ("\"hostssl app app 2001:db8::/32 cert\"", "\"hostssl app app 2001:db8::/32 reject\""),
        ("password_env: READER_PASSWORD", "password_env: READER, database: reports"),
        ("          priority: 200\n", ""),
        ("\"2001:db8::2\", nofailover: false", "\"2001:db8::3\", read_endpoint: \"[2001:db8::3]:1\""),
    ] {
        assert!(changed.contains(from), "{from}");
        changed = changed.replace(from, to);
    }
    let new = config::parse("new", &changed).unwrap_or_else(|errors| panic!("{errors}")).config;
    let mut without = old.clone();
    without.services.get_mut(&"store".into()).unwrap().database = None;
    let lines: Vec<String> =
        [config::diff(&old, &new), config::diff(&without, &old), config::diff(&old, &without)]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect();
    assert_file(&data("diff-database.txt"), &format!("{}\n", lines.join("\n")));
}

#[test]
fn a_word_that_becomes_a_mapping_is_one_difference() {
    let old = config::load(&root("regions.yml")).unwrap().config;
    let mut new = old.clone();
    let record = new.services.values_mut().find_map(|service| service.dns.first_mut()).unwrap();
    let weights = record.values.keys().map(|region| (region.clone(), 1)).collect();
    record.routing = decision::config::Routing::Weighted(weights);
    for (old, new) in [(&old, &new), (&new, &old)] {
        let found = config::diff(old, new);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].at.ends_with(".routing"), "{}", found[0]);
    }
}

#[test]
fn a_database_that_is_shown_loads_again() {
    let everything = std::fs::read_to_string(data("good/everything.yml")).unwrap();
    let (before, rest) = everything.split_once("    database:\n").unwrap();
    let (_, after) = rest.split_once("\ndns:\n").unwrap();
    let with = |database: &str| {
        let text = format!("{before}    database:\n{database}\ndns:\n{after}");
        config::parse("shown", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}")).config
    };
    let smallest = "      replication: {password_env: PASSWORD}\n      data_dir: /srv\n      instances: {primary: , eu-west-1: }";
    for config in [config::parse("all", &everything).unwrap().config, with(smallest)] {
        let shown = config::show(&config);
        let (_, shown) = shown.split_once("    database:\n").unwrap();
        let (shown, _) = shown.split_once("\nstrategy:\n").unwrap();
        assert_eq!(with(shown).services, config.services);
    }
}

#[test]
fn what_a_database_leaves_out_has_a_default() {
    let text = "\
regions:
  one: {name: us, endpoints: [\"http://[2001:db8::1]:80\"], services: [app]}
  two: {name: eu, endpoints: [https://api.eu.example.com, tcp://10.0.0.9:1], services: [app]}
  three: {name: ap, witness: true}
services:
  app:
    database:
      replication: {password_env: PASSWORD}
      data_dir: /srv
      instances: {one: , eu: {port: 5433}}
";
    let loaded = config::parse("x", text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, [], "{}", config::to_text(&loaded.warnings));
    let database = loaded.config.services[&"app".into()].database.clone().unwrap();
    assert_eq!(database.mode, decision::config::Mode::Async);
    assert_eq!(database.lease, Profile::Balanced.lease());
    assert_eq!(database.max_data_loss.bytes, 16 << 20);
    assert_eq!(database.max_data_loss.time, Duration::from_secs(60), "the tier's rpo");
    assert_eq!((database.superuser.as_str(), database.failsafe), ("postgres", false));
    assert_eq!(database.replication.user, "regent_replication");
    let [eu, us] = ["eu", "us"].map(|name| &database.instances[&decision::name::RegionName::from(name)]);
    assert_eq!(
        (us.host.as_str(), us.port, us.listen.as_slice()),
        ("2001:db8::1", 5432, &["2001:db8::1".to_owned()][..])
    );
    assert_eq!(
        (eu.host.as_str(), eu.port, eu.listen.as_slice()),
        ("api.eu.example.com", 5433, &["*".to_owned()][..])
    );
    assert_eq!(
        (us.address().as_str(), eu.address().as_str()),
        ("[2001:db8::1]:5432", "api.eu.example.com:5433")
    );
    assert_eq!(
        (us.os_user.as_str(), us.priority, us.nofailover, &us.bin_dir),
        ("postgres", 100, false, &None)
    );
    // A shorter rpo than the lease cannot be kept: the default is what can be, and the warning says so.
    let soon = text.replace("    database:", "    tier: {rto: 5m, rpo: 1s}\n    database:");
    let loaded = config::parse("x", &soon).unwrap_or_else(|errors| panic!("{errors}"));
    let database = loaded.config.services[&"app".into()].database.clone().unwrap();
    assert_eq!(database.max_data_loss.time, database.lease.expiry());
    assert_eq!(loaded.warnings.len(), 1, "{}", config::to_text(&loaded.warnings));
    // Another profile has another lease, and with it another default.
    let fast = text.replace("services:\n  app", "failover_strategy: {profile: fast}\nservices:\n  app");
    let database =
        config::parse("x", &fast).unwrap().config.services[&"app".into()].database.clone().unwrap();
    assert_eq!(database.lease, Profile::Fast.lease());
}

#[test]
fn a_region_can_be_pointed_elsewhere() {
    let mut config = config::load(&root("regions.yml")).unwrap().config;
    config::retarget(&mut config, &"eu-west-1".into(), "http://127.0.0.1:9999");
    let of_eu: Vec<&str> = config
        .checks
        .iter()
        .filter(|check| check.region.as_str() == "eu-west-1")
        .filter_map(|check| match &check.probe {
            Probe::Http { url, .. } => Some(url.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(of_eu, ["http://127.0.0.1:9999", "http://127.0.0.1:9999/healthz"]);
    assert_eq!(config.regions[1].endpoints, ["http://127.0.0.1:9999"]);
    assert_eq!(config.regions[0].endpoints, ["http://127.0.1.1:7419"]);
}

#[test]
fn a_file_that_is_not_there() {
    let error = config::load(&data("no-such-file.yml")).unwrap_err().to_string();
    assert!(error.contains("no-such-file.yml: error: cannot be read: No such file"), "{error}");
}
