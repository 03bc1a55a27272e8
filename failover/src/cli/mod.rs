//! The operator's command.

mod args;
mod automation;
mod client;
pub(crate) mod config;
mod confirm;
pub mod context;
mod databases;
mod doctor;
mod drill;
pub mod exit;
mod history;
mod journal;
mod members;
mod moves;
pub mod output;
mod plans;
mod reinit;
pub(crate) mod status;

pub use args::{Cli, Verb};
pub use client::{Answer, Client};

use clap::CommandFactory;
use wire::host::Host;

use context::Context;
use exit::{Exit, Outcome};

/// Carries one command out. `home` is the user's home folder, if there is one.
pub async fn run(cli: Cli, host: Host, home: Option<std::path::PathBuf>) -> Outcome {
    let Cli { context, output, verb } = cli;
    let client = || -> Result<Client, exit::Failure> {
        Client::new(&Context::find(context.as_deref(), home.as_deref())?, &host)
    };
    match verb {
        Verb::Up(args) => crate::up::up(args, &host).await,
        Verb::Down(args) => crate::up::down(args).await,
        Verb::SampleService(args) => crate::up::sample_service(args, &host).await,
        Verb::Status(watched) => status::status(&client()?, output, watched.watch).await,
        Verb::Regions(watched) => status::regions(&client()?, output, watched.watch).await,
        Verb::Plan(args) => plans::plan(&client()?, output, args).await,
        Verb::Switchover(args) => moves::switchover(&client()?, output, args).await,
        Verb::Failover(args) => moves::failover(&client()?, output, args).await,
        Verb::Reinit(args) => reinit::reinit(&client()?, args).await,
        Verb::History(args) => history::history(&client()?, output, args).await,
        Verb::Failback(args) => moves::failback(&client()?, output, args).await,
        Verb::Approve(args) => moves::approve(&client()?, args).await,
        Verb::Cancel(args) => moves::cancel(&client()?, args).await,
        Verb::Pause(args) => automation::pause(&client()?, args.why).await,
        Verb::Resume => automation::resume(&client()?).await,
        Verb::Drain(args) => automation::drain(&client()?, args).await,
        Verb::Undrain(args) => automation::undrain(&client()?, args).await,
        Verb::Explain { service } => plans::explain(&client()?, output, service).await,
        Verb::Journal(args) => journal::journal(&client()?, output, args).await,
        Verb::Config { verb } => config::config(client, output, verb).await,
        Verb::Members { verb } => members::members(&client()?, output, verb).await,
        Verb::Drill { verb } => drill::drill(client, &host, output, verb).await,
        Verb::Doctor => doctor::doctor(&client()?, output).await,
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "failover", &mut std::io::stdout());
            Ok(Exit::Done)
        }
    }
}
