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
    assert_eq!(examples.len(), 3);
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
