//! Any process may be killed at any time: nothing acknowledged is lost, the journal's chain is
//! intact, the cluster serves again.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::{Cluster, PARTS, eventually, text};
use wire::host::{Random, SeededRandom};

/// Kills in one run; `REGENT_KILLS` asks for more.
const KILLS: usize = 30;

#[test]
fn cluster_random_kills_lose_nothing_acknowledged() -> anyhow::Result<()> {
    let kills = std::env::var("REGENT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let mut cluster = Cluster::up("balanced")?;
    // Moves would only slow this down; what is tried here is the log.
    cluster.done(&["pause", "--why", "random kills"])?;
    let random = SeededRandom::new(7);
    let regions = cluster.regions();
    let mut acknowledged = BTreeSet::new();
    let mut unknown = 0;
    for kill in 0..kills {
        let region = &regions[random.below(regions.len() as u64) as usize];
        let part = PARTS[random.below(PARTS.len() as u64) as usize];
        // A write under way while it dies: every pause and drain verb is a command in the log.
        let write = std::thread::scope(|scope| -> anyhow::Result<_> {
            let why = format!("kill {kill}");
            let writing = scope.spawn({
                let (cluster, why) = (&cluster, why.clone());
                move || cluster.failover(&["pause", "--why", &why])
            });
            std::thread::sleep(Duration::from_millis(random.below(60)));
            cluster.signal(region, part, Signal::SIGKILL)?;
            let output = writing.join().expect("no panic")?;
            Ok((why, output))
        })?;
        match write {
            (why, output) if output.status.success() => {
                acknowledged.insert(why);
            }
            (_, output) => {
                assert_ne!(output.status.code(), Some(3), "{}", text(&output));
                unknown += 1;
            }
        }
        cluster.restart(region, part)?;
    }
    eventually("a cluster that serves again", || {
        let status = cluster.status()?;
        let regions = status["regions"].as_array().cloned().unwrap_or_default();
        Ok(regions.iter().all(|region| region["verdict"] == "healthy"))
    })?;
    let page = cluster.json(&["journal", "--after", "1", "-n", "1000"])?;
    assert_eq!(page["intact"], true);
    let told: BTreeSet<String> = page["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["event"]["why"].as_str().map(str::to_owned))
        .collect();
    let lost: Vec<_> = acknowledged.difference(&told).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(
        acknowledged.len() * 2 > kills,
        "{} of {kills} writes were acknowledged, {unknown} not",
        acknowledged.len()
    );
    println!(
        "{kills} kills: {} writes acknowledged, {unknown} of unknown outcome, none lost",
        acknowledged.len()
    );
    Ok(())
}
