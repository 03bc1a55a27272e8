//! How a command ends, for people and for scripts.

use std::fmt;
use std::process::ExitCode;

use decision::command::Refusal;

/// DESIGN of the exit codes: 0 done, 1 error, 2 changes pending, 3 refused by a safety rule,
/// 4 partly done, 5 timed out, 9 verification failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Error,
    Pending,
    Refused,
    Partly,
    TimedOut,
    VerificationFailed,
    /// Of a drill, by its own table.
    Drill(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::Pending => 2,
            Exit::Refused => 3,
            Exit::Partly => 4,
            Exit::TimedOut => 5,
            Exit::VerificationFailed => 9,
            Exit::Drill(code) => code,
        })
    }
}

/// What happened, what was left as it was, and what to do.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub text: String,
}

pub type Outcome = Result<Exit, Failure>;

impl Failure {
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    pub fn error(text: impl Into<String>) -> Self {
        Self::new(Exit::Error, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::error(format!("{error:#}"))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::new(Exit::Refused, format!("refused: {refusal}; nothing was changed"))
    }
}
