//! The simulation's part of the tests, in both depths: a number of seeds, some of them twice; and every bug that can be
//! put in.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::{cargo, output, run, target_dir};

/// The first ones, and those by which mistakes were found; what is drawn with a seed changes when the simulator does, so
/// each mistake of a rule has a test beside it, too.
const SEEDS: &str = "1..601,657,1697,2042,2639,2836,2918,5313,5538,9768,10092,10100,10341,11101,11324,14895,15784,19723,\
                     21224,22059,22577,23184,23626,24431,25545,25862,26168,50222,62371,62694,114511";
const LONGER_SEEDS: &str = "601..100001";
const LONGER_S: &str = "300";
/// At most, for each bug.
const MUTANT_SEEDS: &str = "1000";
const SAME_SEEDS: &str = "1..17";
const WHOLE_SEEDS: &str = "1..41";
const WHOLE_SAME_SEEDS: &str = "1..5";
const PROFILE: &str = "sim";

/// What a program is built for.
#[derive(Clone, Copy)]
enum For {
    Rules,
    /// With bugs to be put in.
    Mutants,
    /// With real controllers, on a tokio whose chance is seeded.
    Whole,
}

impl For {
    /// What the compiler is told, and the folder: apart, or all would be built anew each time.
    fn apart(self) -> Option<(&'static str, &'static str)> {
        match self {
            For::Rules => None,
            For::Mutants => Some(("--cfg regent_planted", "planted")),
            For::Whole => Some(("--cfg regent_whole --cfg tokio_unstable", "whole")),
        }
    }
}

pub fn test() -> anyhow::Result<()> {
    let (rules, whole) = (build(For::Rules)?, build(For::Whole)?);
    let both = [(&rules, "fast", SAME_SEEDS, SEEDS), (&whole, "whole", WHOLE_SAME_SEEDS, WHOLE_SEEDS)];
    for (program, depth, same, seeds) in both {
        let sim = ["sim", "--depth", depth, "--seeds"];
        let once = || output(with(program, &[&sim[..], &[same, "--jobs", "1", "-o", "json"]].concat()));
        if once()? != once()? {
            bail!("the same seeds of the simulation ({depth}) came to something else the second time");
        }
        run(with(program, &[&sim[..], &[seeds]].concat()))?;
    }
    // As many as that gives, always the same first ones.
    run(with(&rules, &["sim", "--seeds", LONGER_SEEDS, "--within", LONGER_S]))?;
    let found = mutants(&["--seeds".to_owned(), MUTANT_SEEDS.to_owned()])?;
    if found != ExitCode::SUCCESS {
        bail!("a bug that was put in was not found");
    }
    // The others run with those of all crates.
    let (mut tests, _) = cargo_for(For::Whole, &["test", "--lib"])?;
    tests.args(["--", "whole::"]);
    run(tests)
}

/// `chaos sim` in the whole depth.
pub fn whole(args: &[String]) -> anyhow::Result<ExitCode> {
    pass_on(For::Whole, &["sim", "--depth", "whole"], args)
}

/// What the clippy of the workspace does not see.
pub fn clippy_whole() -> anyhow::Result<Command> {
    let (mut clippy, _) = cargo_for(For::Whole, &["clippy", "--all-targets"])?;
    clippy.args(["--", "-D", "warnings"]);
    Ok(clippy)
}

/// `chaos mutants`, by a program whose rules have bugs to be put in.
pub fn mutants(args: &[String]) -> anyhow::Result<ExitCode> {
    pass_on(For::Mutants, &["mutants"], args)
}

fn pass_on(what_for: For, task: &[&str], args: &[String]) -> anyhow::Result<ExitCode> {
    let status = with(&build(what_for)?, task).args(args).status().context("chaos")?;
    Ok(ExitCode::from(status.code().unwrap_or(1) as u8))
}

fn build(what_for: For) -> anyhow::Result<PathBuf> {
    let (command, folder) = cargo_for(what_for, &["build", "--bin", "chaos"])?;
    run(command)?;
    Ok(folder.join(PROFILE).join("chaos"))
}

/// With the folder that it builds in.
fn cargo_for(what_for: For, args: &[&str]) -> anyhow::Result<(Command, PathBuf)> {
    let mut folder = target_dir()?;
    let mut command = cargo(args);
    command.args(["--quiet", "--profile", PROFILE, "--package", "chaos"]);
    if let Some((cfg, name)) = what_for.apart() {
        folder = folder.join(name);
        let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        command.env("RUSTFLAGS", format!("{flags} {cfg}"));
        command.arg("--target-dir").arg(&folder);
    }
    Ok((command, folder))
}

fn with(program: &PathBuf, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}
