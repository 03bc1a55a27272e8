//! Ends an instance from outside of the agent, which must not run: it would start it again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::client::{Guard, GuardError, Settings};
use super::protocol::StopMode;

const STOP_WITHIN: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// # Errors
/// When the guard may still be there, and what it guards.
pub fn end(socket: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let log = socket.with_extension("log");
        let guard = super::Settings { socket, log, watchdog: None };
        let settings = Settings { guard, program: None, timeout: ANSWER_WITHIN };
        let guard = match Guard::connect(&settings).await {
            Ok((guard, ..)) => guard,
            Err(GuardError::Lost) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let until = Instant::now() + STOP_WITHIN;
        let mut told = false;
        while guard.status().await?.running.is_some() {
            if !std::mem::replace(&mut told, true) {
                // It may have ended just now.
                let _ = guard.stop(StopMode::Fast).await;
            }
            if Instant::now() > until {
                guard.kill(ANSWER_WITHIN).await.context("it did not shut down in order")?;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        guard.quit().await.context("the guard did not end")
    })
}
