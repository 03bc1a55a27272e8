//! `chaos failpoints`: a crash at every boundary of a failover and of a planned move, and at every pair.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use chaos::sim::{AT_AND_AFTER, Ambush, Script, crash_at, points};
use serde::Serialize;

use crate::work::{Seeds, share};

#[derive(clap::Args)]
pub struct Flags {
    /// What is configured, and how far apart the regions are: as 1..7, from the first to the one before the last
    #[arg(long, value_name = "A..B,…", default_value = "1..7")]
    seeds: Seeds,
    /// Crash at every pair of boundaries, too, with the first seed
    #[arg(long)]
    pairs: bool,
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// A line of JSON for each script and seed, instead of words
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

#[derive(Serialize)]
struct Line {
    script: Script,
    seed: u64,
    points: usize,
    runs: usize,
    failed: usize,
}

pub fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let mut failed = 0;
    for script in Script::ALL {
        for (n, seed) in flags.seeds.all().enumerate() {
            let line = crash_everywhere(flags, script, seed, flags.pairs && n == 0);
            failed += line.failed;
            match flags.output {
                Some(_) => println!("{}", serde_json::to_string(&line)?),
                None => println!(
                    "{script:?}, seed {seed}: {} points, {} runs, {} failed",
                    line.points, line.runs, line.failed
                ),
            }
        }
    }
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn crash_everywhere(flags: &Flags, script: Script, seed: u64, pairs: bool) -> Line {
    let singles = points(script, seed, &AT_AND_AFTER);
    let mut wanted: Vec<Vec<Ambush>> = singles.iter().map(|point| vec![*point]).collect();
    if pairs {
        let points = points(script, seed, &AT_AND_AFTER[..1]);
        let with_later = |n: usize| points[n + 1..].iter().map(move |second| (n, *second));
        wanted.extend((0..points.len()).flat_map(with_later).map(|(n, second)| vec![points[n], second]));
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let crash = |at: &Vec<Ambush>| {
        let (report, faults) = crash_at(script, seed, at.clone());
        if let Some(broken) = report.violations.first() {
            failed.fetch_add(1, Ordering::Relaxed);
            eprintln!(
                "{script:?}, seed {seed}: {}: {}\n  {at:?}\n  {faults:?}",
                broken.invariant, broken.detail
            );
        }
    };
    share(flags.jobs, || wanted.get(next.fetch_add(1, Ordering::Relaxed)), crash);
    Line { script, seed, points: singles.len(), runs: wanted.len(), failed: failed.into_inner() }
}
