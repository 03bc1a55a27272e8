//! `chaos mutants`: for each bug that can be put in, after how many seeds it is found, and by what.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use chaos::sim::{Bug, Options, run};
use serde::Serialize;

use crate::work::share;

#[derive(clap::Args)]
pub struct Flags {
    /// Seeds that are tried at most, for each
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// Simulated minutes of each
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Those of this name alone
    #[arg(long, value_name = "NAME")]
    only: Vec<Bug>,
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// A line of JSON for each, instead of words
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

#[derive(Serialize)]
struct Line {
    name: Bug,
    caught: bool,
    /// How many were tried.
    seeds: u64,
    /// The first that was broken.
    invariant: Option<&'static str>,
}

pub fn run_all(flags: &Flags) -> anyhow::Result<ExitCode> {
    let wanted = |bug: &Bug| flags.only.is_empty() || flags.only.contains(bug);
    let bugs: VecDeque<Bug> = Bug::all().filter(wanted).collect();
    ensure!(
        bugs.iter().all(|bug| bug.is_here()),
        "this program has no bugs in its rules: `cargo xtask mutants` builds one that has, with `--cfg regent_planted`"
    );
    let (all, bugs) = (bugs.len(), Mutex::new(bugs));
    let next = || bugs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
    let missed = AtomicUsize::new(0);
    share(flags.jobs, next, |bug| {
        let line = try_one(bug, flags);
        missed.fetch_add(usize::from(!line.caught), Ordering::Relaxed);
        tell(flags, &line);
    });
    let missed = missed.into_inner();
    eprintln!("{} of {all} found", all - missed);
    Ok(if missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn try_one(bug: Bug, flags: &Flags) -> Line {
    let lasts = Duration::from_secs(flags.minutes * 60);
    let options = Options { planted: Some(bug), ..Options::lasting(lasts) };
    let found = (1..=flags.seeds).find_map(|seed| {
        let report = run(seed, &options).0;
        report.violations.first().map(|broken| (seed, broken.invariant))
    });
    Line {
        name: bug,
        caught: found.is_some(),
        seeds: found.map_or(flags.seeds, |(seed, _)| seed),
        invariant: found.map(|(_, invariant)| invariant),
    }
}

fn tell(flags: &Flags, line: &Line) {
    match (&flags.output, line.invariant) {
        (Some(_), _) => println!("{}", serde_json::to_string(line).unwrap_or_default()),
        (None, Some(invariant)) => {
            println!("{}: found by {invariant} with seed {}", line.name, line.seeds);
        }
        (None, None) => println!("{}: NOT FOUND in {} seeds", line.name, line.seeds),
    }
}
