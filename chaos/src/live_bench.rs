//! `chaos live-bench`: faults of a whole cluster with its database, measured.

mod cases;

use std::process::ExitCode;
use std::time::Duration;

use chaos::live::scenario::{Run, Runner, Until, Wound};
use chaos::live::{Cluster, Judgement, Options, Through, Who};
use serde_json::json;

use cases::{CASES, Case, What};

#[derive(clap::Args)]
pub struct Flags {
    /// As fast-async-cut-off; those of the benchmark when none is named
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Name what there is, and measure nothing
    #[arg(long)]
    list: bool,
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// A line of JSON for each run, instead of words
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
    /// The client writes through the relay of this region's agent, and not to the servers themselves
    #[arg(long, value_name = "REGION")]
    relay: Option<String>,
    /// For what is drawn by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many wounds of those drawn by chance, instead of what the case says
    #[arg(long)]
    wounds: Option<usize>,
    /// So long without a quorum, or without a fault, instead of what the case says
    #[arg(long, value_name = "SECONDS")]
    lasts: Option<u64>,
    /// Leave data and logs, and what was recorded
    #[arg(long)]
    keep: bool,
    /// What the parts log, as in debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

pub fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    if flags.list {
        for (case, what) in CASES.iter().flat_map(|case| case.what.iter().map(move |what| (case, what))) {
            println!("{}{}", case.name(what), if what.is_timed() { "" } else { " (only when named)" });
        }
        return Ok(ExitCode::SUCCESS);
    }
    let known =
        |name: &String| CASES.iter().any(|case| case.what.iter().any(|what| case.name(what) == *name));
    if let Some(unknown) = flags.only.iter().find(|only| !known(only)) {
        anyhow::bail!("{unknown:?} is not measured; --list names what is");
    }
    let mut failed = false;
    for case in &CASES {
        let wanted = |what: &&What| match flags.only.is_empty() {
            true => what.is_timed(),
            false => flags.only.contains(&case.name(what)),
        };
        for what in case.what.iter().filter(wanted) {
            if let Err(error) = measure(flags, case, what) {
                eprintln!("{}: {error:#}", case.name(what));
                failed = true;
            }
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// Each in a cluster of its own: what went before leaves its log behind, and that is copied with every rewind.
fn measure(flags: &Flags, case: &Case, what: &What) -> anyhow::Result<()> {
    let options = Options { log: flags.log.clone(), ..case.options() };
    eprintln!("starting {}, {}", options.profile, options.mode);
    let mut cluster = Cluster::start(options)?;
    if flags.keep {
        cluster.keep_folder();
    }
    let mut runner = Runner::new(&cluster);
    runner.keeps_evidence = flags.keep;
    if let Some(region) = &flags.relay {
        runner.through = Through::relay(region)?;
    }
    let name = case.name(what);
    (0..what.times(flags.repetitions)).try_for_each(|n| go(flags, &mut runner, what, &name, n))
}

fn go(flags: &Flags, runner: &mut Runner, what: &What, name: &str, n: usize) -> anyhow::Result<()> {
    match what {
        // In turn: a leader that is lost with the region costs an election too.
        What::Fault(fault) => tell(flags, name, &runner.run(*fault, Some(n % 2 == 1))?),
        What::KillLeader { fault, every } => {
            let after = *every * n as u32;
            let name = format!("{name} after {} ms", after.as_millis());
            tell(flags, &name, &runner.run_and_kill_leader(*fault, after)?);
        }
        What::WithoutQuorum { lasts } => {
            let run = runner.without_quorum(flags.lasts.map_or(*lasts, seconds))?;
            print(flags, name, &json!(run), &run.judged, "");
        }
        What::Long { lasts, busy_threads } => {
            let run = runner.long(flags.lasts.map_or(*lasts, seconds), *busy_threads)?;
            let eras: Vec<_> =
                run.judged.eras_began_ms.iter().map(|ms| format!("{:.1}", ms / 1_000.0)).collect();
            let stalls: Vec<_> = run
                .stalls
                .iter()
                .map(|stall| format!("{:.1}: {:?} {} ms", stall.at_s, stall.of, stall.ms))
                .collect();
            let note = format!(
                ", false failovers {} in {} s, eras from [{}] s on; the machine stood still at [{}] s",
                run.false_failovers,
                run.lasted_s,
                eras.join(", "),
                stalls.join(", "),
            );
            print(flags, name, &json!(run), &run.judged, &note);
        }
        What::Random { wounds } => {
            let until = Until::Wounds(flags.wounds.unwrap_or(*wounds));
            let run = runner.storm(until, Wound::PLAIN, flags.seed + n as u64)?;
            let see =
                run.evidence.as_ref().map_or_else(String::new, |path| format!(", see {}", path.display()));
            let unwell = match run.unwell.as_slice() {
                [] => String::new(),
                unwell => format!(", UNWELL {}", unwell.join("; ")),
            };
            print(flags, name, &json!(run), &run.judged, &format!(", seed {}{unwell}{see}", run.seed));
        }
    }
    Ok(())
}

fn tell(flags: &Flags, name: &str, run: &Run) {
    let note = format!(
        ", {} to {}{}{}, back {}{}",
        run.from,
        run.to,
        if run.with_leader { ", leader too" } else { "" },
        if run.has_begun { "" } else { ", NOT BEGUN" },
        run.back_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.0} ms")),
        run.evidence.as_ref().map_or_else(String::new, |path| format!(", see {}", path.display())),
    );
    print(flags, name, &json!(run), &run.judged, &note);
}

fn print(flags: &Flags, name: &str, run: &serde_json::Value, judged: &Judgement, note: &str) {
    if flags.output.is_some() {
        println!("{}", json!({"name": name, "run": run}));
        return;
    }
    let lost = |who: Who| judged.lost.get(&who).map_or(0, |lost| lost.count);
    println!(
        "{name}: gap {:.0} ms, lost {} (inside {}, observers {}), old until {} ms, overlap {} ms, late {}, \
         eras {}, errors {:?}{note}",
        judged.gap_ms,
        lost(Who::Client),
        lost(Who::Inside),
        lost(Who::Observer),
        judged.old_primary_until_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.0}")),
        judged.overlap_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.0}")),
        judged.late_acks,
        judged.eras,
        judged.errors,
    );
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
