//! A controller that only holds a state made by hand.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use control_plane::documents::{Answer, ApiError};
use control_plane::http::Backend;
use control_plane::view::{self, Membership};
use decision::command::{Command, Outcome, Refusal, Stamped};
use decision::config::{
    Config, DnsProvider, DnsRecord, Failback, GradualShift, MoveLimits, Profile, Region, Routing, Service,
    StatusPage, Strategy, Tier, ZoneConfig,
};
use decision::dns::RecordType;
use decision::incident::{Impact, Incident, IncidentStatus, Subject, Update};
use decision::name::RegionName;
use decision::plan::Epoch;
use decision::state::{Placement, Standing, State};
use decision::time::Time;
use decision::verdict::Verdict;
use tokio::sync::watch;
use wire::api::{Intent, IntentReply, MemberStatus, Query};

/// 2026-03-01T12:00:00Z
pub const NOON: Time = Time(1_772_366_400_000);

pub fn at(seconds: u64) -> Time {
    NOON + Duration::from_secs(seconds)
}

/// Three regions and a witness; `app` moved away from the dead us, `web` is degraded in eu.
pub fn state() -> State {
    let standing =
        |verdict, since, because: &str| Standing { verdict, since, because: because.into(), falls: vec![] };
    let placement = |primary: &str, epoch, since, standing| Placement {
        primary: primary.into(),
        epoch: Epoch(epoch),
        since,
        published: 0,
        moved: epoch > 1,
        left_out: BTreeSet::new(),
        standing: BTreeMap::from([(RegionName::from(primary), standing)]),
    };
    State {
        index: 40,
        now: at(90),
        config: Some(config().into()),
        config_generation: 1,
        regions: BTreeMap::from([
            (
                "us".into(),
                standing(
                    Verdict::Dead,
                    at(10),
                    "its agent's session is gone and 2 of 2 other vantages find it unhealthy",
                ),
            ),
            (
                "eu".into(),
                standing(
                    Verdict::Healthy,
                    at(1),
                    "its agent's session is up and 0 of 2 other vantages find it unhealthy",
                ),
            ),
            (
                "ap".into(),
                standing(
                    Verdict::Healthy,
                    at(1),
                    "its agent's session is up and 0 of 2 other vantages find it unhealthy",
                ),
            ),
        ]),
        services: BTreeMap::from([
            (
                "app".into(),
                placement(
                    "eu",
                    2,
                    at(12),
                    standing(Verdict::Healthy, at(2), "0 of 2 vantages find it unhealthy"),
                ),
            ),
            (
                "web".into(),
                placement(
                    "eu",
                    1,
                    at(0),
                    standing(Verdict::Degraded, at(60), "1 of 2 vantages find it unhealthy"),
                ),
            ),
        ]),
        drained: BTreeMap::from([("ap".into(), "new disks".into())]),
        incidents: vec![
            Arc::new(Incident {
                id: 30,
                subject: Subject::Service("web".into()),
                impact: Impact::Minor,
                status: IncidentStatus::Investigating,
                opened_at: at(60),
                updated_at: at(60),
                resolved_at: None,
                updates: vec![update(
                    30,
                    60,
                    IncidentStatus::Investigating,
                    "web in eu: healthy → degraded: 1 of 2 vantages find it unhealthy",
                )],
            }),
            Arc::new(Incident {
                id: 9,
                subject: Subject::Service("app".into()),
                impact: Impact::Critical,
                status: IncidentStatus::Resolved,
                opened_at: at(10),
                updated_at: at(13),
                resolved_at: Some(at(13)),
                updates: vec![
                    update(
                        9,
                        10,
                        IncidentStatus::Identified,
                        "app in us: healthy → dead: 2 of 2 vantages find it unhealthy",
                    ),
                    update(12, 13, IncidentStatus::Monitoring, "plan-1: done"),
                    update(12, 13, IncidentStatus::Resolved, "app is served from eu"),
                ],
            }),
        ],
        ..State::default()
    }
}

fn update(seq: u64, seconds: u64, status: IncidentStatus, body: &str) -> Update {
    Update { seq, at: at(seconds), status, body: body.into() }
}

/// Everything well.
pub fn quiet() -> State {
    let mut state = state();
    state.incidents.clear();
    state.drained.clear();
    for standing in state.regions.values_mut() {
        standing.verdict = Verdict::Healthy;
    }
    for placement in state.services.values_mut() {
        for standing in placement.standing.values_mut() {
            standing.verdict = Verdict::Healthy;
        }
    }
    state
}

pub fn config() -> Config {
    let names = ["us", "eu", "ap", "vote"];
    let hosting = &names[..3];
    let timings = Profile::Balanced.timings();
    Config {
        regions: names.iter().map(|name| region(name)).collect(),
        services: BTreeMap::from([
            ("app".into(), service("app", hosting)),
            ("web".into(), service("web", hosting)),
        ]),
        strategy: Strategy {
            profile: Profile::Balanced,
            detection_timeout: timings.detection_timeout,
            recovery_timeout: Duration::from_secs(300),
            session_timeout: timings.session_timeout,
            automatic_failover: true,
            manual_approval_required: false,
            failback: Failback::Manual,
            min_stay: timings.min_stay,
            hold_down: timings.hold_down,
            moves: MoveLimits { per_service: 3, overall: 5, window: Duration::from_secs(3600) },
            gradual_shift: GradualShift { stages_percent: vec![50, 100], pause: Duration::from_secs(30) },
            no_drills: Vec::new(),
        },
        checks: Vec::new(),
        zones: BTreeMap::from([(
            "example.test".into(),
            ZoneConfig { provider: DnsProvider::Embedded, secondaries: Vec::new() },
        )]),
        status_page: StatusPage { name: "Example".into(), url: "https://status.example.test/".into() },
    }
}

fn region(name: &str) -> Region {
    let witness = name == "vote";
    Region {
        name: name.into(),
        label: name.into(),
        provider: "test".into(),
        endpoints: Vec::new(),
        services: if witness { vec![] } else { vec!["app".into(), "web".into()] },
        capacity_percent: 100,
        jurisdiction: None,
        controllers: 1,
        agents: u16::from(!witness),
        witness,
    }
}

fn service(name: &str, regions: &[&str]) -> Service {
    let values = regions.iter().zip(1..).map(|(region, n)| ((*region).into(), vec![format!("192.0.2.{n}")]));
    Service {
        tier: Tier { name: "gold".into(), rto: Duration::from_secs(60), rpo: Duration::from_secs(1) },
        jurisdictions: Vec::new(),
        min_capacity_percent: 0,
        database: None,
        dns: vec![DnsRecord {
            name: format!("{name}.example.test").as_str().into(),
            zone: "example.test".into(),
            rtype: RecordType::A,
            ttl_s: 5,
            values: values.collect(),
            routing: Routing::Primary,
        }],
    }
}

/// The state, and what the controller around it would say.
pub struct Fixed {
    pub state: Mutex<State>,
    pub changes: watch::Sender<u64>,
    pub ready: Mutex<Result<(), String>>,
    pub age_ms: AtomicU64,
    pub quorum: Mutex<bool>,
    pub wishes: Mutex<Vec<(Intent, String)>>,
}

impl Fixed {
    pub fn new(state: State) -> Arc<Fixed> {
        Arc::new(Fixed {
            changes: watch::Sender::new(state.index),
            state: Mutex::new(state),
            ready: Mutex::new(Ok(())),
            age_ms: AtomicU64::new(300),
            quorum: Mutex::new(true),
            wishes: Mutex::default(),
        })
    }

    /// As a committed entry would.
    pub fn apply(&self, command: Command) -> Outcome {
        let mut state = self.state.lock().unwrap();
        let index = state.index + 1;
        let at = state.now;
        let outcome = state.apply(index, Stamped { at, by: "operator/ann".into(), command });
        drop(state);
        self.changes.send_replace(index);
        outcome
    }
}

#[async_trait]
impl Backend for Fixed {
    fn with_state(&self, look: &mut dyn FnMut(&State)) {
        look(&self.state.lock().unwrap());
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn membership(&self) -> Membership {
        let member = |id, region: &str| MemberStatus {
            id,
            region: region.into(),
            grpc: format!("127.0.0.1:700{id}"),
            voter: true,
            witness: region == "vote",
            matched: Some(40),
        };
        Membership {
            cluster: "c1".into(),
            leader: Some(2),
            term: 3,
            members: vec![member(1, "us"), member(2, "eu"), member(3, "vote")],
        }
    }

    fn is_ready(&self) -> Result<(), String> {
        self.ready.lock().unwrap().clone()
    }

    fn now(&self) -> Time {
        at(100)
    }

    fn fresh_at(&self) -> Time {
        self.now() - Duration::from_millis(self.age_ms.load(Ordering::Relaxed))
    }

    async fn query(&self, query: Query, stale_ok: bool) -> Result<Answer, ApiError> {
        let quorum = *self.quorum.lock().unwrap();
        if !quorum && !stale_ok {
            return Err(ApiError::Unavailable(
                "no majority of controllers answers; nothing was changed".into(),
            ));
        }
        let state = self.state.lock().unwrap();
        let json = match query {
            Query::Status => serde_json::to_vec(&view::status(&state, &self.membership())),
            Query::Plan { id } => return Err(ApiError::NotFound(format!("there is no {id}"))),
            // Which question arrived is all that matters here.
            query => serde_json::to_vec(&query),
        };
        Ok(Answer { json: json.unwrap(), index: state.index, stale: !quorum, as_of: state.now, member: 2 })
    }

    async fn intent(&self, intent: Intent, by: String) -> Result<IntentReply, ApiError> {
        self.wishes.lock().unwrap().push((intent.clone(), by));
        match intent {
            Intent::Drain { region, .. } if region.as_str() == "mars" => {
                Ok(IntentReply::Refused { refusal: Refusal::Unknown { what: "region mars".into() } })
            }
            Intent::Resume => Ok(IntentReply::Refused { refusal: Refusal::Paused { why: "because".into() } }),
            Intent::Switchover { service, dry_run, .. } => {
                let state = self.state.lock().unwrap();
                let plan = decision::plan::Plan {
                    id: state.next_plan(),
                    kind: decision::plan::Kind::Switchover,
                    service,
                    from: "eu".into(),
                    to: "ap".into(),
                    parent: decision::plan::Parent { epoch: Epoch(2), config_generation: 1 },
                    epoch: Epoch(3),
                    automatic: false,
                    needs_approval: false,
                    reason: "asked".into(),
                    loss: None,
                    accepts_loss: false,
                    steps: Vec::new(),
                };
                let outcome = if dry_run { Outcome::Unchanged } else { Outcome::Applied { seq: 41 } };
                Ok(IntentReply::Done { outcome, plan: Some(Box::new(plan)), rejected: Vec::new() })
            }
            _ => Ok(IntentReply::Done {
                outcome: Outcome::Applied { seq: 41 },
                plan: None,
                rejected: Vec::new(),
            }),
        }
    }
}
