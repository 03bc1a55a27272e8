//! An agent's process for tests to kill and to freeze: this test program once more.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use region_agent::guard::protocol::Role;

use crate::support::{Place, lease};

const VARIABLE: &str = "REGENT_TEST_STAND_IN";
/// How far ahead of each renewal the deadline lies.
pub const AHEAD_MS: u64 = 700;
const RENEW_EVERY: Duration = Duration::from_millis(50);

/// What runs in that process; in others it is empty.
#[tokio::test]
async fn stand_in() {
    let Some(dir) = std::env::var_os(VARIABLE) else { return };
    let place = Place::borrowed(Path::new(&dir));
    let (guard, _events, _) = place.guard().await;
    let pid = guard.start(place.start(Role::Primary(lease(1, 60_000)))).await.unwrap();
    place.make_table();
    // A new epoch may bring the deadline closer.
    guard.lease(lease(2, AHEAD_MS)).await.unwrap();
    println!("\nready {pid}");
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        if let Err(error) = guard.lease(lease(2, AHEAD_MS)).await {
            println!("\nrefused {error}");
            return;
        }
    }
}

pub struct Agent {
    pub process: Child,
    pub postmaster: i32,
    pub said: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Agent {
    /// One that started PostgreSQL and renews its lease.
    pub fn start(place: &Place) -> Agent {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "agent::stand_in", "--nocapture"])
            .env(VARIABLE, &place.dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = said.find_map(|line| Some(line.unwrap().strip_prefix("ready ")?.parse().unwrap()));
        Agent { process, postmaster: ready.expect("the stand-in is ready"), said }
    }

    pub fn pid(&self) -> i32 {
        self.process.id().try_into().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
