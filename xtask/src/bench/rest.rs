//! What a controller holds in memory while nothing happens.

use std::path::Path;
use std::time::Duration;

use super::Bench;
use super::cluster::Cluster;
use super::process::memory_mib;
use super::table::{Row, Target};

const AFTER: Duration = Duration::from_secs(30);

pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start(bench, &bench.folder("rest")?, Path::new("tests/names.yml"), "balanced")?;
    std::thread::sleep(AFTER);
    let (mut resident, mut own, mut shared) = (Vec::new(), Vec::new(), Vec::new());
    for (region, _) in cluster.regions() {
        let pid = cluster.pid(region, "controller")?;
        resident.push(memory_mib(pid, "status", "VmRSS")?);
        own.push(memory_mib(pid, "status", "RssAnon")?);
        shared.push(memory_mib(pid, "smaps_rollup", "Pss")?);
    }
    let most = |of: &[f64]| of.iter().copied().fold(f64::NAN, f64::max);
    let each = |of: &[f64]| of.iter().map(|mib| format!("{mib:.1}")).collect::<Vec<_>>().join(" ");
    Ok(vec![
        Row::alone("controller at rest, resident, the most of three", "MiB", most(&resident))
            .target(Target::AtMost(40.0))
            .note(format!(
                "VmRSS {}; of it not of files {}; Pss {}",
                each(&resident),
                each(&own),
                each(&shared)
            )),
    ])
}
