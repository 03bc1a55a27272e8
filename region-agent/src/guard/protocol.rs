//! What agent and guard say to each other: one JSON object a line, both ways.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use decision::database::deadline::Lease;
use decision::database::deadline::Refused;
use serde::{Deserialize, Serialize};

pub const VERSION: u32 = 1;
/// With the newline.
pub const MOST_LINE: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub v: u32,
    pub id: u64,
    #[serde(flatten)]
    pub ask: Ask,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Ask {
    Start(Start),
    Lease(Lease),
    Stop {
        mode: StopMode,
    },
    /// Fence now; answered when every process is proven gone.
    Kill,
    Status,
    /// End the guard; only while nothing runs.
    Quit,
}

/// PostgreSQL, to be run as the guard's child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The program first.
    pub argv: Vec<String>,
    /// All of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whom it runs as; none: as whom the guard runs.
    #[serde(default)]
    pub os_user: Option<String>,
    pub cwd: PathBuf,
    /// For its standard output and error; opened as that user.
    pub log_file: PathBuf,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May take writes, until the deadline.
    Primary(Lease),
    /// In recovery, so it takes no writes and has no deadline.
    Replica,
}

/// PostgreSQL's three ways to shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    Smart,
    Fast,
    Immediate,
}

/// A line of the guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub v: u32,
    #[serde(flatten)]
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    Answer {
        id: u64,
        answer: Answer,
    },
    Refusal {
        /// None: the request was so broken that it had none.
        id: Option<u64>,
        refusal: Refusal,
    },
    Event(Event),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Started {
        run: u64,
        pid: i32,
    },
    Leased,
    Signalled {
        pid: i32,
    },
    /// None: nothing ran.
    Killed(Option<Fenced>),
    Status(Box<Status>),
    Quitting,
}

/// Why a request was refused. Nothing was changed by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    pub code: Code,
    pub why: String,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        let code = match refused {
            Refused::Expired => Code::Expired,
            Refused::StaleEpoch { .. } => Code::StaleEpoch,
            Refused::Backward { .. } => Code::Backward,
            Refused::Past { .. } => Code::Past,
            Refused::TooFar => Code::TooFar,
        };
        Refusal { code, why: refused.to_string() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    NotUnderstood,
    OtherVersion,
    /// A postmaster runs, or its last processes are not gone yet.
    Running,
    NotRunning,
    StaleEpoch,
    Backward,
    Past,
    TooFar,
    /// Fencing has begun.
    Expired,
    /// The program could not be started.
    Failed,
}

/// What the guard tells by itself, to the client that is connected then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The postmaster ended. Its children may live for another moment: the lease is still in use.
    Exited(Ended),
    /// The postmaster and every process it left are proven gone.
    Gone(Ended),
}

/// How a postmaster ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub run: u64,
    pub pid: i32,
    pub status: ExitStatus,
    pub by: By,
    /// By the wall clock, Unix milliseconds.
    pub at_ms: u64,
    /// Of a fence, once it is done.
    pub fenced: Option<Fenced>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    Itself,
    /// Told to stop.
    Asked,
    Fenced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    Deadline,
    Asked,
}

/// A fence that is done: no process is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fenced {
    pub why: Why,
    /// From the deadline, or the request, to the last signal of the first round.
    pub signalled_us: u64,
    /// From the same moment to the proof that no process was left.
    pub gone_us: u64,
    /// How many processes were killed.
    pub killed: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: i32,
    /// Its clock now.
    pub now_ns: u64,
    /// The highest epoch that this guard accepted.
    pub epoch: Option<u64>,
    pub running: Option<Running>,
    pub last: Option<Ended>,
    /// Whether the second process lives that fences if this one is killed or hangs.
    pub backstop: bool,
    pub watchdog: WatchdogState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub run: u64,
    pub pid: i32,
    /// By the wall clock, Unix milliseconds.
    pub started_ms: u64,
    pub phase: Phase,
    /// What it is armed with; none: a replica that never was.
    pub lease: Option<Lease>,
    pub remaining_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Up,
    Stopping,
    /// The postmaster ended; what it left is being killed.
    Clearing,
    Fencing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchdogState {
    /// None was asked for.
    Absent,
    /// Nothing is armed.
    Closed,
    Open,
    Failed(String),
}

/// Reads one line.
///
/// # Errors
/// The answer to send, with the id if there was one.
pub fn parse(line: &[u8]) -> Result<Request, (Option<u64>, Refusal)> {
    #[derive(Deserialize)]
    struct Head {
        v: u32,
        id: u64,
    }
    let not_understood = |id| {
        move |error: serde_json::Error| {
            (id, Refusal { code: Code::NotUnderstood, why: format!("not a request: {error}") })
        }
    };
    let head: Head = serde_json::from_slice(line).map_err(not_understood(None))?;
    if head.v != VERSION {
        let why = format!("version {} of the protocol; this guard speaks {VERSION}", head.v);
        return Err((Some(head.id), Refusal { code: Code::OtherVersion, why }));
    }
    serde_json::from_slice(line).map_err(not_understood(Some(head.id)))
}

/// The line, with its newline.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("has only string keys");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_they_are_documented() {
        let cases = [
            (r#"{"v":1,"id":1,"do":"kill"}"#, Ask::Kill),
            (r#"{"v":1,"id":1,"do":"status","new":"ignored"}"#, Ask::Status),
            (r#"{"v":1,"id":1,"do":"quit"}"#, Ask::Quit),
            (r#"{"v":1,"id":1,"do":"stop","mode":"fast"}"#, Ask::Stop { mode: StopMode::Fast }),
            (
                r#"{"v":1,"id":1,"do":"lease","epoch":18446744073709551615,"deadline_ns":7}"#,
                Ask::Lease(Lease { epoch: u64::MAX, deadline_ns: 7 }),
            ),
            (
                r#"{"v":1,"id":1,"do":"start","argv":["postgres"],"cwd":"/","log_file":"/l","role":{"primary":{"epoch":1,"deadline_ns":2}}}"#,
                Ask::Start(Start {
                    argv: vec!["postgres".into()],
                    env: BTreeMap::new(),
                    os_user: None,
                    cwd: "/".into(),
                    log_file: "/l".into(),
                    role: Role::Primary(Lease { epoch: 1, deadline_ns: 2 }),
                }),
            ),
        ];
        for (text, ask) in cases {
            let request = parse(text.as_bytes()).unwrap();
            assert_eq!((request.id, &request.ask), (1, &ask));
            let again = line(&request);
            assert_eq!(again.last(), Some(&b'\n'));
            assert_eq!(parse(&again).unwrap(), request);
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_what_can_be_told() {
        let cases: [(&[u8], Option<u64>, Code); 9] = [
            (b"", None, Code::NotUnderstood),
            (b"\xff\x00", None, Code::NotUnderstood),
            (b"[1]", None, Code::NotUnderstood),
            (br#"{"id":3,"do":"kill"}"#, None, Code::NotUnderstood),
            (br#"{"v":2,"id":3,"do":"new"}"#, Some(3), Code::OtherVersion),
            (br#"{"v":1,"id":3,"do":"disarm"}"#, Some(3), Code::NotUnderstood),
            (br#"{"v":1,"id":3,"do":"lease","epoch":1}"#, Some(3), Code::NotUnderstood),
            (br#"{"v":1,"id":3,"do":"lease","epoch":-1,"deadline_ns":1}"#, Some(3), Code::NotUnderstood),
            // A primary without a deadline.
            (
                br#"{"v":1,"id":3,"do":"start","argv":["p"],"cwd":"/","log_file":"/l","role":"primary"}"#,
                Some(3),
                Code::NotUnderstood,
            ),
        ];
        for (text, id, code) in cases {
            let (told, refusal) = parse(text).unwrap_err();
            assert_eq!((told, refusal.code), (id, code), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn nested_garbage_does_not_exhaust_the_stack() {
        assert!(parse("[".repeat(MOST_LINE).as_bytes()).is_err());
        let deep = format!("{{\"v\":1,\"id\":1,\"do\":{}", "[".repeat(MOST_LINE));
        assert!(parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn what_the_guard_says_reads_back() {
        let ended = Ended {
            run: 1,
            pid: 7,
            status: ExitStatus::Signal(9),
            by: By::Fenced,
            at_ms: 5,
            fenced: Some(Fenced { why: Why::Deadline, signalled_us: 1, gone_us: 2, killed: 3 }),
        };
        let bodies = [
            Body::Answer { id: 1, answer: Answer::Leased },
            Body::Refusal { id: None, refusal: Refusal { code: Code::Past, why: "late".into() } },
            Body::Event(Event::Gone(ended)),
        ];
        for body in bodies {
            let message = Message { v: VERSION, body };
            assert_eq!(serde_json::from_slice::<Message>(&line(&message)).unwrap(), message);
        }
    }
}
