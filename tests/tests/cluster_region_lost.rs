//! The main job: a region is lost, and clients find the next one.

use nix::sys::signal::Signal;
use tests::{Cluster, eventually};

/// Every surviving region's DNS answers the next region, and a plan says why.
fn cluster_moves_out_of(cluster: &Cluster, lost: &str) -> anyhow::Result<()> {
    let home = cluster.address(lost);
    let survivors: Vec<String> = cluster.regions().into_iter().filter(|region| region != lost).collect();
    for region in &survivors {
        assert_eq!(cluster.dig(region)?, home, "before");
    }
    cluster.lose(lost)?;
    let next = cluster.address("eu-west-1");
    for region in &survivors {
        eventually(&format!("{next} at {region}"), || Ok(cluster.dig(region)? == next))?;
    }
    eventually("the plan's end", || Ok(cluster.json(&["plan", "1"])?["status"] == "done"))?;
    let plan = cluster.json(&["plan", "1"])?;
    assert_eq!(plan["plan"]["from"], lost);
    assert_eq!(plan["plan"]["to"], "eu-west-1");
    assert_eq!(plan["plan"]["automatic"], true);
    let opened = cluster.journal(1)?.into_iter().find(|entry| entry["event"]["event"] == "plan_opened");
    let opened = opened.expect("the journal tells of the plan");
    assert_eq!(opened["event"]["explanation"]["opinions"].as_array().map(Vec::len), Some(2), "{opened}");
    Ok(())
}

#[test]
fn cluster_the_primary_region_is_lost() -> anyhow::Result<()> {
    let cluster = Cluster::up("balanced")?;
    cluster.lead_from("ap-southeast-1")?;
    cluster_moves_out_of(&cluster, "us-east-1")
}

#[test]
fn cluster_the_primary_region_is_lost_with_the_leader_in_it() -> anyhow::Result<()> {
    let cluster = Cluster::up("balanced")?;
    cluster.lead_from("us-east-1")?;
    cluster_moves_out_of(&cluster, "us-east-1")
}

#[test]
fn cluster_only_the_service_dies_in_a_living_region() -> anyhow::Result<()> {
    let cluster = Cluster::up("balanced")?;
    cluster.signal("us-east-1", "service", Signal::SIGKILL)?;
    let next = cluster.address("eu-west-1");
    for region in cluster.regions() {
        eventually(&format!("{next} at {region}"), || Ok(cluster.dig(&region)? == next))?;
    }
    Ok(())
}

#[test]
fn cluster_names_are_answered_with_no_controller_alive() -> anyhow::Result<()> {
    let cluster = Cluster::up("balanced")?;
    let home = cluster.address(cluster.primary());
    for region in cluster.regions() {
        cluster.signal(&region, "controller", Signal::SIGKILL)?;
    }
    for region in cluster.regions() {
        assert_eq!(cluster.dig(&region)?, home);
    }
    Ok(())
}

#[test]
fn cluster_state_survives_down_and_up() -> anyhow::Result<()> {
    let mut cluster = Cluster::up("balanced")?;
    cluster.done(&["switchover", "app", "--to", "eu-west-1", "--yes"])?;
    let before = cluster.journal(1)?;
    cluster.down()?;
    cluster.start(&tests::root().join("tests/names.yml"))?;
    assert_eq!(cluster.primary(), "eu-west-1");
    let there = cluster.address("eu-west-1");
    for region in cluster.regions() {
        eventually(&format!("{there} at {region}"), || Ok(cluster.dig(&region)? == there))?;
    }
    assert_eq!(cluster.journal(1)?[..before.len()], before[..]);
    Ok(())
}
