//! Every check at its interval: one loop keeps the time of all, starts probes that are due, and
//! turns their results into changes of evidence.

mod gate;
mod probing;
mod schedule;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use decision::config::Check;
use decision::name::{CheckId, RegionName};
use decision::sick::{Period, SelfHealth};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use wire::host::Host;

use crate::book::Book;
use crate::contact::Contact;
use crate::goals::Held;
use crate::metrics::Metrics;
use crate::probe::Prober;
use gate::Gate;
use probing::{Looked, Verdict};
use schedule::{Schedule, first_spread, next_slot, within};
use watched::Watched;

/// Below this, lag is the ordinary jitter of a busy machine.
const LAG_FLOOR: Duration = Duration::from_millis(50);

/// What the watcher works with.
#[derive(Clone)]
pub struct Watcher {
    pub host: Host,
    pub prober: Arc<Prober>,
    pub book: Arc<Book>,
    pub contact: Arc<Contact>,
    pub metrics: Arc<Metrics>,
}

/// Watches what the newest goal names until `stop`.
pub async fn run(watcher: Watcher, mut goals: watch::Receiver<Arc<Held>>, stop: CancellationToken) {
    let mut watch = Watch::new(watcher);
    watch.adopt(&goals.borrow_and_update().goal.checks);
    let mut heartbeat = goals.borrow().heartbeat();
    let mut self_check = ticker(heartbeat);
    loop {
        let next_due = watch.schedule.next_due();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = goals.changed() => {
                let held = Arc::clone(&goals.borrow_and_update());
                watch.adopt(&held.goal.checks);
                if heartbeat != held.heartbeat() {
                    heartbeat = held.heartbeat();
                    self_check = ticker(heartbeat);
                }
            }
            _ = self_check.tick() => watch.judge_self(heartbeat),
            () = tokio::time::sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => {
                watch.start_due();
            }
            Some(looked) = watch.probes.join_next() => watch.finish(looked.ok()),
        }
    }
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticker = tokio::time::interval_at(Instant::now() + period, period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

struct Watch {
    with: Watcher,
    checks: Vec<Watched>,
    gates: Vec<Gate>,
    schedule: Schedule,
    probes: JoinSet<Looked>,
    health: SelfHealth,
    /// Half of the shortest interval.
    lag_limit: Duration,
    worst_lag: Duration,
}

impl Watch {
    fn new(with: Watcher) -> Watch {
        Watch {
            with,
            checks: Vec::new(),
            gates: Vec::new(),
            schedule: Schedule::default(),
            probes: JoinSet::new(),
            health: SelfHealth::default(),
            lag_limit: Duration::MAX,
            worst_lag: Duration::ZERO,
        }
    }

    /// Takes over the checks of a goal. One that is the same as before keeps what it came to.
    fn adopt(&mut self, checks: &[Check]) {
        if self.checks.len() == checks.len()
            && self.checks.iter().zip(checks).all(|(watched, check)| *watched.check == *check)
        {
            return;
        }
        let mut before: HashMap<CheckId, Watched> =
            self.checks.drain(..).map(|watched| (watched.check.id.clone(), watched)).collect();
        // Probes under way are given up: a changed configuration is rare, and the next is near.
        self.probes = JoinSet::new();
        self.schedule.clear();
        let gate_of = self.make_gates(checks);
        let now = Instant::now();
        let mut ids = HashSet::with_capacity(checks.len());
        for check in checks.iter() {
            // A configuration names a check once; if not, the first counts.
            if !ids.insert(&check.id) {
                continue;
            }
            let watched = match before.remove(&check.id).filter(|before| *before.check == *check) {
                Some(watched) => watched.interrupted(gate_of[&check.region]),
                None => Watched::new(check.clone(), gate_of[&check.region], now),
            };
            self.checks.push(watched);
        }
        self.with.book.retain(&ids);
        let shortest = checks.iter().map(|check| check.interval).min();
        self.lag_limit = shortest.map_or(Duration::MAX, |interval| (interval / 2).max(LAG_FLOOR));
        self.schedule_all(now);
        tracing::info!(checks = self.checks.len(), "watching");
    }

    fn make_gates(&mut self, checks: &[Check]) -> BTreeMap<RegionName, usize> {
        let mut by_region: BTreeMap<&RegionName, Vec<&Check>> = BTreeMap::new();
        for check in checks {
            by_region.entry(&check.region).or_default().push(check);
        }
        self.gates = by_region.values().map(|checks| Gate::for_checks(checks.iter().copied())).collect();
        by_region.keys().enumerate().map(|(gate, region)| ((*region).clone(), gate)).collect()
    }

    fn schedule_all(&mut self, now: Instant) {
        self.schedule.clear();
        let spread = first_spread(self.checks.len());
        for (index, watched) in self.checks.iter().enumerate() {
            let span =
                if watched.is_known() { watched.check.interval } else { watched.check.interval.min(spread) };
            self.schedule.push(now + within(span, &*self.with.host.random), index as u32);
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let spread = first_spread(self.checks.len());
        while let Some((due, index)) = self.schedule.pop_due(now) {
            self.worst_lag = self.worst_lag.max(now - due);
            let watched = &mut self.checks[index as usize];
            let random = &*self.with.host.random;
            let next = match watched.pace(spread) {
                watched::Pace::Every(interval) => next_slot(due, interval, now, random),
                watched::Pace::Settle(interval) => now + within(interval, random),
            };
            self.schedule.push(next, index);
            if !watched.wants_in(self.health.multiplier()) {
                continue;
            }
            if self.gates[watched.gate].enter(index) {
                self.start(index, now);
            } else {
                self.checks[index as usize].wait();
            }
        }
    }

    fn start(&mut self, index: u32, now: Instant) {
        let watched = &mut self.checks[index as usize];
        let (sequence, timeout) = watched.begin(self.health.multiplier());
        let check = Arc::clone(&watched.check);
        let prober = Arc::clone(&self.with.prober);
        self.probes.spawn(probing::look(prober, check, index, sequence, now, timeout));
    }

    fn finish(&mut self, looked: Option<Looked>) {
        // A task that was given up has nothing to say.
        let Some(looked) = looked else { return };
        let now = Instant::now();
        let gate = self.checks[looked.index as usize].gate;
        if let Some(next) = self.gates[gate].leave() {
            self.start(next, now);
        }
        let watched = &mut self.checks[looked.index as usize];
        let is_newest = watched.ended(looked.sequence);
        let metrics = &self.with.metrics;
        let reason = match looked.verdict {
            Verdict::Passed => {
                metrics.probes_passed.add();
                ""
            }
            Verdict::Failed(ref reason) => {
                metrics.probes_failed.add();
                reason
            }
            Verdict::Late(late) => {
                metrics.probes_late.add();
                self.worst_lag = self.worst_lag.max(late);
                return;
            }
        };
        if !is_newest || !self.health.is_trusted() {
            return;
        }
        let passed = reason.is_empty();
        if watched.take(passed, looked.began, self.health.threshold_multiplier()) {
            let (condition, since) = (watched.standing.condition(), watched.standing.since());
            tracing::info!(check = %watched.check.id, ?condition, reason, "condition changed");
            self.with.book.set(&watched.check.id, condition, since, reason);
        }
    }

    /// Once a heartbeat: was it itself in time, and does it reach anybody?
    fn judge_self(&mut self, heartbeat: Duration) {
        let period = Period {
            worst_lag: std::mem::take(&mut self.worst_lag),
            lag_limit: self.lag_limit,
            silence: self.with.contact.silence(),
            heartbeat,
        };
        let before = self.health;
        self.health = before.judge(period);
        self.with.metrics.multiplier.set(u64::from(self.health.multiplier()));
        self.with.metrics.lag_ms.set(period.worst_lag.as_millis() as u64);
        let now = Instant::now();
        match (before.is_trusted(), self.health.is_trusted()) {
            (true, false) => {
                let why = distrust(period);
                tracing::warn!(why, "this vantage does not trust itself: what it found counts as unknown");
                self.with.book.distrust(now, &why);
                self.checks.iter_mut().for_each(|watched| watched.forget(now));
            }
            (false, true) => {
                tracing::info!("this vantage trusts itself again and looks afresh");
                self.checks.iter_mut().for_each(|watched| watched.forget(now));
                self.schedule_all(now);
            }
            _ => {}
        }
    }
}

fn distrust(period: Period) -> String {
    let (lag, silence) = (period.worst_lag.as_millis(), period.silence.as_millis());
    if period.worst_lag > period.lag_limit {
        format!("the vantage does not trust itself: it was {lag} ms late")
    } else {
        format!("the vantage does not trust itself: it reached no controller for {silence} ms")
    }
}
