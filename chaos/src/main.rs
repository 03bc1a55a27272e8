//! Networks of regions by hand, whole clusters under faults, and simulated ones.

mod failpoints;
mod hand;
mod live_bench;
mod live_failpoints;
mod live_run;
mod mutants;
mod sim_run;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The simulator makes and drops small values all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Who tries to break it.
#[derive(Parser)]
#[command(name = "chaos", version)]
struct Flags {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run a program in the first of several regions; others are entered with `ip netns exec`.
    Net(hand::Flags),
    /// The switch of a network, started by it.
    #[command(name = chaos::net::SUBCOMMAND, hide = true)]
    Switch {
        #[arg(long)]
        seed: u64,
        spaces: Vec<String>,
    },
    /// A storm of faults over a whole cluster, judged, with a page that shows it.
    Live(live_run::Flags),
    /// Faults of a whole cluster with its database: how long nobody could write, what was lost.
    LiveBench(live_bench::Flags),
    /// Real processes killed at each boundary of what plans do.
    LiveFailpoints(live_failpoints::Flags),
    /// Controllers and agents on a virtual clock, network and disk, under faults that a seed decides.
    Sim(sim_run::Flags),
    /// Whether the simulation finds bugs that are put in on purpose.
    Mutants(mutants::Flags),
    /// The same with a crash at every boundary of a failover and of a planned move.
    Failpoints(failpoints::Flags),
    /// Remove what networks left whose owner was killed.
    NetSweep,
}

fn main() -> ExitCode {
    let done = match Flags::parse().task {
        Task::Net(flags) => hand::run(&flags),
        Task::Switch { seed, spaces } => {
            chaos::net::run_switch(spaces, seed).map(|()| ExitCode::SUCCESS).map_err(anyhow::Error::from)
        }
        Task::Live(flags) => live_run::run(&flags),
        Task::LiveBench(flags) => live_bench::run(&flags),
        Task::LiveFailpoints(flags) => live_failpoints::run(&flags),
        Task::Sim(flags) => sim_run::run_seeds(&flags),
        Task::Mutants(flags) => mutants::run_all(&flags),
        Task::Failpoints(flags) => failpoints::run(&flags),
        Task::NetSweep => hand::sweep(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}
