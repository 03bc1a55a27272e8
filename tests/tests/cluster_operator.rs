//! What an operator sees and may do.

use tests::{Cluster, eventually, text};

#[test]
fn cluster_an_operator_asks_plans_moves_and_comes_home() -> anyhow::Result<()> {
    let cluster = Cluster::up("balanced")?;
    let status = cluster.status()?;
    assert_eq!(status["services"][0]["primary"], "us-east-1");
    assert_eq!(status["regions"].as_array().map(Vec::len), Some(3));

    // Ready means that every vantage has looked at every region: losing one leaves enough to judge.
    assert_eq!(cluster.json(&["plan", "--if-lost", "us-east-1"])?["plans"][0]["to"], "eu-west-1");
    assert_eq!(cluster.json(&["plan"])?, serde_json::json!([]), "asking opens nothing");

    // Without a terminal a destructive verb demands --yes.
    let asked = cluster.failover(&["switchover", "app", "--to", "eu-west-1"])?;
    assert_eq!(asked.status.code(), Some(1), "{}", text(&asked));
    let dry = cluster.failover(&["switchover", "app", "--to", "eu-west-1", "--dry-run"])?;
    assert_eq!(dry.status.code(), Some(2), "{}", text(&dry));
    assert_eq!(cluster.json(&["plan"])?, serde_json::json!([]));

    let moved = cluster.failover(&["switchover", "app", "--to", "eu-west-1", "--yes"])?;
    assert_eq!(moved.status.code(), Some(0), "{}", text(&moved));
    assert_eq!(cluster.dig("us-east-1")?, cluster.address("eu-west-1"));

    let nowhere = cluster.failover(&["switchover", "app", "--to", "mars", "--yes"])?;
    assert_eq!(nowhere.status.code(), Some(3), "{}", text(&nowhere));

    let home = cluster.failover(&["failback", "app", "--yes"])?;
    assert_eq!(home.status.code(), Some(0), "{}", text(&home));
    assert_eq!(cluster.dig("eu-west-1")?, cluster.address("us-east-1"));

    let doctor = cluster.failover(&["doctor"])?;
    assert_eq!(doctor.status.code(), Some(0), "{}", text(&doctor));
    Ok(())
}

#[test]
fn cluster_a_drained_region_is_left_and_a_paused_one_is_not() -> anyhow::Result<()> {
    let cluster = Cluster::up("balanced")?;
    cluster.done(&["pause", "--why", "maintenance"])?;
    cluster.done(&["drain", "us-east-1", "--yes"])?;
    eventually("word that it is held", || {
        let explanation = cluster.json(&["explain", "app"])?;
        Ok(explanation["conclusion"].as_str().is_some_and(|text| text.contains("paused")))
    })?;
    assert_eq!(cluster.dig("eu-west-1")?, cluster.address("us-east-1"));
    cluster.done(&["resume"])?;
    let next = cluster.address("eu-west-1");
    eventually("the move", || Ok(cluster.dig("ap-southeast-1")? == next))
}

#[test]
fn cluster_configuration_changes_without_a_restart() -> anyhow::Result<()> {
    let cluster = Cluster::up("balanced")?;
    let held = cluster.json(&["config", "show"])?;
    assert_eq!(held["strategy"]["profile"], "balanced");
    let broken = cluster.data_dir().join("broken.yml");
    std::fs::write(&broken, "regions:\n  a: {name: x, endpoint: y}\n")?;
    let checked = cluster.failover(&["config", "check", broken.to_str().expect("UTF-8")])?;
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked).contains("broken.yml:2:"), "{}", text(&checked));
    Ok(())
}
