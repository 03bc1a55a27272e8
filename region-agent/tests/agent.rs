//! The whole agent against controllers of the test's own, over real mutual TLS.
#![allow(clippy::unwrap_used, reason = "tests may")]

#[path = "agent/controller.rs"]
mod controller;
#[path = "agent/database.rs"]
mod database;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use controller::{Authority, Controller, SOON};
use decision::config::{Check, Probe};
use decision::dns::{Group, NameServer, RecordSet, RecordType, Zone};
use decision::evidence::Condition;
use decision::goal::{Assignment, Goal};
use decision::name::AgentId;
use decision::plan::{Action, Epoch, PlanId, StepId, StepResult};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::Name;
use region_agent::Settings;
use tokio_util::sync::CancellationToken;
use wire::agent::{FromAgent, ToAgent};
use wire::host::Host;
use wire::target::Roots;

const HEARTBEAT: Duration = Duration::from_millis(70);

struct Running {
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.task).await.expect("stops in time").unwrap().unwrap();
    }
}

fn settings(authority: &Authority, controllers: &[&str], data_dir: &Path) -> Settings {
    Settings {
        agent: AgentId::new("eu", 1),
        cluster: "c".into(),
        credentials: authority.agent("eu", 1),
        controllers: controllers.iter().map(|address| (*address).to_owned()).collect(),
        data_dir: data_dir.to_owned(),
        dns_listen: Some("127.0.0.1:0".parse().unwrap()),
        dns_advertise: None,
        http_listen: None,
        peer_listen: None,
        peer_advertise: None,
        watchdog: None,
        roots: Roots::Native,
    }
}

fn start(settings: Settings) -> Running {
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(region_agent::run(settings, Host::system(), shutdown.clone()));
    Running { shutdown, task }
}

/// A target that counts who comes.
struct Target {
    address: String,
    visits: Arc<AtomicUsize>,
}

impl Target {
    async fn start() -> Target {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&visits);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Target { address, visits }
    }

    /// Waits for another visit.
    async fn visited(&self) {
        let before = self.visits.load(Ordering::SeqCst);
        controller::eventually("a visit", || self.visits.load(Ordering::SeqCst) > before).await;
    }
}

fn check(id: &str, address: &str) -> Check {
    Check {
        id: id.into(),
        region: "eu".into(),
        service: None,
        probe: Probe::Tcp { address: address.to_owned() },
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(1_000),
        healthy_threshold: 2,
        unhealthy_threshold: 3,
    }
}

fn zone(generation: u64) -> Zone {
    Zone {
        origin: "example.test".into(),
        generation,
        name_servers: vec![NameServer {
            name: "ns1.example.test".into(),
            addresses: vec!["127.0.0.1".parse().unwrap()],
        }],
        records: vec![RecordSet {
            name: "www.example.test".into(),
            rtype: RecordType::A,
            ttl_s: 5,
            groups: vec![Group { region: "eu".into(), weight: 1, values: vec!["192.0.2.7".into()] }],
        }],
        secondaries: Vec::new(),
    }
}

fn goal(generation: u64, checks: Vec<Check>) -> Goal {
    Goal {
        generation,
        config_generation: 1,
        heartbeat: HEARTBEAT,
        checks,
        zones: vec![zone(generation)],
        assignments: Vec::new(),
        databases: Vec::new(),
        fault: None,
    }
}

fn send(goal: Goal) -> ToAgent {
    ToAgent::Goal(Box::new(goal))
}

fn conditions(message: &FromAgent) -> Vec<(String, Condition)> {
    let FromAgent::Evidence { findings } = message else { return Vec::new() };
    findings.iter().map(|finding| (finding.check.0.clone(), finding.condition)).collect()
}

/// The DNS address of a hello.
fn dns_of(message: &FromAgent) -> Option<String> {
    let FromAgent::Hello { info, .. } = message else { return None };
    info.dns.clone()
}

async fn ask_www(server: &str) -> Option<Message> {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii("www.example.test.").unwrap();
    question.add_query(Query::query(name, hickory_proto::rr::RecordType::A));
    socket.send_to(&question.to_vec().unwrap(), server).await.unwrap();
    let mut buffer = [0; 512];
    let (length, _) =
        tokio::time::timeout(Duration::from_secs(2), socket.recv_from(&mut buffer)).await.ok()?.ok()?;
    Message::from_vec(&buffer[..length]).ok()
}

#[tokio::test]
async fn it_says_who_it_is_beats_and_tells_what_it_finds() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let (up, down) = (Target::start().await, "127.0.0.1:1");
    let mut controller = Controller::start(&authority, 1).await;
    let agent = start(settings(&authority, &[&controller.address], dir.path()));

    let hello = controller.next().await;
    let FromAgent::Hello { agent: name, info, held_generation } = &hello else { panic!("{hello:?}") };
    assert_eq!((name, *held_generation), (&AgentId::new("eu", 1), 0));
    assert!(info.dns.is_some() && !info.version.is_empty());
    controller.send(send(goal(7, vec![check("eu/up/1", &up.address), check("eu/down/1", down)]))).await;
    controller.until("healthy", |m| conditions(m).contains(&("eu/up/1".into(), Condition::Healthy))).await;
    let found = |m: &FromAgent| {
        conditions(m).contains(&("eu/up/1".into(), Condition::Unhealthy))
            || conditions(m).contains(&("eu/down/1".into(), Condition::Unhealthy))
    };
    let told = controller.until("unhealthy", found).await;
    let FromAgent::Evidence { findings } = told else { panic!("{told:?}") };
    let down = findings.iter().find(|finding| finding.check == "eu/down/1".into()).unwrap();
    assert_eq!(down.reason, "connection refused");
    assert!(down.age >= Duration::from_millis(180), "from the first of three: {:?}", down.age);
    let FromAgent::Heartbeat { sequence } =
        controller.until("a heartbeat", |m| matches!(m, FromAgent::Heartbeat { .. })).await
    else {
        unreachable!("as was waited for")
    };
    let next = controller.until("another", |m| matches!(m, FromAgent::Heartbeat { .. })).await;
    assert_eq!(next, FromAgent::Heartbeat { sequence: sequence + 1 });
    // The zone of the goal is served.
    let server = dns_of(&hello).unwrap();
    assert_eq!(until_code(&server, ResponseCode::NoError).await.answers.len(), 1);
    agent.stop().await;
}

/// Asks until the answer has this code.
async fn until_code(server: &str, code: ResponseCode) -> Message {
    let begun = tokio::time::Instant::now();
    loop {
        match ask_www(server).await {
            Some(answer) if answer.metadata.response_code == code => return answer,
            other if begun.elapsed() > SOON => panic!("never {code}: {other:?}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test]
async fn a_zone_that_is_no_longer_configured_is_refused_also_after_a_restart() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let mut controller = Controller::start(&authority, 1).await;
    let address = controller.address.clone();
    let agent = start(settings(&authority, &[&address], dir.path()));
    let server = dns_of(&controller.next().await).unwrap();
    controller.send(send(goal(7, Vec::new()))).await;
    until_code(&server, ResponseCode::NoError).await;
    let without = |generation| Goal { zones: Vec::new(), ..goal(generation, Vec::new()) };
    // One that is older knows nothing of it, and is refused whole.
    controller.send(send(without(6))).await;
    controller.until("a refusal", |m| matches!(m, FromAgent::Refusal { .. })).await;
    assert_eq!(ask_www(&server).await.unwrap().metadata.response_code, ResponseCode::NoError);
    controller.send(send(without(8))).await;
    until_code(&server, ResponseCode::Refused).await;
    agent.stop().await;
    controller.die();

    let again = Settings {
        dns_listen: Some(server.parse().unwrap()),
        ..settings(&authority, &[&address], dir.path())
    };
    let agent = start(again);
    let mut answer = None;
    while answer.is_none() {
        answer = ask_www(&server).await;
    }
    assert_eq!(answer.unwrap().metadata.response_code, ResponseCode::Refused);
    agent.stop().await;
}

#[tokio::test]
async fn an_older_goal_is_refused_and_the_controllers_hear_of_it() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start().await;
    let mut controller = Controller::start(&authority, 1).await;
    let agent = start(settings(&authority, &[&controller.address], dir.path()));
    controller.send(send(goal(7, vec![check("eu/up/1", &target.address)]))).await;
    target.visited().await;
    controller.send(send(goal(6, Vec::new()))).await;
    let refusal = controller.until("a refusal", |m| matches!(m, FromAgent::Refusal { .. })).await;
    let why = "goal of generation 6 refused: generation 7 is held, and generations never fall";
    assert_eq!(refusal, FromAgent::Refusal { what: "goal of generation 6".into(), why: why.into() });
    // The one held stays in force.
    target.visited().await;
    target.visited().await;
    agent.stop().await;
}

fn verification(attempt: u32) -> Assignment {
    Assignment {
        plan: PlanId(4),
        step: StepId(2),
        attempt,
        service: "web".into(),
        epoch: Epoch(9),
        timeout: Duration::from_secs(10),
        action: Action::VerifyService { checks: Vec::new() },
        checks: Vec::new(),
    }
}

fn is_report(message: &FromAgent) -> bool {
    matches!(message, FromAgent::Step(report) if report.epoch == Epoch(9) && report.plan == PlanId(4))
}

#[tokio::test]
async fn the_result_of_a_step_is_sent_until_it_is_acknowledged() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let mut controller = Controller::start(&authority, 1).await;
    let agent = start(settings(&authority, &[&controller.address], dir.path()));
    controller.send(send(Goal { assignments: vec![verification(1)], ..goal(7, Vec::new()) })).await;
    for _ in 0..3 {
        let FromAgent::Step(report) = controller.until("a report", is_report).await else { unreachable!() };
        assert_eq!((report.step, report.attempt), (StepId(2), 1));
        assert!(matches!(report.result, StepResult::Done { .. }));
    }
    let ack = ToAgent::StepAck { plan: PlanId(4), step: StepId(2), attempt: 1 };
    controller.send(ack).await;
    // Those under way already, and then none more while others come.
    let mut quiet = 0;
    while quiet < 40 {
        let message = controller.next().await;
        quiet = match message {
            FromAgent::Step(_) => 0,
            _ => quiet + 1,
        };
    }
    // The next attempt is another matter.
    controller.send(send(Goal { assignments: vec![verification(2)], ..goal(8, Vec::new()) })).await;
    controller.until("the second", |m| matches!(m, FromAgent::Step(report) if report.attempt == 2)).await;
    agent.stop().await;
}

#[tokio::test]
async fn when_its_controller_dies_another_hears_everything_at_once() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start().await;
    let mut first = Controller::start(&authority, 1).await;
    let mut second = Controller::start(&authority, 2).await;
    let agent = start(settings(&authority, &[&first.address, &second.address], dir.path()));
    first.send(send(goal(7, vec![check("eu/up/1", &target.address)]))).await;
    let healthy = |m: &FromAgent| conditions(m).contains(&("eu/up/1".into(), Condition::Healthy));
    first.until("healthy", healthy).await;
    first.die();
    let hello = second.next().await;
    assert!(matches!(hello, FromAgent::Hello { held_generation: 7, .. }), "{hello:?}");
    second.until("healthy again", healthy).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_controller_that_knows_no_leader_is_left() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let mut first = Controller::start(&authority, 1).await;
    let mut second = Controller::start(&authority, 2).await;
    let agent = start(settings(&authority, &[&first.address, &second.address], dir.path()));
    first.until("a heartbeat", |m| matches!(m, FromAgent::Heartbeat { sequence: 3.. })).await;
    first.acknowledge(false);
    let hello = second.next().await;
    assert!(matches!(hello, FromAgent::Hello { .. }), "{hello:?}");
    agent.stop().await;
}

#[tokio::test]
async fn it_comes_home_to_its_own_region_without_a_break() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start().await;
    let mut away = Controller::start(&authority, 2).await;
    let home = Controller::start(&authority, 1).await.address.clone();
    let agent = start(settings(&authority, &[&home, &away.address], dir.path()));
    // A machine that stands still for a moment must not end the session that is to last.
    let heartbeat = HEARTBEAT * 8;
    away.send(send(Goal { heartbeat, ..goal(7, vec![check("eu/up/1", &target.address)]) })).await;
    let healthy = |m: &FromAgent| conditions(m).contains(&("eu/up/1".into(), Condition::Healthy));
    away.until("healthy", healthy).await;

    // One that is back, but knows no leader yet, is not gone to.
    let mut home = Controller::start_at(&authority, 1, &home).await;
    home.acknowledge(false);
    home.until("a hello", |m| matches!(m, FromAgent::Hello { .. })).await;
    home.ended().await;
    assert!(!away.has_ended());
    home.acknowledge(true);
    home.until("a hello", |m| matches!(m, FromAgent::Hello { held_generation: 7, .. })).await;
    home.until("healthy", healthy).await;
    away.ended().await;
    agent.stop().await;
}

#[tokio::test]
async fn with_no_controller_alive_a_restarted_agent_watches_and_serves_dns() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start().await;
    let mut controller = Controller::start(&authority, 1).await;
    let address = controller.address.clone();
    let agent = start(settings(&authority, &[&address], dir.path()));
    let assigned =
        Goal { assignments: vec![verification(1)], ..goal(7, vec![check("eu/up/1", &target.address)]) };
    controller.send(send(assigned)).await;
    controller.until("a report", is_report).await;
    target.visited().await;
    agent.stop().await;
    controller.die();

    let listen = format!("127.0.0.1:{}", failover::testing::free_port());
    let again = Settings {
        dns_listen: Some(listen.parse().unwrap()),
        ..settings(&authority, &[&address], dir.path())
    };
    let agent = start(again);
    target.visited().await;
    let answer = ask_www(&listen).await.unwrap();
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));

    // A controller comes back: it is told what is held, and no step was repeated from disk.
    let mut controller = Controller::start_at(&authority, 1, &address).await;
    let hello = controller.next().await;
    assert!(matches!(hello, FromAgent::Hello { held_generation: 7, .. }), "{hello:?}");
    for _ in 0..20 {
        assert!(!is_report(&controller.next().await));
    }
    agent.stop().await;
}

#[tokio::test]
async fn it_refuses_to_start_as_another_or_in_anothers_folder() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    start(settings(&authority, &["127.0.0.1:1"], dir.path())).stop().await;

    let other =
        Settings { agent: AgentId::new("us", 1), ..settings(&authority, &["127.0.0.1:1"], dir.path()) };
    let error = start(other).task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("spiffe://c/agent/eu/1") && error.contains("agent us/1"), "{error}");

    let other = Settings {
        agent: AgentId::new("us", 1),
        credentials: authority.agent("us", 1),
        ..settings(&authority, &["127.0.0.1:1"], dir.path())
    };
    let error = start(other).task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("belongs to agent eu/1 of cluster \"c\""), "{error}");
}
