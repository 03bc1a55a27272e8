//! `chaos mutants`: for each bug that can be put in, after how many seeds it is found, and by what.

use std::process::ExitCode;
use std::time::Duration;

use chaos::sim::{Bug, Options, run};
use serde::Serialize;

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

pub fn run_all(flags: &Flags) -> ExitCode {
    let lasts = Duration::from_secs(flags.minutes * 60);
    let mut is_missed = false;
    for bug in Bug::ALL.into_iter().filter(|bug| flags.only.is_empty() || flags.only.contains(bug)) {
        let options = Options { lasts, faults: None, is_read: false, planted: Some(bug) };
        let found = (1..=flags.seeds).find_map(|seed| {
            let report = run(seed, &options).0;
            report.violations.first().map(|broken| (seed, broken.invariant))
        });
        is_missed |= found.is_none();
        let line = Line {
            name: bug,
            caught: found.is_some(),
            seeds: found.map_or(flags.seeds, |(seed, _)| seed),
            invariant: found.map(|(_, invariant)| invariant),
        };
        match flags.output {
            Some(_) => println!("{}", serde_json::to_string(&line).unwrap_or_default()),
            None => match line.invariant {
                Some(invariant) => println!("{bug:?}: found by {invariant} with seed {}", line.seeds),
                None => println!("{bug:?}: NOT FOUND in {} seeds", line.seeds),
            },
        }
    }
    if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
