//! Wounds drawn by chance, one after the other and over each other, while everybody writes through all of them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use wire::host::{Random, SeededRandom};

use super::effect::Effect;
use super::wound::{Wound, heal, inflict};
use super::{Runner, is_suspicious, steady, steady_since};
use crate::live::clock::{ms, now_ns};
use crate::live::cluster::Cluster;
use crate::live::judge::{Gap, Judgement, eras_seen, gaps, judge, written_after_ms};
use crate::live::names::stale_ms;
use crate::live::options::{PROVIDER, REGIONS};
use crate::live::readers::{Seen, seen};
use crate::live::record::Who;

/// When to stop wounding.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Wounds(usize),
    /// Each kind was inflicted once, in its order.
    Each,
    Elapsed(Duration),
}

/// One that was inflicted, in milliseconds since the storm began.
#[derive(Clone, Debug, Serialize)]
pub struct Inflicted {
    pub wound: Wound,
    pub region: &'static str,
    /// Where the primary was then.
    pub primary: &'static str,
    pub from_ms: f64,
    pub until_ms: f64,
    pub effect: Effect,
    /// From when it was healed until the client's next acknowledgement; none: there was none any more.
    pub written_after_ms: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Storm {
    pub seed: u64,
    pub lasted_ms: f64,
    pub wounds: Vec<Inflicted>,
    pub judged: Judgement,
    /// When nobody could write, by who tried.
    pub gaps: Vec<(Who, Vec<Gap>)>,
    /// Which server took writes from when until when.
    pub eras: Vec<(String, Gap)>,
    /// What was read meanwhile, and what should have been.
    pub readers: Vec<Seen>,
    /// For how long a name server of Regent's own led elsewhere than to who took writes, at the longest.
    pub names_stale_ms: f64,
    /// The same of those of others.
    pub provider_stale_ms: f64,
    /// How often they led anywhere.
    pub provider_answers: usize,
    /// What did not become well again in time.
    pub unwell: Vec<String>,
    pub evidence: Option<PathBuf>,
}

/// Below it, the next does not wait until all is well again.
const PACE: Duration = Duration::from_secs(25);

impl Runner<'_> {
    /// Two of three wounds are at the primary. Each is healed after a while, and the next comes once somebody takes
    /// writes again, whoever may still be on the way back.
    pub fn storm(&mut self, until: Until, wounds: &[Wound], seed: u64) -> anyhow::Result<Storm> {
        let cluster = self.cluster;
        let primary = cluster.wait_healthy()?;
        let mut load = cluster.load(primary, self.through, self.next_id)?;
        cluster.add_resolvers(&mut load)?;
        cluster.add_readers(&mut load)?;
        steady(&load, None)?;
        let (began, began_ns) = (Instant::now(), now_ns());
        let since = |ns: u64| ms(ns) - ms(began_ns);
        let (dice, mut done, mut unwell) = (SeededRandom::new(seed), Vec::<Inflicted>::new(), Vec::new());
        let leases = if matches!(until, Until::Each) { 1 } else { 3 };
        let longest_ms = cluster.options.lease_ttl().as_millis() as u64 * leases;
        let is_over = |done: usize| match until {
            Until::Wounds(wounds) => done >= wounds,
            Until::Each => done >= wounds.len(),
            Until::Elapsed(lasts) => began.elapsed() >= lasts,
        };
        while !is_over(done.len()) {
            let primary =
                cluster.eventually("primary", super::BACK_WITHIN, || cluster.primary().map(Some))?;
            let region = match dice.below(3) {
                0 => REGIONS[dice.below(REGIONS.len() as u64) as usize],
                _ => primary,
            };
            let drawn = dice.below(wounds.len() as u64) as usize;
            let wound = wounds[if matches!(until, Until::Each) { done.len() } else { drawn }];
            let lasts = Duration::from_millis(dice.below(longest_ms));
            let waits = dice.below(2) == 0;
            eprintln!("  {}: {wound:?} in {region}, the primary is {primary}", done.len() + 1);
            let from_ms = since(now_ns());
            let open = inflict(cluster, wound, region)?;
            if !open.is_void() {
                std::thread::sleep(lasts);
            }
            unwell.extend(ended_by_themselves(cluster, wound, region)?);
            let effect = heal(cluster, open)?;
            let healed_ns = now_ns();
            if !effect.is_had() {
                eprintln!("     without effect: {}", effect.what());
            }
            let until_ms = since(healed_ns);
            done.push(Inflicted {
                wound,
                region,
                primary,
                from_ms,
                until_ms,
                effect,
                written_after_ms: None,
            });
            if let Err(error) = steady_since(&load, healed_ns) {
                unwell.push(format!("after {wound:?} in {region}: {error:#}"));
            }
            // In half of them the next comes while this one is still being made good.
            let is_late = began.elapsed() > PACE * done.len() as u32;
            if waits
                && !is_late
                && let Err(error) = cluster.wait_healthy()
            {
                unwell.push(format!("after {wound:?} in {region}: {error:#}"));
            }
        }
        let lasted_ms = since(now_ns());
        if let Err(error) = cluster.wait_healthy() {
            unwell.push(format!("in the end: {error:#}"));
        }
        let (lookups, readings, readings_until_ns) = (load.book.lookups(), load.book.readings(), now_ns());
        let (attempts, next_id) = load.finish();
        let rows = self.rows_in_the_end()?;
        unwell.extend(self.without_all_rows(&rows));
        self.next_id = next_id;
        self.runs += 1;
        let judged = judge(&attempts, began_ns, &rows);
        let readers = seen(&readings, began_ns, readings_until_ns, &rows);
        let evidence = match is_suspicious(&judged) || readers.iter().any(Seen::is_suspicious) {
            true => Some(self.write(&attempts, &readings, began_ns, &rows)?),
            false => None,
        };
        for wound in &mut done {
            wound.written_after_ms = written_after_ms(&attempts, began_ns, wound.until_ms);
        }
        let gaps = [Who::Client, Who::Inside].map(|who| (who, gaps(&attempts, who, began_ns))).into();
        let eras = eras_seen(&attempts, began_ns);
        let (others, own): (Vec<_>, Vec<_>) = lookups.into_iter().partition(|lookup| lookup.to == PROVIDER);
        let provider_answers = others.iter().filter(|lookup| !lookup.leads.is_empty()).count();
        let [names_stale_ms, provider_stale_ms] = [own, others].map(|of| stale_ms(&of, &eras, began_ns));
        let wounds = done;
        Ok(Storm {
            seed,
            lasted_ms,
            wounds,
            judged,
            gaps,
            eras,
            readers,
            names_stale_ms,
            provider_stale_ms,
            provider_answers,
            unwell,
            evidence,
        })
    }
}

/// Nobody should, but for whose disk fails. Each is started again.
fn ended_by_themselves(cluster: &Cluster, wound: Wound, region: &str) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    for of in REGIONS {
        let is_meant = wound.is_of_a_disk() && of == region;
        let ended = cluster.ended_by_themselves(of)?;
        told.extend(
            ended.into_iter().filter(|_| !is_meant).map(|who| format!("during {wound:?} in {region}: {who}")),
        );
        if of != region {
            cluster.restart(of)?;
        }
    }
    Ok(told)
}
