//! The simulation's part of the tests: a number of seeds, some of them twice; and every bug that can be put in.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::{cargo, output, run, target_dir};

const SEEDS: &str = "1..601";
const SAME_SEEDS: &str = "1..17";
const PROFILE: &str = "sim";

pub fn test() -> anyhow::Result<()> {
    let program = build(false)?;
    let once = || output(with(&program, &["sim", "--seeds", SAME_SEEDS, "--jobs", "1", "-o", "json"]));
    if once()? != once()? {
        bail!("the same seeds of the simulation came to something else the second time");
    }
    run(with(&program, &["sim", "--seeds", SEEDS]))
}

/// `chaos mutants`, by a program whose rules have bugs to be put in.
pub fn mutants(args: &[String]) -> anyhow::Result<ExitCode> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = with(&build(true)?, &["mutants"]);
    let status = command.args(args).status().context("chaos mutants")?;
    Ok(ExitCode::from(status.code().unwrap_or(1) as u8))
}

fn build(planted: bool) -> anyhow::Result<PathBuf> {
    let mut folder = target_dir()?;
    let mut command =
        cargo(&["build", "--quiet", "--profile", PROFILE, "--package", "chaos", "--bin", "chaos"]);
    if planted {
        // Apart, or all would be built anew each time.
        folder = folder.join("planted");
        let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        command.env("RUSTFLAGS", format!("{flags} --cfg regent_planted"));
        command.arg("--target-dir").arg(&folder);
    }
    run(command)?;
    Ok(folder.join(PROFILE).join("chaos"))
}

fn with(program: &PathBuf, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}
