//! `failover`: the operator's command. Flags and environment are read here and nowhere else.

use std::process::ExitCode;

use clap::Parser;
use failover::cli::{Cli, run};
use wire::host::Host;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = std::env::var("REGENT_LOG").unwrap_or_else(|_| "warn".to_owned());
    if let Err(error) = wire::log::start(&filter, false) {
        eprintln!("failover: {error}");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("failover: {error}");
            return ExitCode::FAILURE;
        }
    };
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    match runtime.block_on(run(cli, Host::system(), home)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit.into()
        }
    }
}
