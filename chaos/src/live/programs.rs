//! The programs under test: those built with this one.

use std::path::PathBuf;

use anyhow::{Context, bail};

pub(super) struct Programs {
    pub control_plane: PathBuf,
    pub region_agent: PathBuf,
    pub guard: PathBuf,
    pub failover: PathBuf,
}

impl Programs {
    pub fn find() -> anyhow::Result<Programs> {
        Ok(Programs {
            control_plane: find("control-plane")?,
            region_agent: find("region-agent")?,
            guard: find("regent-guard")?,
            failover: find("failover")?,
        })
    }
}

/// Beside this program (target/debug/this), or above it (target/debug/deps/this).
fn find(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let folders = own.ancestors().skip(1).take(2);
    match folders.map(|folder| folder.join(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => {
            bail!("{} is not there: cargo build --workspace --bins", own.with_file_name(name).display())
        }
    }
}
