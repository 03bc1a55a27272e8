//! What CI checks besides tests. Checks never rewrite; `cargo fmt` and `cargo clippy --fix` do.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::{cargo, output, run, sim};

/// Crates that would bring I/O, clocks, randomness or logging into `decision/`.
const BANNED_CRATES: [&str; 8] = ["tokio", "tonic", "tracing", "log", "rand", "getrandom", "mio", "hyper"];
/// The same from the standard library; `IpAddr` and `SocketAddr` are values and allowed. Hashed
/// collections too: each goes through its entries in an order of its own, so that two members could
/// come to different states by one log. `BTreeMap` and `BTreeSet` have one order.
const BANNED_SOURCE: [&str; 15] = [
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
    "HashMap",
    "HashSet",
    "RandomState",
    "DefaultHasher",
];

pub fn check() -> anyhow::Result<ExitCode> {
    run(cargo(&["fmt", "--all", "--check"]))?;
    purity()?;
    run(cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    run(sim::clippy_whole()?)?;
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
        bail!(
            "decision/ must have no I/O, clock, randomness, logging or collection in random order:\n{}",
            found.join("\n")
        );
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
        found.extend(impure(&text).map(|(line, banned)| format!("{}:{line}: {banned}", path.display())));
    }
    Ok(())
}

/// Lines, counted from 1, with what is banned in them; comments may name it.
fn impure(text: &str) -> impl Iterator<Item = (usize, &'static str)> {
    let code = (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.filter_map(|(n, line)| {
        BANNED_SOURCE.iter().find(|banned| line.contains(*banned)).map(|banned| (n, *banned))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_in_random_order_are_impure_and_words_about_them_are_not() {
        let text = "// A HashMap would be wrong.\nuse std::collections::HashMap;\nlet seen = HashSet::new();\n\
                    use std::collections::{BTreeMap, BTreeSet};\nlet now = std::time::Instant::now();\n\
                    HashMap::with_hasher(RandomState::new())\nlet hasher = DefaultHasher::new();\n";
        let found: Vec<_> = impure(text).collect();
        let expected =
            [(2, "HashMap"), (3, "HashSet"), (5, "std::time::Instant"), (6, "HashMap"), (7, "DefaultHasher")];
        assert_eq!(found, expected);
    }

    #[test]
    fn decision_is_pure() {
        let mut found = Vec::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("decision").join("src");
        scan(&folder, &mut found).expect("decision/src can be read");
        assert_eq!(found, [""; 0]);
    }
}
