//! An agent's session: one long stream. It speaks only for itself; what it says is forwarded to
//! the leader, what it should do is derived from this controller's own copy of the state.

use std::sync::Arc;
use std::time::Duration;

use decision::command::{Command, Outcome};
use decision::goal::{self, Goal};
use decision::name::AgentId;
use decision::plan::StepResult;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;
use wire::agent::{FromAgent, StepReport, ToAgent};
use wire::identity::Identity;
use wire::lease::Told;
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::agents_server;

use super::caller;
use crate::controller::Controller;

const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// How long an agent that holds a newer goal waits for this controller to come as far.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(5);
const SUBMIT_WITHIN: Duration = Duration::from_secs(5);
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// Longer than any lease that is worth renewing.
const RENEW_WITHIN: Duration = Duration::from_secs(5);
/// Shortest time between two goals.
const GOAL_AT_MOST_EVERY: Duration = Duration::from_millis(5);
/// Messages to an agent that reads slowly; past it the stream waits, then its heartbeats stop.
const QUEUE: usize = 64;

pub struct Agents {
    pub controller: Arc<Controller>,
    pub shutdown: CancellationToken,
}

type Answers = mpsc::Sender<Result<pb::ControllerMessage, Status>>;

#[tonic::async_trait]
impl agents_server::Agents for Agents {
    type SessionStream = BoxStream<'static, Result<pb::ControllerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let Identity::Agent(certified) = caller(&request)? else {
            return Err(Status::permission_denied("only an agent has a session"));
        };
        let messages = request.into_inner();
        let (answers, receiver) = mpsc::channel(QUEUE);
        let controller = self.controller.clone();
        let span = tracing::info_span!("session", agent = %certified);
        let ended = self.shutdown.clone().cancelled_owned();
        let session = async move {
            tokio::select! {
                () = ended => {}
                () = answers.closed() => {}
                Err(status) = serve(&controller, certified, messages, &answers) => {
                    tracing::info!(code = ?status.code(), "session ended: {}", status.message());
                    let _ = answers.send(Err(status)).await;
                }
            }
        };
        tokio::spawn(session.instrument(span));
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewReply>, Status> {
        let Identity::Agent(agent) = caller(&request)? else {
            return Err(Status::permission_denied("only an agent holds a lease"));
        };
        let renewal = request.into_inner().into();
        let renewed = self.controller.ask_to_renew(&agent, renewal, RENEW_WITHIN).await;
        Ok(Response::new(renewed.map_err(super::members::status)?.into()))
    }

    async fn tell(&self, request: Request<pb::TellRequest>) -> Result<Response<pb::TellReply>, Status> {
        let Identity::Agent(agent) = caller(&request)? else {
            return Err(Status::permission_denied("only an agent tells of its instance"));
        };
        let told: Told = serde_json::from_slice(&request.into_inner().json)
            .map_err(|error| Status::invalid_argument(format!("what was told cannot be read: {error}")))?;
        let by = format!("agent/{agent}");
        let command = match told {
            Told::Instance { service, report } => Command::ReportInstance { agent, service, report: *report },
            Told::Released { service, epoch, clean, last_known, unwritten, why } => {
                Command::ReleaseLease { agent, service, epoch, clean, last_known, unwritten, why }
            }
        };
        let outcome = self.controller.submit(command, &by, SUBMIT_WITHIN).await.map_err(unavailable)?;
        let json = serde_json::to_vec(&outcome).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(pb::TellReply { json: json.into() }))
    }
}

/// Never gives `Ok`: a session ends by an error, or with its stream.
async fn serve(
    controller: &Arc<Controller>,
    certified: AgentId,
    mut messages: Streaming<pb::AgentMessage>,
    answers: &Answers,
) -> Result<std::convert::Infallible, Status> {
    let first = tokio::time::timeout(HELLO_WITHIN, messages.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no hello came"))??;
    let Some(FromAgent::Hello { agent, info, held_generation }) = read(first)? else {
        return Err(Status::invalid_argument("a session begins with hello"));
    };
    if agent != certified {
        return Err(Status::permission_denied(format!("the certificate is {certified}'s, not {agent}'s")));
    }
    if !controller.node.wait_applied(held_generation, CATCH_UP_WITHIN).await {
        return Err(Status::failed_precondition("this controller is behind what the agent holds"));
    }
    let by = format!("agent/{agent}");
    let opened =
        controller.submit(Command::OpenSession { agent: agent.clone(), info }, &by, SUBMIT_WITHIN).await;
    match opened.map_err(unavailable)? {
        Outcome::Refused { refusal } => return Err(Status::failed_precondition(refusal.to_string())),
        Outcome::Applied { .. } | Outcome::Unchanged | Outcome::Batch { .. } => {}
    }
    controller.tell_heard(&agent, HEARD_WITHIN).await;
    let welcome = ToAgent::Welcome { member: controller.node.id(), region: controller.region.clone() };
    send(answers, welcome).await?;

    let (beat, beats) = watch::channel(0);
    let (queue, queued) = mpsc::channel(QUEUE);
    tokio::try_join!(
        listen(messages, beat, queue),
        acknowledge(controller, &agent, beats, answers),
        carry(controller, &agent, &by, queued, answers),
        direct(controller, &agent, answers),
    )
    .map(|(never, ..)| never)
}

/// Takes messages in; heartbeats never wait behind what has to be committed.
async fn listen(
    mut messages: Streaming<pb::AgentMessage>,
    beat: watch::Sender<u64>,
    queue: mpsc::Sender<FromAgent>,
) -> Result<std::convert::Infallible, Status> {
    loop {
        let message = messages.message().await?;
        match read(message)? {
            None => return Err(Status::cancelled("the agent ended its stream")),
            Some(FromAgent::Hello { .. }) => return Err(Status::invalid_argument("hello comes once")),
            Some(FromAgent::Heartbeat { sequence }) => {
                beat.send_replace(sequence);
            }
            Some(message) => {
                queue.send(message).await.map_err(|_| Status::cancelled("the session ended"))?;
            }
        }
    }
}

/// Tells the leader that the agent is alive, and the agent that a leader knows.
async fn acknowledge(
    controller: &Controller,
    agent: &AgentId,
    mut beats: watch::Receiver<u64>,
    answers: &Answers,
) -> Result<std::convert::Infallible, Status> {
    loop {
        beats.changed().await.map_err(|_| Status::cancelled("the session ended"))?;
        let sequence = *beats.borrow_and_update();
        if controller.tell_heard(agent, HEARD_WITHIN).await {
            send(answers, ToAgent::HeartbeatAck { sequence }).await?;
        }
    }
}

/// Has what the agent says committed, in its order.
async fn carry(
    controller: &Controller,
    agent: &AgentId,
    by: &str,
    mut queued: mpsc::Receiver<FromAgent>,
    answers: &Answers,
) -> Result<std::convert::Infallible, Status> {
    loop {
        let message = queued.recv().await.ok_or_else(|| Status::cancelled("the session ended"))?;
        match message {
            FromAgent::Evidence { findings } => {
                let command = Command::Evidence { vantage: agent.clone(), findings };
                let outcome = controller.submit(command, by, SUBMIT_WITHIN).await.map_err(unavailable)?;
                if let Some(refusal) = outcome.refusal() {
                    return Err(Status::failed_precondition(refusal.to_string()));
                }
            }
            FromAgent::Step(report) => {
                let StepReport { plan, step, attempt, epoch, result } = report;
                let refused = matches!(result, StepResult::Refused { .. });
                tracing::info!(%plan, %step, %epoch, attempt, refused, "step reported");
                let command = Command::StepDone { plan, step, attempt, epoch, result };
                // A refusal is an answer too: the agent need not ask again.
                controller.submit(command, by, SUBMIT_WITHIN).await.map_err(unavailable)?;
                send(answers, ToAgent::StepAck { plan, step, attempt }).await?;
            }
            FromAgent::Refusal { what, why } => {
                let command = Command::ReportRefusal { what, why };
                controller.submit(command, by, SUBMIT_WITHIN).await.map_err(unavailable)?;
            }
            FromAgent::Hello { .. } | FromAgent::Heartbeat { .. } => {}
        }
    }
}

/// Sends the goal whenever it changed.
async fn direct(
    controller: &Controller,
    agent: &AgentId,
    answers: &Answers,
) -> Result<std::convert::Infallible, Status> {
    let mut applied = controller.node.view().applied();
    let mut sent: Option<Goal> = None;
    loop {
        applied.borrow_and_update();
        let state = controller.state();
        let live = state.sessions.get(agent).is_some_and(|session| session.live);
        let goal = goal::of_agent(&state, agent);
        drop(state);
        if !live {
            // It must begin anew, and say all that it knows.
            return Err(Status::aborted("the session was given up: too long unheard of"));
        }
        if sent.as_ref().is_none_or(|sent| sent.differs(&goal)) {
            let mut told = goal.clone();
            controller.vacancies.tell(&mut told);
            send(answers, ToAgent::Goal(Box::new(told))).await?;
            sent = Some(goal);
        }
        tokio::time::sleep(GOAL_AT_MOST_EVERY).await;
        applied.changed().await.map_err(|_| Status::unavailable("this controller is stopping"))?;
    }
}

fn read(message: Option<pb::AgentMessage>) -> Result<Option<FromAgent>, Status> {
    message
        .map(FromAgent::try_from)
        .transpose()
        .map_err(|error| Status::invalid_argument(format!("the message cannot be read: {error}")))
}

async fn send(answers: &Answers, message: ToAgent) -> Result<(), Status> {
    answers.send(Ok(message.into())).await.map_err(|_| Status::cancelled("the agent went away"))
}

fn unavailable(error: crate::controller::SubmitError) -> Status {
    Status::unavailable(error.to_string())
}
