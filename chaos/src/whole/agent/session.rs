//! The session: hello, heartbeats, evidence and results of steps out; goals in. Where no leader answers, the next
//! controller is tried.

use std::collections::BTreeSet;
use std::time::Duration;

use decision::command::AgentInfo;
use decision::goal::Goal;
use decision::plan::{PlanId, StepId, StepResult};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use wire::agent::{FromAgent, StepReport, ToAgent};
use wire::connect::{ChannelOptions, channel, with_causes};
use wire::proto::regent::v1::AgentMessage;
use wire::proto::regent::v1::agents_client::AgentsClient;
use wire::tls::Expect;

use super::probes::Probes;
use super::{CONNECT_WITHIN, Life};

const QUEUE: usize = 64;
const HEARTBEAT_LEAST: Duration = Duration::from_millis(50);
const HEARTBEAT_FIRST: Duration = Duration::from_millis(500);
/// For an answer, beyond some heartbeats.
const PATIENCE: Duration = Duration::from_millis(800);
const OPENS_WITHIN: Duration = Duration::from_secs(3);
const NEXT_AFTER: Duration = Duration::from_millis(200);

/// Which attempt at which step.
type Attempt = (PlanId, StepId, u32);

pub async fn holds(life: Life) {
    let mut probes = Probes::default();
    for n in 0.. {
        let controller = life.controllers[n % life.controllers.len()].clone();
        let why = hold(&life, &controller, &mut probes).await;
        life.ground.line(|| format!("{}: no session with {controller}: {why}", life.id));
        let jitter = life.ground.chance.between(Duration::ZERO, NEXT_AFTER);
        tokio::time::sleep(NEXT_AFTER + jitter).await;
    }
}

fn heartbeat(goal: &Goal) -> Duration {
    if goal.heartbeat.is_zero() { HEARTBEAT_FIRST } else { goal.heartbeat.max(HEARTBEAT_LEAST) }
}

async fn hold(life: &Life, controller: &str, probes: &mut Probes) -> String {
    let (out, receiver) = mpsc::channel::<AgentMessage>(QUEUE);
    let hello = FromAgent::Hello {
        agent: life.id.clone(),
        info: AgentInfo { dns: None, version: "whole".into(), peer: None },
        held_generation: life.goal.borrow().generation,
    };
    if out.try_send(hello.into()).is_err() {
        return "the queue is full".to_owned();
    }
    let options = ChannelOptions {
        connect_timeout: CONNECT_WITHIN,
        keepalive_interval: CONNECT_WITHIN,
        keepalive_timeout: CONNECT_WITHIN,
    };
    let way = channel(&life.host, &life.credentials, controller, Expect::AnyController, options);
    let mut client = AgentsClient::new(way);
    let opening = tokio::time::timeout(OPENS_WITHIN, client.session(ReceiverStream::new(receiver)));
    let mut inbound = match opening.await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return with_causes(&status),
        Err(_) => return "no answer in time".to_owned(),
    };
    probes.forget_told();
    let mut acknowledged = BTreeSet::new();
    let (mut last_ack, mut sequence) = (Instant::now() + PATIENCE, 0);
    let beat_every = heartbeat(&life.goal.borrow());
    let mut beat = tokio::time::interval(beat_every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = tokio::time::interval(probes.interval(&life.goal.borrow()));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            message = inbound.message() => match message {
                Ok(Some(message)) => match ToAgent::try_from(message) {
                    Ok(ToAgent::Goal(goal)) => {
                        let is_other = heartbeat(&goal) != beat_every;
                        is_told(life, *goal, &acknowledged, &out);
                        if is_other {
                            return "the heartbeat is another".to_owned();
                        }
                    }
                    Ok(ToAgent::HeartbeatAck { .. }) => last_ack = last_ack.max(Instant::now()),
                    Ok(ToAgent::StepAck { plan, step, attempt }) => {
                        acknowledged.insert((plan, step, attempt));
                    }
                    Ok(ToAgent::Welcome { .. }) => {}
                    Err(malformed) => life.ground.finds("wire", malformed.to_string()),
                },
                Ok(None) => return "the controller ended it".to_owned(),
                Err(status) => return with_causes(&status),
            },
            _ = beat.tick() => {
                if last_ack.elapsed() > beat_every * 3 + PATIENCE {
                    return "no leader answered".to_owned();
                }
                sequence += 1;
                // A queue that is full holds heartbeats enough.
                let _ = out.try_send(FromAgent::Heartbeat { sequence }.into());
                begins_steps(&life.goal.borrow(), &acknowledged, &out);
            }
            _ = look.tick() => {
                let findings = probes.look(life);
                if !findings.is_empty() {
                    let _ = out.try_send(FromAgent::Evidence { findings }.into());
                }
            }
        }
    }
}

/// S2: a controller that is behind what the agent holds gives it nothing.
fn is_told(life: &Life, goal: Goal, acknowledged: &BTreeSet<Attempt>, out: &mpsc::Sender<AgentMessage>) {
    let held = life.goal.borrow().generation;
    if goal.generation < held {
        let detail = format!("{} was given goal {} after {held} in one session", life.id, goal.generation);
        return life.ground.finds("S2", detail);
    }
    begins_steps(&goal, acknowledged, out);
    life.goal.send_replace(goal);
}

/// Each is done as soon as it is asked for, and told until that is acknowledged.
fn begins_steps(goal: &Goal, acknowledged: &BTreeSet<Attempt>, out: &mpsc::Sender<AgentMessage>) {
    for given in &goal.assignments {
        if acknowledged.contains(&(given.plan, given.step, given.attempt)) {
            continue;
        }
        let report = StepReport {
            plan: given.plan,
            step: given.step,
            attempt: given.attempt,
            epoch: given.epoch,
            result: StepResult::Done { note: "done".into() },
        };
        let _ = out.try_send(FromAgent::Step(report).into());
    }
}
