//! One fault, from health to health, with everybody writing meanwhile.

mod clocks;
mod effect;
mod failpoint;
mod fault;
mod hang;
mod long;
mod quorum;
mod storm;
mod story;
mod wound;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use super::client::{Load, Through};
use super::clock::{ms, now_ns};
use super::cluster::Cluster;
use super::disk;
use super::faults::Kind;
use super::judge::{Judgement, era_at, judge};
use super::options::REGIONS;
use super::record::{Attempt, Era, Reading, Who};
use super::supervisor::RESTARTS_AFTER;

pub use clocks::ClocksJumped;
pub use effect::Effect;
pub use failpoint::{Crash, Verdict, begin_with};
pub use fault::Fault;
pub use long::Long;
pub use quorum::WithoutQuorum;
pub use storm::{Inflicted, Storm, Until};
pub use story::Story;
pub use wound::Wound;

/// After health, for whoever waits to take over to have said so.
const REST: Duration = Duration::from_secs(2);
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
const BACK_WITHIN: Duration = Duration::from_secs(120);
/// So many acknowledgements are steady work.
const STEADY: usize = 30;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What came of one fault.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub fault: Fault,
    /// Where the primary was, and where it is now.
    pub from: &'static str,
    pub to: &'static str,
    /// Whether the controllers' leader was in the region that failed.
    pub with_leader: bool,
    /// A planned move that was refused or not heard is none.
    pub has_begun: bool,
    pub judged: Judgement,
    /// How long after its last renewal the old primary may have acknowledged rows, by its lease and fence budget.
    pub guard_ms: f64,
    /// From the end of the fault until the old primary streams again; none if it stayed the primary.
    pub back_ms: Option<f64>,
    /// All that was recorded, when something is not as it should be, or it was asked for.
    pub evidence: Option<PathBuf>,
}

/// Faults one after the other in one cluster.
pub struct Runner<'a> {
    cluster: &'a Cluster,
    pub through: Through,
    /// Of every run, and not only of those that look wrong.
    pub keeps_evidence: bool,
    /// How long whoever is killed at a failpoint stays so: a supervisor's usual, if not told otherwise.
    pub down: Duration,
    next_id: i64,
    runs: usize,
}

impl<'a> Runner<'a> {
    pub fn new(cluster: &'a Cluster) -> Runner<'a> {
        let (through, down) = (Through::Direct, RESTARTS_AFTER);
        Runner { cluster, through, keeps_evidence: false, down, next_id: 1, runs: 0 }
    }

    /// In a cluster in which there was another: rows have ids of their own.
    pub fn after(cluster: &'a Cluster, next_id: i64) -> Runner<'a> {
        Runner { next_id, ..Runner::new(cluster) }
    }

    pub fn next_id(&self) -> i64 {
        self.next_id
    }

    /// `with_leader`: whether the controllers' leader is to be in the primary's region; as it is, if none.
    pub fn run(&mut self, fault: Fault, with_leader: Option<bool>) -> anyhow::Result<Run> {
        self.run_beside(fault, with_leader, |_| Ok(()))
    }

    /// The same, and so long after the fault the leader of the controllers is killed.
    pub fn run_and_kill_leader(&mut self, fault: Fault, after: Duration) -> anyhow::Result<Run> {
        self.run_beside(fault, Some(false), |cluster| {
            let leader = cluster.leader()?;
            std::thread::sleep(after);
            cluster.kill(leader, Kind::Controller)
        })
    }

    /// `beside` begins with the fault.
    fn run_beside(
        &mut self,
        fault: Fault,
        with_leader: Option<bool>,
        beside: impl FnOnce(&Cluster) -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<Run> {
        let cluster = self.cluster;
        let from = cluster.wait_healthy().context("before the fault")?;
        if let Some(with_leader) = with_leader {
            cluster.place_leader(from, with_leader)?;
        }
        disk::wait_quiet(cluster.folder())?;
        std::thread::sleep(REST);
        let with_leader = cluster.leader()? == from;
        let load = cluster.load(from, self.through, self.next_id)?;
        steady(&load, None)?;
        let before = load.book.so_far(|attempts| era_at(attempts, now_ns()).cloned());
        let before = before.context("nobody writes")?;
        let fault_ns = now_ns();
        let begun = std::thread::scope(|scope| {
            let beside = scope.spawn(|| beside(cluster));
            let begun = fault.begin(cluster, from);
            beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(begun)
        });
        // A wish may be lost with the leader that was asked.
        let has_begun = begun.is_ok();
        let recovered = begun.and_then(|()| steady(&load, Some(&before)));
        // Long enough to see what an old primary still does.
        std::thread::sleep(fault.lasts(&cluster.options));
        let ended_ns = now_ns();
        fault.end(cluster, from)?;
        REGIONS.into_iter().try_for_each(|region| cluster.restart(region))?;
        let back_ms = back(cluster, from)?.map(|back_ns| match fault.ends_by_itself() {
            true => ms(back_ns) - ms(fault_ns),
            false => ms(back_ns) - ms(ended_ns),
        });
        let to = cluster.wait_healthy().context("after the fault")?;
        let (attempts, next_id) = load.finish();
        let rows = cluster.rows(to, self.next_id)?;
        self.next_id = next_id;
        self.runs += 1;
        let judged = judge(&attempts, fault_ns, &rows);
        let evidence = match self.keeps_evidence || recovered.is_err() || is_suspicious(&judged) {
            true => Some(self.write(&attempts, &[], fault_ns, &rows)?),
            false => None,
        };
        if let Err(error) = recovered {
            eprintln!("  {fault:?} in {from}: {error:#}");
        }
        let guard_ms = cluster.options.guard_after().as_secs_f64() * 1e3;
        Ok(Run { fault, from, to, with_leader, has_begun, judged, guard_ms, back_ms, evidence })
    }

    /// What the primary has. A machine that starves may have moved it once more.
    fn rows_in_the_end(&self) -> anyhow::Result<BTreeSet<i64>> {
        let of_primary = || Ok(Some(self.cluster.rows(self.cluster.primary()?, self.next_id)?));
        self.cluster.eventually("rows", BACK_WITHIN, of_primary)
    }

    /// Which regions never have all of these, told as a broken demand.
    fn without_all_rows(&self, rows: &BTreeSet<i64>) -> Vec<String> {
        let never = |region: &&str| {
            let has_all = || Ok(self.cluster.rows(region, self.next_id)?.is_superset(rows).then_some(()));
            self.cluster.eventually("rows", BACK_WITHIN, has_all).is_err()
        };
        let told = |region| format!("L3: {region} never has all rows, though it seems to follow");
        REGIONS.into_iter().filter(never).map(told).collect()
    }

    fn write(
        &self,
        attempts: &[Attempt],
        readings: &[Reading],
        fault_ns: u64,
        rows: &BTreeSet<i64>,
    ) -> anyhow::Result<PathBuf> {
        let path = std::env::temp_dir().join(format!("live-{}-{}.json", std::process::id(), self.runs));
        let text = serde_json::json!({
            "fault_ns": fault_ns, "rows": rows, "attempts": attempts, "readings": readings,
            "journal": self.cluster.failover(&["journal", "-o", "json"]).unwrap_or_default(),
        });
        std::fs::write(&path, text.to_string()).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

/// What calls for a closer look; whether it is allowed, whoever ran it knows.
fn is_suspicious(judged: &Judgement) -> bool {
    judged.late_acks > 0 || judged.lost.contains_key(&Who::Client)
}

impl Cluster {
    fn place_leader(&self, primary: &str, there: bool) -> anyhow::Result<()> {
        let is_right = (self.leader()? == primary) == there;
        if is_right {
            return Ok(());
        }
        let other = REGIONS.into_iter().find(|region| (*region == primary) == there);
        self.lead_from(other.context("there are three regions")?)
    }
}

/// Until the client is acknowledged again and again; by others than `before`, if that is given.
pub(super) fn steady(load: &Load, before: Option<&Era>) -> anyhow::Result<()> {
    let is_wanted = |attempt: &&Attempt| attempt.era().is_some_and(|era| Some(era) != before);
    until_steady(load, |attempts| {
        attempts.iter().rev().filter(is_wanted).filter(is_clients_ack).take(STEADY).count()
    })
}

/// The same, from then on.
pub(super) fn steady_since(load: &Load, since_ns: u64) -> anyhow::Result<()> {
    let is_later = move |attempt: &&Attempt| attempt.ended_ns > since_ns;
    until_steady(load, |attempts| {
        attempts.iter().rev().take_while(is_later).filter(is_clients_ack).take(STEADY).count()
    })
}

fn is_clients_ack(attempt: &&Attempt) -> bool {
    attempt.who == Who::Client && attempt.is_acked()
}

/// `acked`: how many there are, up to [`STEADY`].
fn until_steady(load: &Load, acked: impl Fn(&[Attempt]) -> usize) -> anyhow::Result<()> {
    let began = Instant::now();
    while load.so_far(&acked) < STEADY {
        anyhow::ensure!(began.elapsed() < RECOVERED_WITHIN, "no steady writes within {RECOVERED_WITHIN:?}");
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// When the old primary streams from the new; none if there is no new one.
fn back(cluster: &Cluster, from: &str) -> anyhow::Result<Option<u64>> {
    cluster.eventually(&format!("{from} as a replica"), BACK_WITHIN, || {
        let primary = cluster.primary()?;
        if primary == from {
            return Ok(Some(None));
        }
        Ok(cluster.streaming_from(primary)?.contains(from).then(|| Some(now_ns())))
    })
}
