//! `chaos live`: a storm of faults over a whole cluster, its verdicts, and a page that shows what happened.

mod page;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chaos::live::scenario::{Effect, Runner, Storm, Until, Wound};
use chaos::live::{Cluster, Mode, Options, Profile, Seen, Way, Who};
use serde::Serialize;

/// Fewer, and it was no storm.
const FAULTS_A_MINUTE: f64 = 2.0;
/// Fewer rows acknowledged in a second to the client, and nobody was there to be disturbed.
const ROWS_A_SECOND: f64 = 10.0;

/// As the cluster's `regions.yml` has it.
const RTO_MS: f64 = 30_000.0;
/// One that comes back has a session, and with it the newest zone, by then.
const NAMES_WITHIN_MS: f64 = 10_000.0;
/// An agent that was lost with what it had to tell is asked again after 10 s, when it is back; and what was told in vain is
/// told again after a while.
const PROVIDER_WITHIN_MS: f64 = 30_000.0;

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
    /// Leave data and logs also where nothing failed
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
    Disk,
    Clock,
    Provider,
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
        Schedule::Everything => Wound::every(),
        Schedule::Kills => Wound::KILLS.to_vec(),
        Schedule::Freezes => Wound::FREEZES.to_vec(),
        Schedule::Network => Wound::NETWORK.to_vec(),
        Schedule::Disk => Wound::DISK.to_vec(),
        Schedule::Clock => Wound::CLOCK.to_vec(),
        Schedule::Provider => Wound::PROVIDER.to_vec(),
    };
    eprintln!("starting {profile}, {mode}");
    let mut cluster = Cluster::start(Options::for_faults(profile, mode))?;
    if flags.keep {
        cluster.keep_folder();
    }
    let lasts = Duration::from_secs(flags.minutes * 60);
    let storm = Runner::new(&cluster).storm(Until::Elapsed(lasts), &wounds, flags.seed);
    let storm = storm.inspect_err(|_| cluster.keep_folder())?;
    let verdicts = verdicts(&storm, mode);
    let worst = |outcome| verdicts.iter().any(|verdict| verdict.result == outcome);
    if worst(Outcome::Fail) {
        // The logs are what tells why.
        cluster.keep_folder();
    }
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
    let lost = |who: Who| judged.lost.get(&who).map_or(0, |lost| lost.count);
    let lost = lost(Who::Client) + lost(Who::Inside);
    let overlap = judged.overlap_ms.unwrap_or(f64::NEG_INFINITY);
    let mut verdicts = vec![
        Verdict {
            invariant: "S1",
            demand: "never two writers, nothing acknowledged by an old one after a newer began",
            result: passed(overlap <= 0.0 && judged.late_acks == 0),
            found: match judged.overlap_ms {
                None => "nobody else ever wrote".to_owned(),
                Some(_) => {
                    format!("{:.0} ms lay between any two, {} rows were late", -overlap, judged.late_acks)
                }
            },
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
    ];
    verdicts.extend(of_readers(&storm.readers));
    verdicts.push(Verdict {
        invariant: "S6",
        demand: "no name server that answers leads for long to where nobody writes any more",
        result: passed(storm.names_stale_ms <= NAMES_WITHIN_MS),
        found: format!("{:.0} ms at the longest", storm.names_stale_ms),
    });
    verdicts.push(Verdict {
        invariant: "S6",
        demand: "nor does one of others, once it can be told",
        result: passed(storm.provider_answers > 0 && storm.provider_stale_ms <= PROVIDER_WITHIN_MS),
        found: format!(
            "{:.0} ms at the longest, {} answers",
            storm.provider_stale_ms, storm.provider_answers
        ),
    });
    verdicts.extend(of_recovery(storm));
    verdicts.extend(of_faults(storm));
    let acked = judged.acked.get(&Who::Client).copied().unwrap_or_default();
    verdicts.push(Verdict {
        invariant: "load",
        demand: "enough was written to be lost",
        result: enough(acked as f64 >= seconds * ROWS_A_SECOND),
        found: format!("{acked} rows in {seconds:.0} s"),
    });
    verdicts
}

fn passed(holds: bool) -> Outcome {
    if holds { Outcome::Pass } else { Outcome::Fail }
}

fn enough(holds: bool) -> Outcome {
    if holds { Outcome::Pass } else { Outcome::Inconclusive }
}

fn of_readers(readers: &[Seen]) -> [Verdict; 2] {
    let of = |way: Way| readers.iter().filter(move |seen| seen.way == way);
    // One that holds where nobody was answered proves nothing.
    let judged = |way: Way| match (of(way).any(Seen::is_suspicious), of(way).all(|seen| seen.answered > 0)) {
        (true, _) => Outcome::Fail,
        (false, true) => Outcome::Pass,
        (false, false) => Outcome::Inconclusive,
    };
    let stalest = |way: Way| of(way).map(|seen| seen.stale_ms).fold(0.0, f64::max);
    let answers = |way: Way| of(way).map(|seen| seen.answered).sum::<usize>();
    let lacking = |way: Way| of(way).map(|seen| seen.lacking).sum::<usize>();
    let replica = of(Way::Nearest).map(|seen| seen.by_replica).sum::<usize>();
    [
        Verdict {
            invariant: "reads, primary",
            demand: "who reads where one writes sees all that was acknowledged before",
            result: judged(Way::Primary),
            found: format!("{} of {} answers lacked a row", lacking(Way::Primary), answers(Way::Primary)),
        },
        Verdict {
            invariant: "reads, replica",
            demand: "who connects to a replica through a relay sees what was acknowledged 6 s before",
            result: judged(Way::Nearest),
            found: format!(
                "{} answers, {replica} by replicas, the stalest {:.0} ms; of connections that were kept {:.0} ms",
                answers(Way::Nearest),
                stalest(Way::Nearest),
                stalest(Way::Kept)
            ),
        },
    ]
}

fn of_recovery(storm: &Storm) -> [Verdict; 3] {
    let never = storm.wounds.iter().filter(|fault| fault.written_after_ms.is_none()).count();
    let slowest = storm.wounds.iter().filter_map(|fault| fault.written_after_ms).fold(0.0, f64::max);
    let gaps = storm.gaps.iter().map(|(who, gaps)| {
        let longest = gaps.iter().map(|gap| gap.until_ms - gap.from_ms).fold(0.0, f64::max);
        format!("{who:?} writing {longest:.0} ms")
    });
    let readers = storm.readers.iter().map(|seen| {
        let Seen { way, to, gap_ms, .. } = seen;
        format!("{way:?} reading through {to} {gap_ms:.0} ms")
    });
    [
        Verdict {
            invariant: "L1",
            demand: "within 30 s after a fault is healed the client writes again (the tier's RTO)",
            result: passed(never == 0 && slowest <= RTO_MS),
            found: match never {
                0 => format!("{slowest:.0} ms at the longest"),
                _ => format!("{slowest:.0} ms at the longest, and never again after {never}"),
            },
        },
        Verdict {
            invariant: "L1, L2, L3",
            demand: "steady writes after each fault, nobody ends by itself, in the end all is well and every region has all rows",
            result: passed(storm.unwell.is_empty()),
            found: match storm.unwell.as_slice() {
                [] => "always".to_owned(),
                unwell => unwell.join("; "),
            },
        },
        Verdict {
            invariant: "unavailability",
            demand: "the longest of each client is told",
            result: Outcome::Pass,
            found: gaps.chain(readers).collect::<Vec<_>>().join(", "),
        },
    ]
}

fn of_faults(storm: &Storm) -> [Verdict; 3] {
    let had = storm.wounds.iter().filter(|fault| fault.effect.is_had()).count();
    let rate = had as f64 * 60e3 / storm.lasted_ms;
    let of = |wound| storm.wounds.iter().filter(move |fault| fault.wound == wound);
    let drawn: BTreeSet<Wound> = storm.wounds.iter().map(|fault| fault.wound).collect();
    let impossible = |wound: Wound| {
        let why = |effect: &Effect| match effect {
            Effect::NotPossible(why) => Some(format!("{wound:?}: {why}")),
            _ => None,
        };
        of(wound).find_map(|fault| why(&fault.effect))
    };
    let cannot: Vec<String> = drawn.iter().filter_map(|wound| impossible(*wound)).collect();
    let idle = drawn.iter().filter(|wound| !of(**wound).any(|fault| fault.effect.is_had()));
    let idle = idle.filter(|wound| impossible(**wound).is_none()).map(|wound| format!("{wound:?}"));
    let idle: Vec<String> = idle.collect();
    // Of which nothing is to come.
    let clocks_only = drawn.iter().all(|wound| Wound::CLOCK.contains(wound));
    let eras = storm.judged.eras;
    [
        Verdict {
            invariant: "faults",
            demand: "at least two a minute that had an effect, and somebody else had to take over, but for clocks alone",
            result: match clocks_only {
                true if eras > 1 => Outcome::Fail,
                true => enough(rate >= FAULTS_A_MINUTE),
                false => enough(rate >= FAULTS_A_MINUTE && eras > 1),
            },
            found: format!(
                "{rate:.1} a minute, {} of {} without effect, {eras} writers after each other",
                storm.wounds.len() - had,
                storm.wounds.len(),
            ),
        },
        Verdict {
            invariant: "effects",
            demand: "each kind of fault had an effect at least once",
            result: enough(idle.is_empty()),
            found: match idle.as_slice() {
                [] => format!("{} kinds", drawn.len() - cannot.len()),
                idle => format!("never: {}", idle.join(", ")),
            },
        },
        Verdict {
            invariant: "possible",
            demand: "every fault of the schedule can be inflicted here",
            result: enough(cannot.is_empty()),
            found: match cannot.as_slice() {
                [] => "all that were drawn".to_owned(),
                cannot => format!("not possible here: {}", cannot.join("; ")),
            },
        },
    ]
}

#[cfg(test)]
mod tests {
    use chaos::live::scenario::Inflicted;
    use chaos::live::{Gap, Judgement};

    use super::*;

    fn fault(wound: Wound, effect: Effect, written_after_ms: Option<f64>) -> Inflicted {
        let region = "us-east-1";
        Inflicted { wound, region, primary: region, from_ms: 0.0, until_ms: 1.0, effect, written_after_ms }
    }

    fn seen(way: Way, lacking: usize, stale_ms: f64) -> Seen {
        let (to, asked, answered, by_replica) = ("us-east-1", 10, 9, 5);
        Seen { way, to, asked, answered, by_replica, lacking, stale_ms, stale_p99_ms: 0.0, gap_ms: 500.0 }
    }

    /// A minute, in which all went as it should.
    fn good() -> Storm {
        let had = || Effect::Had("it was there".to_owned());
        Storm {
            seed: 1,
            lasted_ms: 60e3,
            wounds: [Wound::KillAgent, Wound::CutOff].map(|wound| fault(wound, had(), Some(900.0))).to_vec(),
            judged: Judgement { eras: 2, acked: [(Who::Client, 6_000)].into(), ..Judgement::default() },
            gaps: vec![(Who::Client, vec![Gap { from_ms: 1.0, until_ms: 4_001.0 }])],
            eras: Vec::new(),
            readers: vec![
                seen(Way::Primary, 0, 0.0),
                seen(Way::Nearest, 3, 5_000.0),
                seen(Way::Kept, 3, 9_000.0),
            ],
            names_stale_ms: 300.0,
            provider_stale_ms: 900.0,
            provider_answers: 600,
            unwell: Vec::new(),
            evidence: None,
        }
    }

    /// Those that are not met.
    fn unmet(storm: &Storm) -> Vec<(&'static str, Outcome)> {
        let verdicts = verdicts(storm, Mode::Sync).into_iter();
        verdicts
            .filter(|verdict| verdict.result != Outcome::Pass)
            .map(|it| (it.invariant, it.result))
            .collect()
    }

    #[test]
    fn a_storm_passes_only_if_its_faults_were_there_and_everybody_was_served_again() {
        assert_eq!(unmet(&good()), []);
        let changed = |change: fn(&mut Storm)| {
            let mut storm = good();
            change(&mut storm);
            unmet(&storm)
        };
        let nothing =
            |storm: &mut Storm| storm.wounds[0].effect = Effect::Nothing("nobody was there".to_owned());
        assert_eq!(changed(nothing), [("faults", Outcome::Inconclusive), ("effects", Outcome::Inconclusive)]);
        let impossible = |storm: &mut Storm| {
            storm.wounds.push(fault(
                Wound::ClockAhead,
                Effect::NotPossible("install it".to_owned()),
                Some(1.0),
            ));
        };
        assert_eq!(changed(impossible), [("possible", Outcome::Inconclusive)]);
        assert_eq!(changed(|storm| storm.wounds[1].written_after_ms = None), [("L1", Outcome::Fail)]);
        assert_eq!(
            changed(|storm| storm.wounds[1].written_after_ms = Some(30_001.0)),
            [("L1", Outcome::Fail)]
        );
        let clocks = |storm: &mut Storm| storm.wounds.iter_mut().for_each(|it| it.wound = Wound::ClockAhead);
        assert_eq!(changed(clocks), [("faults", Outcome::Fail)], "somebody took over because of a clock");
        let lacking = |storm: &mut Storm| storm.readers[0].lacking = 1;
        assert_eq!(changed(lacking), [("reads, primary", Outcome::Fail)]);
        assert_eq!(changed(|storm| storm.readers[1].stale_ms = 6_001.0), [("reads, replica", Outcome::Fail)]);
        assert_eq!(
            changed(|storm| storm.readers[1].answered = 0),
            [("reads, replica", Outcome::Inconclusive)]
        );
        assert_eq!(changed(|storm| storm.judged.acked.clear()), [("load", Outcome::Inconclusive)]);
        assert_eq!(
            changed(|storm| storm.unwell.push("a region".to_owned())),
            [("L1, L2, L3", Outcome::Fail)]
        );
    }
}
