//! What CI checks besides tests. Checks never rewrite; `cargo fmt` and `cargo clippy --fix` do.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::{cargo, output, run};

/// Crates that would bring I/O, clocks, randomness or logging into `decision/`.
const BANNED_CRATES: [&str; 8] = ["tokio", "tonic", "tracing", "log", "rand", "getrandom", "mio", "hyper"];
/// The same from the standard library; `IpAddr` and `SocketAddr` are values and allowed.
const BANNED_SOURCE: [&str; 11] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "SystemTime",
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "TcpStream",
    "UdpSocket",
    "println!",
];

pub fn check() -> anyhow::Result<ExitCode> {
    run(cargo(&["fmt", "--all", "--check"]))?;
    purity()?;
    run(cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    deny()?;
    eprintln!("checks passed");
    Ok(ExitCode::SUCCESS)
}

/// `decision/` says what should happen and nothing else.
fn purity() -> anyhow::Result<()> {
    let tree = output(cargo(&["tree", "--package", "decision", "--edges", "normal", "--prefix", "none"]))?;
    for line in tree.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        if BANNED_CRATES.contains(&name) {
            bail!("decision/ must not depend on {name}: it has no I/O, clock, randomness or logging");
        }
    }
    let mut found = Vec::new();
    scan(Path::new("decision/src"), &mut found)?;
    if !found.is_empty() {
        bail!("decision/ must have no I/O, clock, randomness or logging:\n{}", found.join("\n"));
    }
    Ok(())
}

fn scan(folder: &Path, found: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            scan(&path, found)?;
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (n, line) in code {
            if let Some(banned) = BANNED_SOURCE.iter().find(|banned| line.contains(*banned)) {
                found.push(format!("{}:{}: {banned}", path.display(), n + 1));
            }
        }
    }
    Ok(())
}

/// Licences, bans and sources; advisories where their database can be fetched.
fn deny() -> anyhow::Result<()> {
    let there = Command::new("cargo")
        .args(["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("cargo-deny is not installed (`cargo install cargo-deny`): dependencies were not checked");
        return Ok(());
    }
    run(cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]))
}
