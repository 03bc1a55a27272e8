//! A leader that was paused across a failover cannot change what its successors decided.

use nix::sys::signal::Signal;
use tests::{Cluster, eventually};

#[test]
fn cluster_a_leader_paused_across_a_failover_is_refused() -> anyhow::Result<()> {
    let cluster = Cluster::up("balanced")?;
    cluster.lead_from("us-east-1")?;
    // The whole region stops in its tracks, the leader in it: to the others it is lost.
    for part in ["controller", "agent", "service"] {
        cluster.signal("us-east-1", part, Signal::SIGSTOP)?;
    }
    let next = cluster.address("eu-west-1");
    for region in ["eu-west-1", "ap-southeast-1"] {
        eventually(&format!("{next} at {region}"), || Ok(cluster.dig(region)? == next))?;
    }
    eventually("the plan's end", || Ok(cluster.json(&["plan", "1"])?["status"] == "done"))?;
    let before = cluster.status()?["services"][0]["epoch"].clone();

    // The name stays where it is while the others die, as the stale leader believes they did: it
    // wakes believing that it leads and that nobody was heard of for long.
    for part in ["controller", "agent", "service"] {
        cluster.signal("us-east-1", part, Signal::SIGCONT)?;
    }
    // It answers from its own state until it hears of the new leader; then it follows.
    eventually("us-east-1 to follow", || Ok(cluster.dig("us-east-1")? == next))?;
    eventually("us-east-1 to be healthy", || {
        let status = cluster.status()?;
        let regions = status["regions"].as_array().cloned().unwrap_or_default();
        Ok(regions.iter().all(|region| region["verdict"] == "healthy"))
    })?;
    assert_eq!(cluster.status()?["services"][0]["epoch"], before, "nothing was moved again");
    assert_eq!(cluster.json(&["plan"])?.as_array().map(Vec::len), Some(1), "no second plan");
    for region in cluster.regions() {
        assert_eq!(cluster.dig(&region)?, next);
    }
    Ok(())
}
