//! The switch as its owner sees it: a process that takes orders.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::Error;
use super::error::During;
use super::order::{Answer, Order};
use super::space::{Space, remove_all};

/// The subcommand of `chaos` that is the switch.
pub const SUBCOMMAND: &str = "net-switch";

pub(super) struct Remote {
    child: Child,
    /// Taken to end it.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    spaces: Vec<Space>,
}

impl Remote {
    pub(super) fn start(spaces: Vec<Space>, seed: u64) -> Result<Remote, Error> {
        let program = program()?;
        let mut child = Command::new(&program)
            .args([SUBCOMMAND, "--seed", &seed.to_string()])
            .args(spaces.iter().map(Space::name))
            // Ctrl-C is for the owner; the switch outlives it to remove what it made.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .during(format!("starting {}", program.display()))?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut remote = Remote { child, orders, answers, spaces };
        match remote.answer()? {
            Answer::Failed(said) => Err(Error::Switch(said)),
            _ => Ok(remote),
        }
    }

    pub(super) fn ask(&mut self, order: &Order) -> Result<Answer, Error> {
        let mut line = serde_json::to_vec(order).during("writing an order")?;
        line.push(b'\n');
        let orders = self.orders.as_mut().ok_or(Error::SwitchEnded)?;
        orders.write_all(&line).map_err(|_| Error::SwitchEnded)?;
        match self.answer()? {
            Answer::Failed(said) => Err(Error::Switch(said)),
            answer => Ok(answer),
        }
    }

    fn answer(&mut self) -> Result<Answer, Error> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(length) if length > 0 => serde_json::from_str(&line).during("understanding the switch"),
            _ => Err(Error::SwitchEnded),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        drop(self.orders.take());
        // An error means that it is gone already.
        let _ = self.child.wait();
        // In case somebody killed it.
        if let Err(error) = remove_all(&self.spaces) {
            eprintln!("a network is not wholly removed: {error}");
        }
    }
}

/// `chaos` itself, or the one built beside this test.
fn program() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().during("finding this program")?;
    // target/debug/this, or target/debug/deps/this
    let found =
        own.ancestors().skip(1).take(2).map(|folder| folder.join("chaos")).find(|path| path.is_file());
    found.ok_or_else(|| Error::NotBuilt(own.with_file_name("chaos").display().to_string()))
}
