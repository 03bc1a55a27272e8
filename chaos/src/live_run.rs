//! `chaos live`: a storm of faults over a whole cluster, its verdicts, and a page that shows what happened.

mod page;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chaos::live::scenario::{Runner, Storm, Until, Wound};
use chaos::live::{Cluster, Mode, Options, Profile, Who};
use serde::Serialize;

/// Fewer, and it was no storm.
const FAULTS_A_MINUTE: f64 = 2.0;
/// Fewer rows acknowledged in a second to the client, and nobody was there to be disturbed.
const ROWS_A_SECOND: f64 = 10.0;

/// One that comes back has a session, and with it the newest zone, by then.
const NAMES_WITHIN_MS: f64 = 10_000.0;

#[derive(clap::Args)]
pub struct Flags {
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// For what is drawn by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What is drawn from
    #[arg(long, value_enum, default_value = "everything")]
    schedule: Schedule,
    #[arg(long, value_enum, default_value = "balanced")]
    profile: ProfileName,
    #[arg(long, value_enum, default_value = "sync")]
    mode: ModeName,
    /// A page that shows it all, for a browser; no network is needed
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// All that came of it as JSON, instead of words
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
    /// Leave data and logs
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Schedule {
    Everything,
    Kills,
    Freezes,
    Network,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ProfileName {
    Fast,
    Balanced,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ModeName {
    Async,
    Sync,
}

/// What is demanded, and what came of it.
#[derive(Clone, Debug, Serialize)]
struct Verdict {
    invariant: &'static str,
    demand: &'static str,
    result: Outcome,
    found: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Outcome {
    Pass,
    Fail,
    Inconclusive,
}

#[derive(Serialize)]
struct Report<'a> {
    schedule: Schedule,
    mode: String,
    profile: String,
    verdicts: &'a [Verdict],
    storm: &'a Storm,
}

pub fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let profile = match flags.profile {
        ProfileName::Fast => Profile::Fast,
        ProfileName::Balanced => Profile::Balanced,
    };
    let mode = match flags.mode {
        ModeName::Async => Mode::Async,
        ModeName::Sync => Mode::Sync,
    };
    let wounds = match flags.schedule {
        Schedule::Everything => [Wound::KILLS, Wound::FREEZES, Wound::NETWORK].concat(),
        Schedule::Kills => Wound::KILLS.to_vec(),
        Schedule::Freezes => Wound::FREEZES.to_vec(),
        Schedule::Network => Wound::NETWORK.to_vec(),
    };
    eprintln!("starting {profile}, {mode}");
    let mut cluster = Cluster::start(Options::new(profile, mode))?;
    if flags.keep {
        cluster.keep_folder();
    }
    let lasts = Duration::from_secs(flags.minutes * 60);
    let storm = Runner::new(&cluster).storm(Until::Elapsed(lasts), &wounds, flags.seed)?;
    let verdicts = verdicts(&storm, mode);
    let report = Report {
        schedule: flags.schedule,
        mode: mode.to_string(),
        profile: profile.to_string(),
        verdicts: &verdicts,
        storm: &storm,
    };
    if let Some(path) = &flags.page {
        std::fs::write(path, page::page(&report)).with_context(|| path.display().to_string())?;
    }
    match flags.output {
        Some(_) => println!("{}", serde_json::to_string(&report)?),
        None => {
            for Verdict { invariant, demand, result, found } in &verdicts {
                println!("{invariant} {result:?}: {demand}: {found}");
            }
        }
    }
    let worst = |outcome| verdicts.iter().any(|verdict| verdict.result == outcome);
    let code = match (worst(Outcome::Fail), worst(Outcome::Inconclusive)) {
        (true, _) => 1,
        (false, true) => 3,
        (false, false) => 0,
    };
    Ok(ExitCode::from(code))
}

fn verdicts(storm: &Storm, mode: Mode) -> Vec<Verdict> {
    let judged = &storm.judged;
    let seconds = storm.lasted_ms / 1e3;
    let passed = |holds: bool| if holds { Outcome::Pass } else { Outcome::Fail };
    let enough = |holds: bool| if holds { Outcome::Pass } else { Outcome::Inconclusive };
    let lost = |who: Who| judged.lost.get(&who).map_or(0, |lost| lost.count);
    let lost = lost(Who::Client) + lost(Who::Inside);
    let acked = judged.acked.get(&Who::Client).copied().unwrap_or_default();
    let overlap = judged.overlap_ms.unwrap_or(f64::NEG_INFINITY);
    let rate = storm.wounds.len() as f64 * 60.0 / seconds;
    vec![
        Verdict {
            invariant: "S1",
            demand: "never two writers, nothing acknowledged by an old one after a newer began",
            result: passed(overlap <= 0.0 && judged.late_acks == 0),
            found: format!("{:.0} ms lay between any two, {} rows were late", -overlap, judged.late_acks),
        },
        Verdict {
            invariant: "S3",
            demand: match mode {
                Mode::Sync => "no acknowledged row is lost",
                Mode::Async => "what is lost is told",
            },
            result: passed(lost == 0 || mode == Mode::Async),
            found: format!("{lost} of {} lost", judged.acked.values().sum::<usize>()),
        },
        Verdict {
            invariant: "S6",
            demand: "no name server that answers leads for long to where nobody writes any more",
            result: passed(storm.names_stale_ms <= NAMES_WITHIN_MS),
            found: format!("{:.0} ms at the longest", storm.names_stale_ms),
        },
        Verdict {
            invariant: "L1, L2",
            demand: "after each fault somebody takes writes again, and in the end all is well",
            result: passed(storm.unwell.is_empty()),
            found: match storm.unwell.as_slice() {
                [] => "always".to_owned(),
                unwell => unwell.join("; "),
            },
        },
        Verdict {
            invariant: "load",
            demand: "enough was written to be lost",
            result: enough(acked as f64 >= seconds * ROWS_A_SECOND),
            found: format!("{acked} rows in {seconds:.0} s"),
        },
        Verdict {
            invariant: "faults",
            demand: "at least two a minute, and somebody else had to take over",
            result: enough(rate >= FAULTS_A_MINUTE && judged.eras > 1),
            found: format!("{rate:.1} a minute, {} writers after each other", judged.eras),
        },
        Verdict {
            invariant: "unavailability",
            demand: "told",
            result: Outcome::Pass,
            found: format!("the client's longest without an acknowledgement: {:.0} ms", judged.gap_ms),
        },
    ]
}
