//! Some minutes of `chaos live`: a storm of faults over a whole cluster in network namespaces.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::target_dir;

const MINUTES: &str = "5";
const SEED: &str = "1";
/// What `chaos live` says of a storm that proved nothing, which may be so where a machine is busy.
const INCONCLUSIVE: i32 = 3;

/// By the programs that were built for all tests.
pub fn test() -> anyhow::Result<()> {
    let program = target_dir()?.join("debug").join("chaos");
    let status = Command::new(&program).args(["live", "--minutes", MINUTES, "--seed", SEED]).status();
    match status.with_context(|| program.display().to_string())?.code() {
        Some(0) => Ok(()),
        Some(INCONCLUSIVE) => {
            eprintln!("the storm was inconclusive: it violated nothing, and proves less than it should");
            Ok(())
        }
        code => bail!("the storm of seed {SEED} failed: {code:?}"),
    }
}
