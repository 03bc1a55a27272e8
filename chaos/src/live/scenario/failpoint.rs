//! One process killed at one boundary of what a plan does, and started again as its supervisor would.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use decision::plan::Plan;
use nix::unistd::Pid;
use serde::Serialize;

use super::{BACK_WITHIN, Runner, Story, steady, steady_since};
use crate::live::clock::{ms, now_ns};
use crate::live::cluster::Cluster;
use crate::live::judge::{Judgement, judge};
use crate::live::options::{Options, REGIONS};
use crate::live::record::Who;

const REACHED_WITHIN: Duration = Duration::from_secs(60);
const NOBODY_FELL: &str = "somebody came there, and nobody was killed";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "why")]
pub enum Verdict {
    Passed,
    /// Nobody came there: nothing was tried.
    NeverReached,
    Broken(Vec<String>),
}

/// What came of one.
#[derive(Clone, Debug, Serialize)]
pub struct Crash {
    pub story: Story,
    pub point: String,
    /// Who was killed.
    pub process: Vec<String>,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The client's longest time without an acknowledgement; none where no client was there yet.
    pub unavailability_ms: Option<f64>,
    /// Which were opened, and how they ended.
    pub plans: Vec<String>,
    /// From the beginning until all three regions follow again and no plan is open.
    pub well_after_ms: f64,
    pub evidence: Option<PathBuf>,
}

impl Crash {
    /// Not even what it was after is known.
    pub fn never_ended(story: Story, point: &str, error: &anyhow::Error) -> Crash {
        Crash {
            story,
            point: point.to_owned(),
            process: Vec::new(),
            verdict: Verdict::Broken(vec![format!("{error:#}")]),
            unavailability_ms: None,
            plans: Vec::new(),
            well_after_ms: f64::INFINITY,
            evidence: None,
        }
    }
}

impl Runner<'_> {
    /// Nobody is killed; gives the points that anybody passed.
    pub fn rehearse(&mut self, story: Story) -> anyhow::Result<BTreeSet<String>> {
        let cluster = self.cluster;
        if story != Story::Begins {
            let primary = cluster.wait_healthy()?;
            cluster.place_leader(primary, false)?;
            story.prepare(cluster, primary)?;
            // Else there may be nothing to rewind.
            let load = cluster.load(primary, self.through, self.next_id)?;
            steady(&load, None)?;
            cluster.take_passed()?;
            story.begin(cluster, primary)?;
            // Which were not, whoever asked finds out.
            let _ = cluster.eventually("last point", REACHED_WITHIN, || {
                Ok(story.points().iter().all(|point| cluster.has_passed(point)).then_some(()))
            });
            cluster.wait_healthy()?;
            (_, self.next_id) = load.finish();
            story.tidy(cluster, primary)?;
        }
        cluster.take_passed()
    }

    /// Whoever comes to `point` while this goes on is killed there.
    pub fn crash_at(&mut self, story: Story, point: &str) -> anyhow::Result<Crash> {
        let cluster = self.cluster;
        let primary = cluster.wait_healthy().context("before the crash")?;
        cluster.place_leader(primary, false)?;
        cluster.end_segment(primary)?;
        story.prepare(cluster, primary)?;
        let journal = cluster.journal_end()?;
        let guards = guards(cluster)?;
        let load = cluster.load(primary, self.through, self.next_id)?;
        steady(&load, None)?;
        cluster.take_passed()?;
        cluster.set_failpoint(point)?;
        let began_ns = now_ns();
        let mut broken = Vec::new();
        let ((was_reached, to), mut process) = cluster.supervised(self.down, || {
            // A wish may be lost with the leader that was asked.
            let begun = story.begin(cluster, primary);
            let reached =
                cluster.eventually("crash", REACHED_WITHIN, || Ok(cluster.was_reached(point).then_some(())));
            cluster.clear_failpoint(point);
            if reached.is_err() {
                begun?;
            }
            if let Err(error) = steady_since(&load, now_ns()) {
                broken.push(format!("L1: {error:#}"));
            }
            if let Some(end) = story.end() {
                let passed = || Ok(cluster.has_passed(end).then_some(()));
                if let Err(error) = cluster.eventually(end, BACK_WITHIN, passed) {
                    broken.push(format!("S9: {error:#}"));
                }
            }
            let well = cluster.wait_healthy();
            story.tidy(cluster, primary)?;
            // Tidying may have opened plans of its own.
            Ok((reached.is_ok(), well.and_then(|_| cluster.wait_healthy())))
        })?;
        let well_after_ms = ms(now_ns()) - ms(began_ns);
        // None that the harness itself started.
        if process.is_empty() {
            let now = self::guards(cluster)?;
            let fell = guards.iter().filter(|guard| !now.contains(guard));
            process.extend(fell.map(|(region, _)| format!("{region}-guard")).collect::<BTreeSet<_>>());
        }
        if let Err(error) = to {
            broken.push(format!("L2, L3: {error:#}"));
        }
        let (attempts, next_id) = load.finish();
        let rows = self.rows_in_the_end()?;
        broken.extend(self.without_all_rows(&rows));
        self.next_id = next_id;
        self.runs += 1;
        let judged = judge(&attempts, began_ns, &rows);
        broken.extend(unsafe_ones(story, &judged));
        let mut plans = Vec::new();
        for (Plan { id, kind, from, to, .. }, ended) in cluster.plans_since(journal)? {
            match ended {
                Some(status) => plans.push(format!("{kind} from {from} to {to}: {status:?}")),
                None => broken.push(format!("S9: {id}, a {kind} to {to}, never ended")),
            }
        }
        if was_reached && process.is_empty() {
            broken.push(NOBODY_FELL.to_owned());
        }
        let verdict = match (was_reached, broken.is_empty()) {
            (false, _) => Verdict::NeverReached,
            (true, true) => Verdict::Passed,
            (true, false) => Verdict::Broken(broken),
        };
        let evidence = match verdict {
            Verdict::Passed => None,
            _ => Some(self.write(&attempts, &[], began_ns, &rows)?),
        };
        Ok(Crash {
            story,
            point: point.to_owned(),
            process,
            verdict,
            unavailability_ms: Some(judged.gap_ms),
            plans,
            well_after_ms,
            evidence,
        })
    }
}

fn guards(cluster: &Cluster) -> anyhow::Result<BTreeSet<(&'static str, Pid)>> {
    let mut guards = BTreeSet::new();
    for region in REGIONS {
        guards.extend(cluster.guards(region)?.into_iter().map(|pid| (region, pid)));
    }
    Ok(guards)
}

/// Whose commits wait for a replica loses nothing, whatever becomes of the plan; unless a person accepted it.
fn unsafe_ones(story: Story, judged: &Judgement) -> Vec<String> {
    let mut found = Vec::new();
    let overlap_ms = judged.overlap_ms.unwrap_or(f64::NEG_INFINITY);
    if overlap_ms > 0.0 || judged.late_acks > 0 {
        found.push(format!("S1: two writers for {overlap_ms:.0} ms, {} rows were late", judged.late_acks));
    }
    for who in [Who::Client, Who::Inside].into_iter().filter(|_| story != Story::Forced) {
        if let Some(lost) = judged.lost.get(&who) {
            found.push(format!("S3: {} acknowledged rows of {who:?} are lost", lost.count));
        }
    }
    found
}

/// A cluster begins, and whoever comes to `point` meanwhile is killed there.
pub fn begin_with(options: Options, point: &str) -> anyhow::Result<(Cluster, Crash)> {
    let began = Instant::now();
    let cluster = Cluster::start(Options { failpoint: Some(point.to_owned()), ..options })?;
    let process = cluster.fallen.clone();
    let verdict = match (cluster.was_reached(point), process.is_empty()) {
        (false, _) => Verdict::NeverReached,
        (true, false) => Verdict::Passed,
        (true, true) => Verdict::Broken(vec![NOBODY_FELL.to_owned()]),
    };
    let crash = Crash {
        story: Story::Begins,
        point: point.to_owned(),
        process,
        verdict,
        unavailability_ms: None,
        plans: Vec::new(),
        well_after_ms: began.elapsed().as_secs_f64() * 1e3,
        evidence: None,
    };
    Ok((cluster, crash))
}
