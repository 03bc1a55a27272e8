//! `chaos sim`: many seeds, or one to be read.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chaos::sim::{Bug, Layout, Options, Planned, Report, Run, Shown, run, shrink};
use clap::ValueEnum;
use serde::Serialize;

use crate::work::{Seeds, share};

#[derive(clap::Args)]
pub struct Flags {
    /// From the first to the one before the last, as 1..1000; or some, as 1..11,657
    #[arg(long, value_name = "A..B,…", default_value = "1..101")]
    seeds: Seeds,
    /// How much of Regent is real; `whole` is there when built by `cargo xtask whole`
    #[arg(long, value_enum, default_value = "fast")]
    depth: Depth,
    /// Simulated minutes of each; 10, or 1 in the whole depth
    #[arg(long)]
    minutes: Option<u64>,
    /// Begin no more seeds after so many seconds
    #[arg(long, value_name = "SECONDS")]
    within: Option<u64>,
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Depth {
    /// The rules; consensus and agents are modelled
    Fast,
    /// Controllers as they are, in a virtual network; agents are played
    Whole,
}

impl Depth {
    fn run(self) -> anyhow::Result<Run> {
        match self {
            Depth::Fast => Ok(run),
            #[cfg(regent_whole)]
            Depth::Whole => Ok(chaos::whole::run),
            #[cfg(not(regent_whole))]
            Depth::Whole => anyhow::bail!("this program was built without it; run `cargo xtask whole`"),
        }
    }

    /// Those that can be put into it.
    fn bugs(self) -> Vec<Bug> {
        match self {
            Depth::Fast => Bug::all().collect(),
            #[cfg(regent_whole)]
            Depth::Whole => chaos::whole::BUGS.to_vec(),
            #[cfg(not(regent_whole))]
            Depth::Whole => Vec::new(),
        }
    }

    fn minutes(self) -> u64 {
        match self {
            Depth::Fast => 10,
            Depth::Whole => 1,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Passed,
    Failed,
    Inconclusive,
}

/// A seed's line.
#[derive(Serialize)]
struct Line<'a> {
    seed: u64,
    trace_hash: String,
    verdict: Verdict,
    faults: usize,
    events: u64,
    entries: u64,
    moves: usize,
    writes: usize,
    lost: usize,
    violations: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inconclusive: Option<&'a str>,
}

pub fn run_seeds(flags: &Flags) -> anyhow::Result<ExitCode> {
    let run = flags.depth.run()?;
    if let Some(bug) = flags.planted.filter(|bug| !flags.depth.bugs().contains(bug)) {
        anyhow::bail!("{bug} can be put into the fast depth alone");
    }
    let lasts = Duration::from_secs(flags.minutes.unwrap_or(flags.depth.minutes()) * 60);
    if let Some(seed) = flags.replay {
        return Ok(replay(run, seed, lasts, flags.planted));
    }
    let seeds = Mutex::new(flags.seeds.all());
    // As many as came to each verdict.
    let came_to = [const { AtomicU64::new(0) }; 3];
    let began = Instant::now();
    let is_over = || flags.within.is_some_and(|within| began.elapsed().as_secs() >= within);
    let next = || seeds.lock().unwrap_or_else(PoisonError::into_inner).next().filter(|_| !is_over());
    share(flags.jobs, next, |seed| {
        let options = Options { planted: flags.planted, ..Options::lasting(lasts) };
        let (report, faults, _) = run(seed, &options);
        let verdict = tell(flags, seed, &report);
        came_to[verdict as usize].fetch_add(1, Ordering::Relaxed);
        if flags.output.is_none() && verdict == Verdict::Failed {
            tell_shrunk(run, seed, &options, faults, &report);
        }
    });
    let [passed, failed, inconclusive] = came_to.map(AtomicU64::into_inner);
    let done = passed + failed + inconclusive;
    let seconds = done as f64 * lasts.as_secs_f64();
    let took = began.elapsed().as_secs_f64();
    eprintln!(
        "{done} seeds, {seconds:.0} simulated seconds in {took:.1} s: {:.0} a second; {failed} failed, {inconclusive} inconclusive",
        seconds / took
    );
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn tell(flags: &Flags, seed: u64, report: &Report) -> Verdict {
    let violations: Vec<String> =
        report.violations.iter().map(|broken| format!("{}: {}", broken.invariant, broken.detail)).collect();
    let line = Line {
        seed,
        trace_hash: format!("{:016x}", report.trace_hash),
        verdict: match report.inconclusive {
            _ if !violations.is_empty() => Verdict::Failed,
            Some(_) => Verdict::Inconclusive,
            None => Verdict::Passed,
        },
        faults: report.faults,
        events: report.events,
        entries: report.entries,
        moves: report.moves,
        writes: report.writes,
        lost: report.lost,
        violations,
        inconclusive: report.inconclusive,
    };
    match flags.output {
        Some(_) => println!("{}", serde_json::to_string(&line).unwrap_or_default()),
        None => {
            for broken in &line.violations {
                println!("seed {seed}: {broken}");
            }
            if let (Some(why), Verdict::Inconclusive) = (line.inconclusive, line.verdict) {
                println!("seed {seed} proves nothing: {why}");
            }
        }
    }
    line.verdict
}

fn tell_shrunk(run: Run, seed: u64, options: &Options, faults: Vec<Planned>, report: &Report) {
    let Some(broken) = report.violations.first() else { return };
    let before = faults.len();
    let left = shrink(run, seed, options, faults, broken.invariant);
    println!("seed {seed}: {} of {before} faults are enough for {}:", left.len(), broken.invariant);
    for Planned { from, until, fault } in &left {
        let shown = Shown(fault, Layout { regions: 3 });
        println!("  {:.3} s to {:.3} s: {shown}", from.0 as f64 / 1e9, until.0 as f64 / 1e9);
    }
}

fn replay(run: Run, seed: u64, lasts: Duration, planted: Option<Bug>) -> ExitCode {
    let options = Options { is_read: true, planted, ..Options::lasting(lasts) };
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
