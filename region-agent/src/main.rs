//! The agent of a region as a process: reads flags and environment once, and runs until told to
//! stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use decision::name::AgentId;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use region_agent::Settings;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wire::failpoint;
use wire::host::Host;
use wire::target::Roots;
use wire::tls::{Credentials, Files};

/// Watches from its region and acts in it: probes, authoritative DNS, steps of plans.
#[derive(Parser)]
#[command(name = "region-agent", version)]
struct Flags {
    /// Who this is, as its certificate says.
    #[arg(long, env = "REGENT_AGENT", value_name = "REGION/ORDINAL", value_parser = agent_id)]
    agent: AgentId,
    /// The cluster's name, as its certificates say.
    #[arg(long, env = "REGENT_CLUSTER")]
    cluster: String,
    /// Controllers, those of the own region first.
    #[arg(
        long,
        env = "REGENT_CONTROLLERS",
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        required = true
    )]
    controllers: Vec<String>,
    /// A folder of its own, made if absent.
    #[arg(long, env = "REGENT_DATA_DIR", value_name = "FOLDER")]
    data_dir: PathBuf,
    /// Serve authoritative DNS here, by UDP and TCP.
    #[arg(long, env = "REGENT_DNS_LISTEN", value_name = "ADDRESS:PORT")]
    dns_listen: Option<SocketAddr>,
    /// Where others reach that, if elsewhere.
    #[arg(long, env = "REGENT_DNS_ADVERTISE", value_name = "HOST:PORT", requires = "dns_listen")]
    dns_advertise: Option<String>,
    /// Serve /healthz, /metrics and the checks of databases here, to anybody who can reach it.
    #[arg(long, env = "REGENT_HTTP_LISTEN", value_name = "ADDRESS:PORT")]
    http_listen: Option<SocketAddr>,
    /// Serve the agents of other regions here, by mutual TLS: they promise each other in failsafe mode.
    #[arg(long, env = "REGENT_PEER_LISTEN", value_name = "ADDRESS:PORT")]
    peer_listen: Option<SocketAddr>,
    /// Where they reach that, if elsewhere.
    #[arg(long, env = "REGENT_PEER_ADVERTISE", value_name = "HOST:PORT", requires = "peer_listen")]
    peer_advertise: Option<String>,
    /// Reset this machine if even the guard of its database does not get to run: a device, `off`, or `auto`,
    /// which is /dev/watchdog where that can be written. Of several databases the first has it.
    #[arg(long, env = "REGENT_WATCHDOG", value_name = "auto|off|DEVICE", default_value = "auto")]
    watchdog: String,
    /// Certificate chain, PEM.
    #[arg(long, env = "REGENT_CERT", value_name = "FILE")]
    cert: PathBuf,
    /// Its private key, PEM.
    #[arg(long, env = "REGENT_KEY", value_name = "FILE")]
    key: PathBuf,
    /// The authorities of the cluster, PEM.
    #[arg(long, env = "REGENT_CA", value_name = "FILE")]
    ca: PathBuf,
    #[arg(long, env = "REGENT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// As in `info,region_agent=debug`.
    #[arg(long, env = "REGENT_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn agent_id(text: &str) -> Result<AgentId, String> {
    text.to_owned().try_into()
}

/// Names are looked up by blocking calls; more at once than this wait.
const MOST_BLOCKING: usize = 64;

fn main() -> ExitCode {
    let flags = Flags::parse();
    failpoint::arm(std::env::var_os(failpoint::FOLDER));
    let started = wire::log::start(&flags.log, flags.log_format == LogFormat::Json)
        .map_err(anyhow::Error::from)
        .and_then(|()| {
            tokio::runtime::Builder::new_multi_thread()
                .max_blocking_threads(MOST_BLOCKING)
                .enable_all()
                .build()
                .context("cannot start the runtime")
        })
        .and_then(|runtime| runtime.block_on(run(flags)));
    match started {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("region-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> anyhow::Result<()> {
    raise_open_files();
    let host = Host::system();
    let files = Files { certificate: flags.cert, key: flags.key, ca: flags.ca };
    let credentials = Credentials::load(files, host.clock.clone())?;
    let settings = Settings {
        agent: flags.agent,
        cluster: flags.cluster,
        credentials,
        controllers: flags.controllers,
        data_dir: flags.data_dir,
        dns_listen: flags.dns_listen,
        dns_advertise: flags.dns_advertise,
        peer_listen: flags.peer_listen.map(|address| address.to_string()),
        peer_advertise: flags.peer_advertise,
        http_listen: flags.http_listen.map(|address| address.to_string()),
        watchdog: watchdog(&flags.watchdog),
        roots: Roots::Native,
    };
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let told = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("told to stop by SIGTERM"),
            _ = interrupt.recv() => tracing::info!("told to stop by SIGINT"),
        }
        told.cancel();
    });
    region_agent::run(settings, host, shutdown).await
}

/// Not opened here: that would start it.
fn watchdog(flag: &str) -> Option<PathBuf> {
    match flag {
        "off" => None,
        "auto" => {
            let usual = PathBuf::from("/dev/watchdog");
            nix::unistd::access(&usual, nix::unistd::AccessFlags::W_OK).is_ok().then_some(usual)
        }
        device => Some(device.into()),
    }
}

/// Each probe under way is a socket, and the usual soft limit of 1,024 is for the days of select().
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}
