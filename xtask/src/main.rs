//! The two commands of the README, and what CI checks besides.

mod bench;
mod check;
mod groups;
mod install;
mod live;
mod sim;

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

const USAGE: &str = "usage:
  cargo xtask up [OPTIONS]       build, and start three regions on this machine (see `failover up --help`)
  cargo xtask test [GROUP…]      install what tests need and run them; all groups, or those named
  cargo xtask check              formatting, lints, the purity of decision/, dependencies
  cargo xtask bench [PART…]      speed beside etcd, nginx and Knot (see `cargo xtask bench --help`)
  cargo xtask mutants [OPTIONS]  whether the simulation finds bugs that are put in (see `chaos mutants --help`)
  cargo xtask whole [OPTIONS]    real controllers in a simulated network (see `chaos sim --help`)
groups: unit (nothing), dns (BIND, Knot, NSD, Unbound, dig), postgres (PostgreSQL, Chromium), cluster (Regent's own processes
  on loopback), netns and live (root: regions as network namespaces of this machine), sim (nothing)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = match args.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("", &[][..]),
    };
    let done = match verb {
        "up" => up(rest),
        "test" => groups::test(rest),
        "check" => check::check(),
        "mutants" => sim::mutants(rest),
        "whole" => sim::whole(rest),
        "bench" if rest.iter().any(|arg| arg == "--help" || arg == "-h") => {
            println!("{}", bench::USAGE);
            Ok(ExitCode::SUCCESS)
        }
        "bench" => bench::bench(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Builds all programs and hands over to `failover up`, which also takes Ctrl-C.
fn up(args: &[String]) -> anyhow::Result<ExitCode> {
    install::postgresql()?;
    eprintln!("building; the first time takes some minutes");
    run(cargo(&["build", "--workspace", "--bins"]))?;
    let program = target_dir()?.join("debug").join("failover");
    let status = Command::new(&program).arg("up").args(args).status();
    let status = status.with_context(|| program.display().to_string())?;
    Ok(ExitCode::from(status.code().unwrap_or(1) as u8))
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(args);
    // What `cargo run` tells xtask of itself is no concern of other builds. Build scripts look at it
    // (ring's does), and all above them would be built anew after each change between `cargo` and this.
    let of_xtask = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_xtask)) {
        command.env_remove(name);
    }
    command
}

fn run(mut command: Command) -> anyhow::Result<()> {
    let text = format!("{command:?}");
    let status = command.status().with_context(|| text.clone())?;
    if !status.success() {
        bail!("{text}: {status}");
    }
    Ok(())
}

fn output(mut command: Command) -> anyhow::Result<String> {
    let text = format!("{command:?}");
    let output = command.output().with_context(|| text.clone())?;
    if !output.status.success() {
        bail!("{text}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn target_dir() -> anyhow::Result<std::path::PathBuf> {
    let metadata = output(cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let dir = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(dir.into())
}
