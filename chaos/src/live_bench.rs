//! `chaos live-bench`: faults of a whole cluster with its database, measured.

use std::process::ExitCode;

use chaos::live::scenario::{Fault, Run, Runner};
use chaos::live::{Cluster, Mode, Options, Profile, Who};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub struct Flags {
    /// As fast-async-cut-off; all when none is named
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// A line of JSON for each run, instead of words
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
    /// Leave data and logs
    #[arg(long)]
    keep: bool,
    /// What the parts log, as in debug
    #[arg(long)]
    log: Option<String>,
}

struct Case {
    profile: Profile,
    mode: Mode,
    faults: &'static [Fault],
}

const CASES: [Case; 3] = [
    Case {
        profile: Profile::Balanced,
        mode: Mode::Async,
        faults: &[
            Fault::KillPostgres,
            Fault::Switchover,
            Fault::KillPostgresAndAgent,
            Fault::FreezeAgent,
            Fault::CutOff,
        ],
    },
    Case { profile: Profile::Fast, mode: Mode::Async, faults: &[Fault::CutOff] },
    Case { profile: Profile::Fast, mode: Mode::Sync, faults: &[Fault::CutOff] },
];

fn name(case: &Case, fault: Fault) -> String {
    let fault = match fault {
        Fault::KillPostgres => "kill-postgres",
        Fault::KillPostgresAndAgent => "kill-postgres-and-agent",
        Fault::CutOff => "cut-off",
        Fault::FreezeAgent => "freeze-agent",
        Fault::Switchover => "switchover",
    };
    format!("{}-{}-{fault}", case.profile, case.mode)
}

pub fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let names: Vec<String> =
        CASES.iter().flat_map(|case| case.faults.iter().map(|fault| name(case, *fault))).collect();
    if let Some(unknown) = flags.only.iter().find(|only| !names.contains(only)) {
        anyhow::bail!("{unknown:?} is not measured; there are {}", names.join(", "));
    }
    let mut failed = false;
    for case in &CASES {
        let wanted = |fault: &&Fault| flags.only.is_empty() || flags.only.contains(&name(case, **fault));
        let faults: Vec<Fault> = case.faults.iter().filter(wanted).copied().collect();
        if !faults.is_empty() {
            failed |= !measure(flags, case, &faults)?;
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// Gives whether all could be measured.
fn measure(flags: &Flags, case: &Case, faults: &[Fault]) -> anyhow::Result<bool> {
    eprintln!("starting {}, {}", case.profile, case.mode);
    let options = Options { log: flags.log.clone(), ..Options::new(case.profile, case.mode) };
    let mut cluster = Cluster::start(options)?;
    if flags.keep {
        cluster.keep_folder();
    }
    let mut runner = Runner::new(&cluster);
    for fault in faults {
        let name = name(case, *fault);
        for n in 0..flags.repetitions {
            // In turn: a leader that is lost with the region costs an election too.
            match runner.run(*fault, Some(n % 2 == 1)) {
                Ok(run) => tell(flags, &name, &run),
                Err(error) => {
                    eprintln!("{name}: {error:#}");
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

fn tell(flags: &Flags, name: &str, run: &Run) {
    if flags.output.is_some() {
        println!("{}", line(name, run));
        return;
    }
    let judged = &run.judged;
    let lost = |who: Who| judged.lost.get(&who).map_or(0, |lost| lost.count);
    println!(
        "{name}: {} -> {}{}: gap {:.0} ms, back {}, lost {} (inside {}, observers {}), overlap {} ms, late {}, \
         old until {:.0} ms, errors {:?}{}",
        run.from,
        run.to,
        if run.with_leader { ", leader too" } else { "" },
        judged.gap_ms,
        run.back_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.0} ms")),
        lost(Who::Client),
        lost(Who::Inside),
        lost(Who::Observer),
        judged.overlap_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.0}")),
        judged.late_acks,
        judged.old_primary_until_ms.unwrap_or_default(),
        judged.errors,
        run.evidence.as_ref().map_or_else(String::new, |path| format!(", see {}", path.display())),
    );
}

fn line(name: &str, run: &Run) -> Value {
    json!({"name": name, "run": run})
}
