//! `cargo xtask bench`: what Regent promises of speed, measured beside the program it is compared with.
//! How each figure is got: docs/BENCH.md.

mod agent;
mod cluster;
mod database;
mod dns;
mod failover;
mod process;
mod raft;
mod rest;
mod status;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::install::install;
use crate::{cargo, run, target_dir};
use table::Row;

pub const USAGE: &str = "usage: cargo xtask bench [PART…] [OPTIONS]
parts, all when none is named:
  raft      commits per second, and their latency, beside etcd
  status    the public status beside nginx serving the same bytes as a file
  dns       own DNS beside Knot
  agent     an agent that watches 10,000 targets
  rest      a controller at rest
  failover  from the loss of a region to the changed answer; with a database, how long nobody can write
options:
  --rounds N    measure so often, ours and theirs in turn (default 3; failover: 10, 5 with a database)
  --seconds N   for so long each time (default 5)
  -o json       a line of JSON for each figure
  --no-build    measure the programs as they are in the target folder
  --check       exit 1 when a target is missed";

struct Part {
    name: &'static str,
    /// Debian's packages.
    packages: &'static [&'static str],
    measure: fn(&Bench) -> anyhow::Result<Vec<Row>>,
}

const PARTS: [Part; 7] = [
    Part { name: "raft", packages: &["etcd-server", "etcd-client", "strace"], measure: raft::measure },
    Part { name: "status", packages: &["nginx-light", "wrk"], measure: status::measure },
    Part { name: "dns", packages: &["knot", "dnsperf", "util-linux"], measure: dns::measure },
    Part { name: "agent", packages: &[], measure: agent::measure },
    Part { name: "rest", packages: &[], measure: rest::measure },
    Part { name: "failover", packages: &["bind9-dnsutils"], measure: failover::measure },
    // Of the same name: the two are of one promise, and each may fail alone.
    Part { name: "failover", packages: &["postgresql", "iproute2"], measure: database::measure },
];

/// What every part is given.
pub struct Bench {
    rounds: Option<usize>,
    seconds: u64,
    /// Where cargo puts release builds.
    release: PathBuf,
    /// On the disk of the target folder, for /tmp may be memory. Removed in the end.
    scratch: PathBuf,
}

impl Bench {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(3)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.release.join(name)
    }

    fn example(&self, name: &str) -> PathBuf {
        self.release.join("examples").join(name)
    }

    /// A new folder.
    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.scratch.join(name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    }
}

struct Flags {
    parts: Vec<&'static Part>,
    rounds: Option<usize>,
    seconds: u64,
    json: bool,
    build: bool,
    check: bool,
}

pub fn bench(args: &[String]) -> anyhow::Result<ExitCode> {
    let flags = flags(args)?;
    let packages: Vec<&str> = flags.parts.iter().flat_map(|part| part.packages.iter().copied()).collect();
    install(&packages)?;
    if flags.build {
        build()?;
    }
    let target = target_dir()?;
    let scratch = target.join(format!("bench.{}", std::process::id()));
    let bench =
        Bench { rounds: flags.rounds, seconds: flags.seconds, release: target.join("release"), scratch };
    let outcome = measure(&flags, &bench);
    remove(&bench.scratch);
    outcome
}

fn measure(flags: &Flags, bench: &Bench) -> anyhow::Result<ExitCode> {
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for part in &flags.parts {
        eprintln!("{}:", part.name);
        match (part.measure)(bench) {
            Ok(rows) if flags.json => {
                rows.iter().for_each(|row| println!("{}", row.json(part.name)));
                all.extend(rows);
            }
            Ok(rows) => all.extend(rows),
            Err(error) => {
                eprintln!("{}: not measured: {error:#}", part.name);
                failed.push(part.name);
            }
        }
    }
    if !flags.json {
        print!("{}", table::render(&all));
    }
    let missed = all.iter().filter(|row| row.reached() == Some(false)).count();
    if missed > 0 {
        eprintln!("{missed} of {} targets missed", all.iter().filter(|row| row.reached().is_some()).count());
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(ExitCode::from(u8::from(flags.check && missed > 0)))
}

/// All at once and always the same, or dependencies would be built anew for other sets of features.
fn build() -> anyhow::Result<()> {
    eprintln!("building for release; the first time takes many minutes");
    let mut command = cargo(&["build", "--release", "--workspace", "--bins"]);
    for example in ["raft_bench", "status_bench", "dns_bench", "probe_bench"] {
        command.args(["--example", example]);
    }
    run(command)
}

fn flags(args: &[String]) -> anyhow::Result<Flags> {
    let mut flags =
        Flags { parts: Vec::new(), rounds: None, seconds: 5, json: false, build: true, check: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => flags.rounds = Some(number(arg, args.next())? as usize),
            "--seconds" => flags.seconds = number(arg, args.next())?,
            "--no-build" => flags.build = false,
            "--check" => flags.check = true,
            "-o" if args.next().is_some_and(|format| format == "json") => flags.json = true,
            name if PARTS.iter().any(|part| part.name == name) => {
                flags.parts.extend(PARTS.iter().filter(|part| part.name == name));
            }
            name => bail!("{name:?} is not understood\n{USAGE}"),
        }
    }
    if flags.parts.is_empty() {
        flags.parts = PARTS.iter().collect();
    }
    Ok(flags)
}

fn number(flag: &str, given: Option<&String>) -> anyhow::Result<u64> {
    let number = given.and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    number.with_context(|| format!("{flag} needs a number above 0"))
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        eprintln!("{} stays: {error}", folder.display());
    }
}
