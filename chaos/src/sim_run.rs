//! `chaos sim`: many seeds, or one to be read.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chaos::sim::{Bug, Layout, Options, Planned, Report, Shown, run, shrink};
use serde::Serialize;

#[derive(clap::Args)]
pub struct Flags {
    /// From the first to the one before the last, as 1..1000
    #[arg(long, value_name = "A..B", default_value = "1..101")]
    seeds: String,
    /// Simulated minutes of each
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// A line of JSON for each seed, instead of words
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
    /// One seed, with all that happened
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,
    /// Put this bug in: it should be found
    #[arg(long)]
    planted: Option<Bug>,
}

/// A seed's line.
#[derive(Serialize)]
struct Line<'a> {
    seed: u64,
    trace_hash: String,
    verdict: &'a str,
    faults: usize,
    events: u64,
    entries: u64,
    moves: usize,
    writes: usize,
    lost: usize,
    violations: Vec<String>,
}

pub fn run_seeds(flags: &Flags) -> anyhow::Result<ExitCode> {
    let lasts = Duration::from_secs(flags.minutes * 60);
    if let Some(seed) = flags.replay {
        return Ok(replay(seed, lasts, flags.planted));
    }
    let (first, end) = flags.seeds.split_once("..").context("--seeds is two numbers, as 1..1000")?;
    let (first, end): (u64, u64) = (first.parse()?, end.parse()?);
    anyhow::ensure!(first < end, "--seeds {}: there is none", flags.seeds);
    let (next, is_broken) = (AtomicU64::new(first), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..flags.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let options = Options { lasts, faults: None, is_read: false, planted: flags.planted };
                    let (report, faults, _) = run(seed, &options);
                    is_broken.fetch_or(!report.violations.is_empty(), Ordering::Relaxed);
                    tell(flags, seed, &report);
                    if flags.output.is_none() && !report.violations.is_empty() {
                        tell_shrunk(seed, &options, faults, &report);
                    }
                }
            });
        }
    });
    let seconds = (end - first) as f64 * lasts.as_secs_f64();
    let took = began.elapsed().as_secs_f64();
    eprintln!(
        "{} seeds, {seconds:.0} simulated seconds in {took:.1} s: {:.0} a second",
        end - first,
        seconds / took
    );
    Ok(if is_broken.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn tell(flags: &Flags, seed: u64, report: &Report) {
    let violations: Vec<String> =
        report.violations.iter().map(|broken| format!("{}: {}", broken.invariant, broken.detail)).collect();
    let line = Line {
        seed,
        trace_hash: format!("{:016x}", report.trace_hash),
        verdict: if violations.is_empty() { "passed" } else { "failed" },
        faults: report.faults,
        events: report.events,
        entries: report.entries,
        moves: report.moves,
        writes: report.writes,
        lost: report.lost,
        violations,
    };
    match flags.output {
        Some(_) => println!("{}", serde_json::to_string(&line).unwrap_or_default()),
        None => {
            for broken in &line.violations {
                println!("seed {seed}: {broken}");
            }
        }
    }
}

fn tell_shrunk(seed: u64, options: &Options, faults: Vec<Planned>, report: &Report) {
    let Some(broken) = report.violations.first() else { return };
    let before = faults.len();
    let left = shrink(seed, options, faults, broken.invariant);
    println!("seed {seed}: {} of {before} faults are enough for {}:", left.len(), broken.invariant);
    for Planned { from, until, fault } in &left {
        let shown = Shown(fault, Layout { regions: 3 });
        println!("  {:.3} s to {:.3} s: {shown}", from.0 as f64 / 1e9, until.0 as f64 / 1e9);
    }
}

fn replay(seed: u64, lasts: Duration, planted: Option<Bug>) -> ExitCode {
    let options = Options { lasts, faults: None, is_read: true, planted };
    let (report, _, lines) = run(seed, &options);
    for line in lines {
        println!("{line}");
    }
    println!("trace {:016x}, {} events, {} entries", report.trace_hash, report.events, report.entries);
    for broken in &report.violations {
        println!("{:>10.3} s  {}: {}", broken.at.0 as f64 / 1e9, broken.invariant, broken.detail);
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
