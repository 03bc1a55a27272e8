//! One stream, from its opening to its end.

use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use wire::agent::{FromAgent, ToAgent};
use wire::connect::{ChannelOptions, channel, with_causes};
use wire::failpoint;
use wire::host::Host;
use wire::proto::regent::v1::agents_client::AgentsClient;
use wire::proto::regent::v1::{AgentMessage, ControllerMessage};
use wire::tls::Expect;

use super::{Session, connect_timeout};
use crate::outbox::Outgoing;

/// Messages under way to a controller that is slow to read.
const QUEUE: usize = 64;
const FINDINGS_A_MESSAGE: usize = 500;
/// All evidence is told again this often, in case some was lost on the way.
const REFRESH: Duration = Duration::from_secs(30);
/// Goals of ten thousand checks have some 4 MiB.
const GOAL_MAX_BYTES: usize = 64 << 20;
/// Without an acknowledgement for so many heartbeats, the controller knows no leader.
const UNANSWERED_HEARTBEATS: u32 = 3;
/// So long the quickest profile has no leader when one is lost: whoever left meanwhile would be silent for
/// longer, as every controller is without a leader then.
const ELECTION: Duration = Duration::from_millis(300);
/// The first one takes longer: the session has to be opened in the log.
const OPENING: Duration = Duration::from_millis(500);
/// What tests end this process before and after.
const TELL_STEP: &str = "tell-step";

pub(super) struct Ended {
    /// Whether a leader had heard of this session.
    pub(super) was_acknowledged: bool,
    /// Whether nothing worse is known than that heartbeats were not acknowledged.
    pub(super) was_silent: bool,
    pub(super) why: String,
}

impl Ended {
    fn before_it_began(why: String) -> Ended {
        Ended { was_acknowledged: false, was_silent: false, why }
    }
}

struct Open<'a> {
    session: &'a Session,
    acknowledged: &'a Notify,
    outbound: mpsc::Sender<AgentMessage>,
    sequence: u64,
    last_ack: Instant,
    was_acknowledged: bool,
    was_silent: bool,
}

/// Opens a session with this controller and holds it as long as it is any good. `acknowledged` is
/// told once a leader has heard of it.
pub(super) async fn hold(session: &Session, host: &Host, address: &str, acknowledged: &Notify) -> Ended {
    let heartbeat = session.goals.held().heartbeat();
    let (outbound, receiver) = mpsc::channel(QUEUE);
    let hello = FromAgent::Hello {
        agent: session.agent.clone(),
        info: session.info.clone(),
        held_generation: session.goals.held().goal.generation,
    };
    outbound.try_send(hello.into()).expect("the queue is new");
    let options = ChannelOptions {
        connect_timeout: connect_timeout(heartbeat),
        keepalive_interval: heartbeat * 2,
        keepalive_timeout: connect_timeout(heartbeat),
    };
    let channel = channel(host, &session.credentials, address, Expect::AnyController, options);
    let mut client = AgentsClient::new(channel).max_decoding_message_size(GOAL_MAX_BYTES);
    let patience = options.connect_timeout + OPENING + heartbeat * UNANSWERED_HEARTBEATS;
    let opening = tokio::time::timeout(patience, client.session(ReceiverStream::new(receiver)));
    let mut inbound = match opening.await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return Ended::before_it_began(with_causes(&status)),
        Err(_) => return Ended::before_it_began(format!("no answer within {patience:?}")),
    };
    let mut open = Open {
        session,
        acknowledged,
        outbound,
        sequence: 0,
        last_ack: Instant::now() + OPENING,
        was_acknowledged: false,
        was_silent: false,
    };
    let why = open.converse(&mut inbound, heartbeat).await;
    Ended { was_acknowledged: open.was_acknowledged, was_silent: open.was_silent, why }
}

impl Open<'_> {
    /// Until the stream is of no more use; says why.
    async fn converse(
        &mut self,
        inbound: &mut tonic::Streaming<ControllerMessage>,
        mut heartbeat: Duration,
    ) -> String {
        let Session { goals, book, outbox, .. } = self.session;
        let mut goal = goals.watch();
        let mut beat = ticker(heartbeat);
        // Both at once as well: this controller may know nothing.
        let mut refresh = ticker(REFRESH);
        let mut resend = ticker(Duration::from_secs(1).max(heartbeat * 3));
        let outbound = self.outbound.clone();
        loop {
            let has_more = book.has_untold() || outbox.has_some();
            tokio::select! {
                received = inbound.message() => match received {
                    Ok(Some(message)) => self.hear(message),
                    Ok(None) => return "the controller ended it".to_owned(),
                    Err(status) => return with_causes(&status),
                },
                _ = beat.tick() => {
                    let silent = self.last_ack.elapsed();
                    if silent > heartbeat * UNANSWERED_HEARTBEATS + ELECTION {
                        self.was_silent = true;
                        return format!("no leader answered for {} ms", silent.as_millis());
                    }
                    self.beat();
                }
                _ = refresh.tick() => book.refresh(),
                _ = resend.tick() => outbox.resend(),
                Ok(()) = goal.changed() => {
                    let wanted = goal.borrow_and_update().heartbeat();
                    if wanted != heartbeat {
                        heartbeat = wanted;
                        beat = ticker(heartbeat);
                    }
                }
                reserved = outbound.reserve(), if has_more => match reserved {
                    Ok(permit) => if let Some(message) = self.next_message() {
                        permit.send(message);
                    },
                    Err(_) => return "the stream was closed".to_owned(),
                },
                () = book.changed() => {}
                () = outbox.changed() => {}
            }
        }
    }

    /// A queue that is full holds heartbeats enough.
    fn beat(&mut self) {
        self.sequence += 1;
        let _ = self.outbound.try_send(FromAgent::Heartbeat { sequence: self.sequence }.into());
    }

    fn next_message(&self) -> Option<AgentMessage> {
        let Session { book, outbox, .. } = self.session;
        let message = match outbox.take() {
            Some(Outgoing::Report(report)) => {
                failpoint::before(TELL_STEP);
                FromAgent::Step(report)
            }
            Some(Outgoing::Refusal { what, why }) => FromAgent::Refusal { what, why },
            None => FromAgent::Evidence { findings: book.take(FINDINGS_A_MESSAGE, Instant::now()) },
        };
        let is_empty = matches!(&message, FromAgent::Evidence { findings } if findings.is_empty());
        (!is_empty).then(|| message.into())
    }

    fn hear(&mut self, message: ControllerMessage) {
        let Session { goals, outbox, contact, metrics, agent, .. } = self.session;
        contact.note();
        match ToAgent::try_from(message) {
            Ok(ToAgent::Welcome { member, region }) => {
                tracing::info!(%agent, member, region, "session with a controller");
            }
            Ok(ToAgent::Goal(goal)) => {
                let generation = goal.generation;
                if let Err(stale) = goals.offer(*goal) {
                    metrics.goals_refused.add();
                    tracing::warn!(%stale, "kept the goal that is held");
                    outbox.refuse(format!("goal of generation {generation}"), stale.to_string());
                }
            }
            Ok(ToAgent::HeartbeatAck { .. }) => {
                if !self.was_acknowledged {
                    metrics.sessions_opened.add();
                    metrics.session_open.set(1);
                    self.acknowledged.notify_one();
                }
                self.was_acknowledged = true;
                self.last_ack = self.last_ack.max(Instant::now());
            }
            Ok(ToAgent::StepAck { plan, step, attempt }) => {
                failpoint::after(TELL_STEP);
                outbox.acknowledged((plan, step, attempt));
            }
            Err(malformed) => {
                tracing::error!(%malformed, "a controller's message makes no sense; is this agent too old?");
                outbox.refuse("a message of a controller", malformed.to_string());
            }
        }
    }
}

/// Ticks at once, and then each period; late ticks do not pile up.
fn ticker(period: Duration) -> Interval {
    let mut ticker = tokio::time::interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}
