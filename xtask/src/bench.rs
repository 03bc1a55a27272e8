//! Figures and ratios, each pair measured in one run on one machine.

use std::process::ExitCode;

use anyhow::bail;

pub fn bench(_names: &[String]) -> anyhow::Result<ExitCode> {
    bail!("not built yet");
}
