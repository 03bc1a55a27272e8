//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::output::Format;
use crate::up;

/// Watch and move services between regions.
///
/// Exit codes: 0 done, 1 error, 2 changes pending, 3 refused by a safety rule, 4 partly done,
/// 5 timed out, 9 verification failed.
#[derive(Parser)]
#[command(name = "failover", version)]
pub struct Cli {
    /// Where the controllers are and who you are; `failover up` writes one.
    #[arg(long, global = true, env = "REGENT_CONTEXT", value_name = "FILE")]
    pub context: Option<PathBuf>,
    #[arg(short, long, global = true, default_value = "table")]
    pub output: Format,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Start a whole cluster on this machine: controllers, agents, sample services, DNS
    Up(up::UpArgs),
    /// End what `up --detach` started
    Down(up::DownArgs),
    /// Where every service is, and how it is
    Status(Watched),
    /// What is held of every region, and why
    Regions(Watched),
    /// Plans: list them, show one, or ask what would happen
    Plan(PlanArgs),
    /// Move a service as planned
    Switchover(SwitchoverArgs),
    /// Force a service to another region: whoever writes to its database is ended at once
    Failover(FailoverArgs),
    /// Move a service back to its preferred region
    Failback(FailbackArgs),
    /// Copy the replica of a database anew
    Reinit(ReinitArgs),
    /// Who wrote to a database, since when, why, and what it cost
    History(HistoryArgs),
    /// Let a plan that waits for approval go on
    Approve(PlanVerb),
    /// Cancel a plan before its point of no return
    Cancel(PlanVerb),
    /// Freeze all automation, visibly
    Pause(WhyArgs),
    /// Let automation run again
    Resume,
    /// Move everything out of a region, and nothing into it
    Drain(RegionArgs),
    /// Let a region take services again
    Undrain(RegionArgs),
    /// Why a service is where it is: rules tried, evidence, alternatives
    Explain { service: String },
    /// What happened, and why
    Journal(JournalArgs),
    /// Check, show, compare and apply regions.yml
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// The Raft group: add, remove, hand over leadership
    Members {
        #[command(subcommand)]
        verb: MembersVerb,
    },
    /// Cause a failure on purpose, and see how the system takes it
    Drill {
        #[command(subcommand)]
        verb: DrillVerb,
    },
    /// Look for what is wrong, from here
    Doctor,
    /// Completions for a shell
    Completions { shell: clap_complete::Shell },
    /// The sample service that `up` starts
    #[command(hide = true)]
    SampleService(up::SampleArgs),
}

#[derive(Args)]
pub struct Watched {
    /// Go on showing it as it changes
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Args)]
pub struct PlanArgs {
    /// Show this plan, as `plan-3` or `3`; with --to, the service to plan a move of
    #[arg(value_name = "PLAN|SERVICE")]
    pub id: Option<String>,
    /// What a planned move of the service there would do; nothing is opened
    #[arg(long, value_name = "REGION", requires = "id")]
    pub to: Option<String>,
    /// Of a forced move instead, as `failover failover` would make
    #[arg(long, requires = "to")]
    pub forced: bool,
    /// What would happen if this region were lost now
    #[arg(long, value_name = "REGION", conflicts_with = "id")]
    pub if_lost: Option<String>,
}

#[derive(Args)]
pub struct Confirm {
    /// Do not ask; needed where there is no terminal
    #[arg(short, long)]
    pub yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Return once the plan is opened, not when it has ended
    #[arg(long)]
    pub no_wait: bool,
    /// For how long to wait for the plan's end
    #[arg(long, default_value = "300", value_name = "SECONDS")]
    pub timeout: u64,
}

#[derive(Args)]
pub struct SwitchoverArgs {
    pub service: String,
    /// The region to move to; the best eligible one when left out
    #[arg(long)]
    pub to: Option<String>,
    #[arg(long, default_value = "asked by an operator")]
    pub reason: String,
    #[command(flatten)]
    pub confirm: Confirm,
}

#[derive(Args)]
pub struct FailoverArgs {
    pub service: String,
    /// The region to move to; the one that would lose least when left out
    #[arg(long)]
    pub to: Option<String>,
    /// Go on though writes that were acknowledged may be lost; without it, what may be is shown
    #[arg(long)]
    pub allow_data_loss: bool,
    #[arg(long, default_value = "asked by an operator")]
    pub reason: String,
    #[command(flatten)]
    pub confirm: Confirm,
}

#[derive(Args)]
pub struct ReinitArgs {
    pub service: String,
    /// Where the replica is
    #[arg(long)]
    pub region: String,
    /// Do not ask; needed where there is no terminal
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Args)]
pub struct HistoryArgs {
    /// Of every service when left out
    pub service: Option<String>,
}

#[derive(Args)]
pub struct FailbackArgs {
    pub service: String,
    #[arg(long, default_value = "asked by an operator")]
    pub reason: String,
    #[command(flatten)]
    pub confirm: Confirm,
}

#[derive(Args)]
pub struct PlanVerb {
    /// As `plan-3` or `3`
    pub id: String,
    #[arg(long, default_value = "asked by an operator")]
    pub why: String,
}

#[derive(Args)]
pub struct WhyArgs {
    #[arg(long)]
    pub why: String,
}

#[derive(Args)]
pub struct RegionArgs {
    pub region: String,
    #[arg(long, default_value = "asked by an operator")]
    pub why: String,
    /// Do not ask; needed where there is no terminal
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Args)]
pub struct JournalArgs {
    /// Only entries after this one
    #[arg(long, default_value = "0")]
    pub after: u64,
    /// The newest so many
    #[arg(short = 'n', long, default_value = "50")]
    pub limit: u32,
    /// Go on showing entries as they come
    #[arg(short, long)]
    pub follow: bool,
}

#[derive(Subcommand)]
pub enum ConfigVerb {
    /// Check a file; exit code 1 when it has errors
    Check {
        #[arg(default_value = "regions.yml")]
        file: PathBuf,
    },
    /// Show what is in force, or a file with all defaults filled in
    Show { file: Option<PathBuf> },
    /// Compare a file with what is in force; exit code 2 when they differ
    Diff {
        #[arg(default_value = "regions.yml")]
        file: PathBuf,
    },
    /// Put a file in force on every controller
    Apply {
        #[arg(default_value = "regions.yml")]
        file: PathBuf,
        #[arg(short, long)]
        yes: bool,
        #[arg(long)]
        dry_run: bool,
    },
    /// The JSON Schema of regions.yml, for editors
    Schema,
}

/// Exit codes of `run`: 0 passed, 1 an invariant was violated, 2 an objective was missed, 3 inconclusive, 4 aborted by
/// a guard, 5 the drill itself failed.
#[derive(Subcommand)]
pub enum DrillVerb {
    /// The scenarios that there are
    List,
    /// Run one
    Run(DrillRunArgs),
    /// Follow the one that is running
    Watch,
    /// What came of one, as `drill-3` or `3`
    Report {
        id: String,
        #[arg(long, value_enum, default_value = "text")]
        format: DrillFormat,
    },
    /// All that are kept, newest first
    History,
    /// The JSON Schema of a report
    Schema,
}

#[derive(Args)]
pub struct DrillRunArgs {
    /// One of `failover drill list`, or a file of your own (.yml)
    pub scenario: String,
    /// Whose recovery is measured
    #[arg(long)]
    pub service: String,
    /// Where the fault is; where the service is when left out
    #[arg(long)]
    pub region: Option<String>,
    /// Show what would be done and what is in the way, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Cause nothing: watch the clients, and tell what would be decided and how soon
    #[arg(long, conflicts_with = "dry_run")]
    pub practice: bool,
    /// Do not ask; needed where there is no terminal
    #[arg(long, visible_alias = "yes")]
    pub approve: bool,
    /// How a client writes to the database: a URI of libpq with every instance in it
    #[arg(long, env = "REGENT_DRILL_DSN", value_name = "URI", hide_env_values = true)]
    pub dsn: Option<String>,
    /// A page of the service that a client asks for, http:// or https://; its host is looked up where `--resolver`
    /// says, else at the servers of its zone
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The objective, instead of that of the service's tier
    #[arg(long, value_name = "MS")]
    pub rto_ms: Option<u64>,
    /// For how long the fault lasts at most
    #[arg(long, value_name = "SECONDS")]
    pub longest: Option<u64>,
    /// For how long all is watched before the fault
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    pub baseline: u64,
    /// A client without a success for so long ends the drill
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub abort_after: u64,
    /// A resolver whose view is watched, host:port, beside those that serve its names; may be given more than once
    #[arg(long = "resolver", value_name = "HOST:PORT")]
    pub resolvers: Vec<String>,
    /// Where report.json, report.html, report.xml and the journal go
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DrillFormat {
    Text,
    Json,
    Html,
    Junit,
}

#[derive(Subcommand)]
pub enum MembersVerb {
    List,
    /// Add a controller that runs already; it catches up first
    Add {
        id: u64,
        #[arg(long)]
        region: String,
        /// Its gRPC address, host:port
        #[arg(long)]
        grpc: String,
        #[arg(long)]
        witness: bool,
    },
    Remove {
        id: u64,
        #[arg(short, long)]
        yes: bool,
    },
    /// Hand leadership to another member
    HandOver {
        /// Its id; any other when left out
        #[arg(long, value_name = "ID")]
        to: Option<u64>,
    },
}
