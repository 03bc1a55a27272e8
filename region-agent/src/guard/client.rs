//! The agent's side: finds the guard or starts it, asks it, and hears what it tells.
//!
//! Every method may be given up at any time. A request that was given up may have been carried out;
//! `status` tells.

use std::collections::HashMap;
use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use wire::failpoint;

use super::protocol::{
    Answer, Ask, Body, Event, Fenced, Lease, MOST_LINE, Message, Refusal, Request, Start, Status, StopMode,
    VERSION, line,
};
use super::{Settings as GuardSettings, now_ns};

const PROGRAM: &str = "regent-guard";
/// Between two tries to connect to a guard that starts.
const RETRY: Duration = Duration::from_millis(5);
/// Between two tries to start one, while another one ends.
const RESTART: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub struct Settings {
    pub guard: GuardSettings,
    /// None: beside the program that runs.
    pub program: Option<PathBuf>,
    /// For the guard to start, and for each answer but that of `kill`.
    pub timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("the guard cannot be started: {0}")]
    CannotStart(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the guard did not answer within {} ms; the request may have been carried out", .0.as_millis())]
    Timeout(Duration),
    #[error(
        "the connection to the guard was lost: it ended, or another agent took over; connect again to learn which"
    )]
    Lost,
    #[error(
        "the guard's clock is not this process's: are they in different time namespaces? It must not be armed"
    )]
    OtherClock,
    #[error("the guard gave an answer that does not fit: {0}")]
    Misfit(String),
}

/// The events of one connection, in order; it ends when the connection does.
pub type Events = mpsc::UnboundedReceiver<Event>;

/// A connection to a guard. It ends when the last copy is dropped; the guard stays.
#[derive(Clone, Debug)]
pub struct Guard {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    lines: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
    timeout: Duration,
    reader: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Guard {
    /// Connects to the guard that runs, or starts one that outlives this process. Takes over from
    /// whoever was connected before. What happened before may be in the status, in the events, or in
    /// both.
    ///
    /// # Errors
    /// A guard that was started, and did not answer in time, is left running.
    pub async fn connect_or_spawn(settings: &Settings) -> Result<(Guard, Events, Status), GuardError> {
        let deadline = Instant::now() + settings.timeout;
        let mut why = "it did not listen in time".to_owned();
        let mut started: Option<Child> = None;
        loop {
            let error = match UnixStream::connect(&settings.guard.socket).await {
                Ok(stream) => match Guard::greet(stream, settings.timeout).await {
                    // One that is just ending accepts, and says no more.
                    Err(GuardError::Lost) if Instant::now() < deadline => {
                        sleep(RETRY).await;
                        continue;
                    }
                    outcome => return outcome,
                },
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                return Err(GuardError::CannotStart(why));
            }
            match &mut started {
                _ if error.kind() == io::ErrorKind::WouldBlock => {
                    why = "one runs, and too many wait to be accepted by it".to_owned();
                    sleep(RETRY).await;
                }
                _ if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                    let socket = settings.guard.socket.display();
                    return Err(GuardError::CannotStart(format!("{socket}: {error}")));
                }
                None => started = Some(spawn(settings)?),
                Some(child) => match child.try_wait() {
                    Ok(None) => sleep(RETRY).await,
                    // Perhaps the last one had not quite ended.
                    Ok(Some(_)) => {
                        why = last_words(child, deadline).await;
                        started = None;
                        sleep(RESTART).await;
                    }
                    Err(error) => return Err(GuardError::CannotStart(error.to_string())),
                },
            }
        }
    }

    /// Connects to the guard that runs.
    ///
    /// # Errors
    /// When none does; none is started.
    pub async fn connect(settings: &Settings) -> Result<(Guard, Events, Status), GuardError> {
        let stream = UnixStream::connect(&settings.guard.socket).await.map_err(|_| GuardError::Lost)?;
        Guard::greet(stream, settings.timeout).await
    }

    async fn greet(stream: UnixStream, timeout: Duration) -> Result<(Guard, Events, Status), GuardError> {
        let (reader, writer) = stream.into_split();
        let (lines, to_write) = mpsc::unbounded_channel();
        let (tell, events) = mpsc::unbounded_channel();
        let waiting = Arc::<Waiting>::default();
        // Ends when the last sender is dropped, or nobody hears.
        tokio::spawn(write(writer, to_write));
        let reader = tokio::spawn(read(reader, Arc::clone(&waiting), tell)).abort_handle();
        let inner = Inner { lines, waiting, next: AtomicU64::new(1), timeout, reader };
        let guard = Guard { inner: Arc::new(inner) };
        let before = now_ns();
        let status = guard.status().await?;
        if !(before..=now_ns()).contains(&status.now_ns) {
            return Err(GuardError::OtherClock);
        }
        Ok((guard, events, status))
    }

    /// Starts PostgreSQL; returns its process number.
    ///
    /// # Errors
    /// Also when one runs. A program that fails right after its start is told as an event.
    pub async fn start(&self, start: Start) -> Result<i32, GuardError> {
        match self.ask(Ask::Start(start)).await? {
            Answer::Started { pid, .. } => Ok(pid),
            other => Err(misfit(&other)),
        }
    }

    /// Moves the deadline on, or arms a replica before it is promoted. Once this returned, the
    /// postmaster is armed until its end.
    ///
    /// # Errors
    /// The deadline is as it was, unless there was no answer.
    pub async fn lease(&self, lease: Lease) -> Result<(), GuardError> {
        match self.ask(Ask::Lease(lease)).await? {
            Answer::Leased => Ok(()),
            other => Err(misfit(&other)),
        }
    }

    /// Tells the postmaster to shut down, and does not wait: its end is an event.
    ///
    /// # Errors
    /// When none runs.
    pub async fn stop(&self, mode: StopMode) -> Result<(), GuardError> {
        match self.ask(Ask::Stop { mode }).await? {
            Answer::Signalled { .. } => Ok(()),
            other => Err(misfit(&other)),
        }
    }

    /// Fences now, and waits up to `patience` for the proof that no process is left; none if nothing
    /// ran.
    ///
    /// # Errors
    /// It goes on killing all the same, unless the request did not reach it.
    pub async fn kill(&self, patience: Duration) -> Result<Option<Fenced>, GuardError> {
        match self.ask_within(Ask::Kill, patience).await? {
            Answer::Killed(fenced) => Ok(fenced),
            other => Err(misfit(&other)),
        }
    }

    /// # Errors
    /// When there is no answer.
    pub async fn status(&self) -> Result<Status, GuardError> {
        match self.ask(Ask::Status).await? {
            Answer::Status(status) => Ok(*status),
            other => Err(misfit(&other)),
        }
    }

    /// Ends the guard.
    ///
    /// # Errors
    /// While a postmaster runs.
    pub async fn quit(&self) -> Result<(), GuardError> {
        match self.ask(Ask::Quit).await? {
            Answer::Quitting => Ok(()),
            other => Err(misfit(&other)),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, GuardError> {
        self.ask_within(ask, self.inner.timeout).await
    }

    async fn ask_within(&self, ask: Ask, patience: Duration) -> Result<Answer, GuardError> {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let request = line(&Request { v: VERSION, id, ask });
        if request.len() > MOST_LINE {
            return Err(GuardError::Misfit("the request is longer than 64 KiB and was not sent".to_owned()));
        }
        let answer = self.inner.waiting.expect(id).ok_or(GuardError::Lost)?;
        let _forget = Forget { waiting: &self.inner.waiting, id };
        self.inner.lines.send(request).map_err(|_| GuardError::Lost)?;
        match timeout(patience, answer).await {
            Ok(Ok(outcome)) => Ok(outcome?),
            Ok(Err(_)) => Err(GuardError::Lost),
            Err(_) => Err(GuardError::Timeout(patience)),
        }
    }
}

fn misfit(answer: &Answer) -> GuardError {
    GuardError::Misfit(format!("{answer:?}"))
}

type Outcome = Result<Answer, Refusal>;

/// Who waits for which answer; none once the connection is lost.
#[derive(Debug)]
struct Waiting(Mutex<Option<HashMap<u64, oneshot::Sender<Outcome>>>>);

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting(Mutex::new(Some(HashMap::new())))
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Outcome>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, id: u64) -> Option<oneshot::Receiver<Outcome>> {
        let (sender, receiver) = oneshot::channel();
        self.lock().as_mut()?.insert(id, sender);
        Some(receiver)
    }

    fn take(&self, id: u64) -> Option<oneshot::Sender<Outcome>> {
        self.lock().as_mut()?.remove(&id)
    }
}

/// A request that was given up is waited for no longer.
struct Forget<'a> {
    waiting: &'a Waiting,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.take(self.id);
    }
}

/// Whole lines only, whoever gives up.
async fn write(mut stream: OwnedWriteHalf, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        if stream.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn read(stream: OwnedReadHalf, waiting: Arc<Waiting>, events: mpsc::UnboundedSender<Event>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    let why = loop {
        line.clear();
        match (&mut stream).take(MOST_LINE as u64).read_until(b'\n', &mut line).await {
            Ok(count) if count > 0 => {}
            Ok(_) => break "it was closed".to_owned(),
            Err(error) => break error.to_string(),
        }
        match serde_json::from_slice::<Message>(&line).map(|message| message.body) {
            Ok(Body::Answer { id, answer }) => settle(&waiting, id, Ok(answer)),
            Ok(Body::Refusal { id: Some(id), refusal }) => settle(&waiting, id, Err(refusal)),
            Ok(Body::Refusal { id: None, refusal }) => {
                tracing::error!(%refusal, "the guard did not understand")
            }
            Ok(Body::Event(event)) => {
                // Whoever dropped the receiver wants none.
                let _ = events.send(event);
            }
            Err(error) => break format!("it said what is not understood: {error}"),
        }
    };
    tracing::debug!(why, "the connection to the guard ended");
    *waiting.lock() = None;
}

fn settle(waiting: &Waiting, id: u64, outcome: Outcome) {
    if let Some(sender) = waiting.take(id) {
        let _ = sender.send(outcome);
    }
}

fn spawn(settings: &Settings) -> Result<Child, GuardError> {
    let cannot = |why: String| GuardError::CannotStart(why);
    let program = match &settings.program {
        Some(program) => program.clone(),
        None => env::current_exe()
            .map_err(|error| cannot(format!("this program's folder is not known: {error}")))?
            .with_file_name(PROGRAM),
    };
    let mut command = Command::new(&program);
    command.arg("run").arg("--socket").arg(&settings.guard.socket).arg("--log").arg(&settings.guard.log);
    if let Some(path) = &settings.guard.watchdog {
        command.arg("--watchdog").arg(path);
    }
    // What the agent was trusted with is not the guard's to know, nor PostgreSQL's.
    command.env_clear();
    let passed_on = ["PATH"].into_iter().chain(failpoint::is_armed().then_some(failpoint::FOLDER));
    command.envs(passed_on.filter_map(|name| Some((name, env::var_os(name)?))));
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.kill_on_drop(false);
    command.spawn().map_err(|error| cannot(format!("{}: {error}", program.display())))
}

/// Why it ended, in its own words.
async fn last_words(child: &mut Child, deadline: Instant) -> String {
    let mut words = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = timeout_at(deadline, stderr.take(4096).read_to_string(&mut words)).await;
    }
    match words.trim() {
        "" => "it ended without a word; see its log".to_owned(),
        words => words.to_owned(),
    }
}
