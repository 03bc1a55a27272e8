//! `control-plane`: one controller. Flags and environment are read here and nowhere else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use control_plane::raft::{self, Member};
use decision::config::Profile;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wire::failpoint;
use wire::host::Host;
use wire::identity::Identity;
use wire::tls::{Credentials, Files};

/// A controller of a Regent cluster: votes, keeps the log, decides when it leads.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Where its log and state lie.
    #[arg(long, env = "REGENT_DATA_DIR")]
    data_dir: PathBuf,
    /// gRPC and the API, over mutual TLS.
    #[arg(long, env = "REGENT_GRPC_LISTEN", default_value = "127.0.0.1:7400")]
    grpc_listen: String,
    /// The public status page.
    #[arg(long, env = "REGENT_HTTP_LISTEN", default_value = "127.0.0.1:7401")]
    http_listen: String,
    /// A first member, ID=REGION=HOST:PORT, with "=witness" behind it for a witness. Give all of
    /// them, the same to each; leave out when joining a cluster that runs.
    #[arg(long = "initial-member", env = "REGENT_INITIAL_MEMBERS", value_delimiter = ',')]
    initial_members: Vec<String>,
    /// Its certificate, which names cluster, region and member.
    #[arg(long, env = "REGENT_CERT")]
    cert: PathBuf,
    #[arg(long, env = "REGENT_KEY")]
    key: PathBuf,
    #[arg(long, env = "REGENT_CA")]
    ca: PathBuf,
    /// Timers of the Raft group; the same for all members.
    #[arg(long, env = "REGENT_PROFILE", default_value = "balanced")]
    profile: ProfileName,
    /// How often the leader is heard; longer than the longest round trip between members.
    #[arg(long, env = "REGENT_RAFT_HEARTBEAT_MS")]
    raft_heartbeat_ms: Option<u64>,
    #[arg(long, env = "REGENT_ELECTION_TIMEOUT_MIN_MS")]
    election_timeout_min_ms: Option<u64>,
    #[arg(long, env = "REGENT_ELECTION_TIMEOUT_MAX_MS")]
    election_timeout_max_ms: Option<u64>,
    /// What is logged: a level, or TARGET=LEVEL, parted by commas.
    #[arg(long, env = "REGENT_LOG", default_value = "info,openraft=error,sled=warn")]
    log: String,
    #[arg(long, env = "REGENT_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileName {
    Safe,
    Balanced,
    Fast,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// A quarter of what a commit cost went to the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    wire::log::start(&flags.log, matches!(flags.log_format, LogFormat::Json))?;
    failpoint::arm(std::env::var_os(failpoint::FOLDER));
    // One thread each: what one commit wakes is then done and sent together, not by threads that wake
    // each other for every answer; and tokio's runtime of one thread serves its tasks in turn, where that of
    // many lets some of a thousand connections wait.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let public = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = public.handle().clone();
    let (ended, until_ended) = oneshot::channel::<()>();
    let page = std::thread::Builder::new().name("status-page".into()).spawn(move || {
        // Nothing is ever sent; it ends when the sender is dropped.
        let _ = public.block_on(until_ended);
    })?;
    let outcome = runtime.block_on(start(flags, &handle));
    drop(ended);
    if page.join().is_err() {
        tracing::error!("the status page's thread panicked");
    }
    outcome
}

async fn start(flags: Flags, public: &Handle) -> anyhow::Result<()> {
    let host = Host::system();
    let files = Files { certificate: flags.cert.clone(), key: flags.key.clone(), ca: flags.ca.clone() };
    let credentials = Credentials::load(files, host.clock.clone())?;
    let Identity::Controller { region, member } = credentials.id().identity else {
        anyhow::bail!("{} names {}, not a controller", flags.cert.display(), credentials.id());
    };
    let settings = control_plane::Settings {
        raft: raft_settings(&flags, member, credentials.trust_domain().as_str()),
        region: region.0,
        grpc_listen: flags.grpc_listen,
        http_listen: flags.http_listen,
        initial_members: flags
            .initial_members
            .iter()
            .map(|text| initial_member(text))
            .collect::<anyhow::Result<BTreeMap<_, _>>>()?,
    };
    let shutdown = CancellationToken::new();
    tokio::spawn(end_on_signal(shutdown.clone()));
    control_plane::run(settings, host, credentials, public, shutdown).await?;
    Ok(())
}

fn raft_settings(flags: &Flags, member: u64, cluster: &str) -> raft::Settings {
    let timings = match flags.profile {
        ProfileName::Safe => Profile::Safe,
        ProfileName::Balanced => Profile::Balanced,
        ProfileName::Fast => Profile::Fast,
    }
    .timings();
    let or = |given: Option<u64>, default| given.map_or(default, Duration::from_millis);
    let mut settings = raft::Settings::new(member, cluster, &flags.data_dir);
    settings.heartbeat = or(flags.raft_heartbeat_ms, timings.raft_heartbeat);
    settings.election_timeout_min = or(flags.election_timeout_min_ms, timings.election_timeout_min);
    settings.election_timeout_max = or(flags.election_timeout_max_ms, timings.election_timeout_max);
    settings
}

fn initial_member(text: &str) -> anyhow::Result<(u64, Member)> {
    let parts: Vec<&str> = text.split('=').collect();
    let (id, region, grpc, witness) = match parts[..] {
        [id, region, grpc] => (id, region, grpc, false),
        [id, region, grpc, "witness"] => (id, region, grpc, true),
        _ => anyhow::bail!(
            "--initial-member {text:?}: expected ID=REGION=HOST:PORT, as 1=eu-west-1=10.0.0.1:7400"
        ),
    };
    let id = id.parse().with_context(|| format!("--initial-member {text:?}: the id must be a number"))?;
    Ok((id, Member { region: region.into(), grpc: grpc.into(), witness }))
}

async fn end_on_signal(shutdown: CancellationToken) {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    shutdown.cancel();
}
