//! Commits per second of three members in three processes on loopback, each log truly synced, and the
//! same load on three members of etcd.
//!
//! `raft_bench --clients 32 --seconds 10 --payload 256 [--target regent|etcd] [--dir FOLDER]`
//! prints one line of JSON. Clients are outside, over gRPC, each waiting for its commit.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Parser;
use control_plane::raft::{Dial, Member, Node, Settings, start, uncertified};
use decision::command::{Command, Stamped};
use decision::time::Time;
use h2::client::SendRequest;
use prost::Message;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 1)]
    clients: usize,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Bytes of one command's text.
    #[arg(long, default_value_t = 256)]
    payload: usize,
    #[arg(long, default_value = "regent")]
    target: String,
    /// Where the data goes; its disk is what is measured.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Runs one member; the bench starts itself so.
    #[arg(long, hide = true)]
    member: Option<u64>,
    #[arg(long, hide = true, value_delimiter = ',')]
    addresses: Vec<String>,
}

/// As `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Done {}

/// Clients share these.
const CONNECTIONS_MAX: usize = 4;
const REGENT_PUT: &str = "/regent.bench.Bench/Put";
const ETCD_PUT: &str = "/etcdserverpb.KV/Put";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // A member as a controller does; the clients too, so that they take little from what is measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.member {
        Some(id) => runtime.block_on(serve(id, &args)),
        None => runtime.block_on(measure(&args)),
    }
}

fn members(addresses: &[String]) -> BTreeMap<u64, Member> {
    let member = |address: &String| Member { region: "bench".into(), grpc: address.clone(), witness: false };
    (1..).zip(addresses.iter().map(member)).collect()
}

fn channel(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    Ok(endpoint.connect_timeout(Duration::from_secs(1)).connect_lazy())
}

async fn serve(id: u64, args: &Args) -> anyhow::Result<()> {
    let data = args.dir.clone().context("--dir")?.join(id.to_string());
    let dial: Dial = Arc::new(|_, member| channel(&member.grpc).expect("an address"));
    let node = start(Settings::new(id, "bench", data), dial).await?;
    let address = args.addresses[id as usize - 1].parse()?;
    let raft = InterceptedService::new(node.service(), uncertified);
    let server = Server::builder().tcp_nodelay(true).add_service(raft);
    let served = server.add_service(Bench(node.clone())).serve(address);
    // Only one that serves can be found by the one that begins.
    let formed = node.initialize(members(&args.addresses));
    let (served, _) =
        futures::try_join!(async { Ok(served.await?) }, async { formed.await.map_err(anyhow::Error::from) })?;
    Ok(served)
}

/// One gRPC method, written out by hand: propose a note.
#[derive(Clone)]
struct Bench(Node);

impl tonic::server::NamedService for Bench {
    const NAME: &'static str = "regent.bench.Bench";
}

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl tonic::codegen::Service<http::Request<Body>> for Bench {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let bench = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<Done, Put>::default();
            Ok(tonic::server::Grpc::new(codec).unary(bench, request).await)
        })
    }
}

impl tonic::server::UnaryService<Put> for Bench {
    type Response = Done;
    type Future = Answer<Result<Response<Done>, Status>>;

    fn call(&mut self, request: Request<Put>) -> Self::Future {
        let node = self.0.clone();
        Box::pin(async move {
            let text = String::from_utf8(request.into_inner().value)
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            let stamped = Stamped { at: Time(1), by: "bench".into(), command: Command::Note { text } };
            match node.propose(stamped, Duration::from_secs(10)).await {
                Ok(_) => Ok(Response::new(Done {})),
                Err(error) => Err(Status::unavailable(error.to_string())),
            }
        })
    }
}

/// A client's side of a connection, for whose requests it builds no more than gRPC over HTTP/2 asks for: what
/// clients take of the processor is taken from what is measured.
async fn connect(address: &str) -> anyhow::Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (requests, connection) = h2::client::handshake(stream).await?;
    // Requests say why it ended.
    tokio::spawn(connection);
    Ok(requests)
}

fn request(address: &str, path: &str) -> anyhow::Result<http::Request<()>> {
    let request = http::Request::post(format!("http://{address}{path}"));
    Ok(request.header("te", "trailers").header("content-type", "application/grpc").body(())?)
}

/// The message after its flag and length, as on the wire.
fn framed(payload: usize) -> Bytes {
    let message = Put { key: b"bench".to_vec(), value: vec![b'x'; payload] }.encode_to_vec();
    [&[0], &(message.len() as u32).to_be_bytes()[..], &message].concat().into()
}

async fn put(
    requests: &SendRequest<Bytes>,
    request: http::Request<()>,
    message: Bytes,
) -> anyhow::Result<()> {
    let (answer, mut body) = requests.clone().ready().await?.send_request(request, false)?;
    body.send_data(message, true)?;
    let (head, mut body) = answer.await?.into_parts();
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    let trailers = body.trailers().await?;
    let status = trailers.as_ref().unwrap_or(&head.headers).get("grpc-status");
    ensure!(status.is_some_and(|status| status == "0"), "refused: {status:?}");
    Ok(())
}

/// Processes that end with this.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Already ended is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_addresses(count: usize) -> anyhow::Result<Vec<String>> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}

fn start_regent(dir: &Path) -> anyhow::Result<(Running, Vec<String>)> {
    let addresses = free_addresses(3)?;
    let mut running = Running(Vec::new());
    for id in 1..=3 {
        let mut process = Process::new(std::env::current_exe()?);
        process.args(["--member", &id.to_string(), "--addresses", &addresses.join(","), "--dir"]).arg(dir);
        running.0.push(process.spawn()?);
    }
    Ok((running, addresses))
}

fn start_etcd(dir: &Path) -> anyhow::Result<(Running, Vec<String>)> {
    let (clients, peers) = (free_addresses(3)?, free_addresses(3)?);
    let cluster: Vec<_> = (0..3).map(|i| format!("m{i}=http://{}", peers[i])).collect();
    let mut running = Running(Vec::new());
    for i in 0..3 {
        let (client, peer) = (format!("http://{}", clients[i]), format!("http://{}", peers[i]));
        let mut process = Process::new("etcd");
        process.args(["--name", &format!("m{i}"), "--initial-cluster", &cluster.join(",")]);
        process.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        process.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        process.arg("--data-dir").arg(dir.join(format!("etcd{i}")));
        running.0.push(process.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("etcd")?);
    }
    Ok((running, clients))
}

/// etcd answers everywhere by forwarding, so its leader is asked for; ours names itself by accepting.
async fn find_leader(addresses: &[String], path: &'static str) -> anyhow::Result<String> {
    let give_up = Instant::now() + Duration::from_secs(30);
    while Instant::now() < give_up {
        for address in addresses {
            let asked = async { put(&connect(address).await?, request(address, path)?, framed(1)).await };
            if asked.await.is_ok() && (path == REGENT_PUT || is_etcd_leader(address)) {
                return Ok(address.clone());
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("no leader within 30 s")
}

fn is_etcd_leader(address: &str) -> bool {
    let mut etcdctl = Process::new("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", address, "endpoint", "status", "-w", "json"]);
    let Ok(output) = etcdctl.output() else { return true };
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else { return true };
    let status = &json[0]["Status"];
    status["leader"] == status["header"]["member_id"]
}

async fn measure(args: &Args) -> anyhow::Result<()> {
    let scratch = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = scratch.join(format!("raft_bench.{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let outcome = measure_in(args, &dir).await;
    std::fs::remove_dir_all(&dir)?;
    outcome
}

async fn measure_in(args: &Args, dir: &Path) -> anyhow::Result<()> {
    let (path, (_running, addresses)) = match args.target.as_str() {
        "regent" => (REGENT_PUT, start_regent(dir)?),
        "etcd" => (ETCD_PUT, start_etcd(dir)?),
        other => bail!("--target is regent or etcd, not {other}"),
    };
    let leader = find_leader(&addresses, path).await?;
    load(&leader, path, args, Duration::from_secs(1)).await?;
    let within = Duration::from_secs(args.seconds);
    let mut latencies = load(&leader, path, args, within).await?;
    latencies.sort_unstable();
    let percentile = |share: f64| {
        let at = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    };
    let figures = serde_json::json!({
        "target": args.target, "clients": args.clients, "seconds": args.seconds, "payload_bytes": args.payload,
        "commits_per_s": latencies.len() as f64 / args.seconds as f64,
        "p50_ms": percentile(0.5), "p99_ms": percentile(0.99),
    });
    println!("{figures}");
    Ok(())
}

/// Every commit's latency.
async fn load(
    leader: &str,
    path: &'static str,
    args: &Args,
    within: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let end = Instant::now() + within;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS_MAX.min(args.clients) {
        connections.push(connect(leader).await?);
    }
    let (request, message) = (request(leader, path)?, framed(args.payload));
    let clients: Vec<_> = (0..args.clients)
        .map(|i| {
            let requests = connections[i % connections.len()].clone();
            let (request, message) = (request.clone(), message.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while Instant::now() < end {
                    let began = Instant::now();
                    put(&requests, request.clone(), message.clone()).await?;
                    latencies.push(began.elapsed());
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await??);
    }
    Ok(all)
}
