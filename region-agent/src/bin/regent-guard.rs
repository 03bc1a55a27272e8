//! The guard of one database instance, as a process; `region_agent::guard` says what it is for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use region_agent::guard;
use wire::failpoint;

/// Owns the right to kill PostgreSQL when its lease ends, whatever becomes of the agent.
#[derive(Parser)]
#[command(name = "regent-guard", version)]
struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Guard one database instance; the agent starts this.
    Run(Common),
    /// The guard proper; `run` starts this.
    #[command(hide = true)]
    Hold {
        #[command(flatten)]
        common: Common,
        #[arg(long, allow_hyphen_values = true)]
        oom_score_adj: Option<String>,
    },
    /// End the instance in order, and its guard; nothing when there is none.
    End {
        #[arg(long, value_name = "PATH")]
        socket: PathBuf,
    },
    /// Become a user and then a program.
    Exec {
        /// Whom to become; only root may become another.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// For its standard output and error.
        #[arg(long, value_name = "FILE")]
        log_file: Option<PathBuf>,
        #[arg(long, value_name = "FOLDER")]
        cwd: Option<PathBuf>,
        /// Die with this process, which must be the parent.
        #[arg(long, value_name = "PID")]
        parent: Option<i32>,
        #[arg(long, hide = true, allow_hyphen_values = true)]
        oom_score_adj: Option<String>,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        argv: Vec<OsString>,
    },
}

#[derive(Args)]
struct Common {
    /// Where the agent connects; in a folder of its own.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
    /// Reset the machine when even the guard cannot fence.
    #[arg(long, value_name = "DEVICE")]
    watchdog: Option<PathBuf>,
}

impl Common {
    fn settings(self) -> guard::Settings {
        guard::Settings { socket: self.socket, log: self.log, watchdog: self.watchdog }
    }
}

fn main() -> ExitCode {
    failpoint::arm(std::env::var_os(failpoint::FOLDER));
    let outcome = match Flags::parse().verb {
        Verb::Run(common) => guard::run(&common.settings()),
        Verb::End { socket } => guard::end(socket),
        Verb::Hold { common, oom_score_adj } => guard::hold(common.settings(), oom_score_adj),
        Verb::Exec { user, log_file, cwd, parent, oom_score_adj, argv } => {
            guard::exec(guard::Exec { user, log_file, cwd, parent, oom_score_adj, argv })
                .map(|never| match never {})
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("regent-guard: {error:#}");
            ExitCode::FAILURE
        }
    }
}
