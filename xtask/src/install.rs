//! Debian's packages that tests need. Servers among them are kept from starting by themselves.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::run;

const POLICY: &str = "/usr/sbin/policy-rc.d";

pub fn install(packages: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("these tests need {}; install them by hand, this is not Debian or Ubuntu", missing.join(", "));
    }
    eprintln!("installing {}", missing.join(", "));
    let had_policy = Path::new(POLICY).exists();
    if !had_policy {
        // policy-rc.d(8): 101 forbids maintainer scripts to start anything.
        run(root(&[
            "sh",
            "-c",
            &format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod +x {POLICY}"),
        ]))?;
    }
    let installed = run(root(&["apt-get", "update", "-qq"])).and_then(|()| {
        let mut args = vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq"];
        args.push("--no-install-recommends");
        args.extend(&missing);
        run(root(&args))
    });
    if !had_policy {
        run(root(&["rm", "-f", POLICY]))?;
    }
    installed
}

/// For what runs databases: what is there already is taken, whoever installed it.
pub fn postgresql() -> anyhow::Result<()> {
    let below = |folder: &str| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let packaged = below("/usr/lib/postgresql").any(|version| version.path().join("bin/postgres").exists());
    let on_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("postgres").exists()));
    if packaged || on_path {
        return Ok(());
    }
    install(&["postgresql"]).context(
        "PostgreSQL 13 to 17 is needed: install it (its programs in PATH, or in /usr/lib/postgresql/VERSION/bin), \
         or take `database` out of regions.yml",
    )
}

fn is_installed(package: &str) -> bool {
    let query =
        Command::new("dpkg-query").args(["-W", "-f=${Status}", package]).stderr(Stdio::null()).output();
    query.is_ok_and(|output| output.stdout.ends_with(b"ok installed"))
}

fn root(args: &[&str]) -> Command {
    let is_root =
        Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let mut command = Command::new(if is_root { args[0] } else { "sudo" });
    command.args(&args[usize::from(is_root)..]);
    command.stdout(Stdio::null());
    command
}
