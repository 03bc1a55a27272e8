//! Wounds drawn by chance, one after the other and over each other, while everybody writes through all of them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use wire::host::{Random, SeededRandom};

use super::wound::{Wound, heal, inflict};
use super::{Runner, is_suspicious, steady, steady_since};
use crate::live::clock::{ms, now_ns};
use crate::live::judge::{Gap, Judgement, eras_seen, gaps, judge};
use crate::live::names::stale_ms;
use crate::live::options::REGIONS;
use crate::live::record::Who;

/// When to stop wounding.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Wounds(usize),
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
    /// For how long a name server led elsewhere than to who took writes, at the longest.
    pub names_stale_ms: f64,
    /// What did not become well again in time.
    pub unwell: Vec<String>,
    pub evidence: Option<PathBuf>,
}

impl Runner<'_> {
    /// Two of three wounds are at the primary. Each is healed after a while, and the next comes once somebody takes
    /// writes again, whoever may still be on the way back.
    pub fn storm(&mut self, until: Until, wounds: &[Wound], seed: u64) -> anyhow::Result<Storm> {
        let cluster = self.cluster;
        let primary = cluster.wait_healthy()?;
        let mut load = cluster.load(primary, self.through, self.next_id)?;
        cluster.add_resolvers(&mut load)?;
        steady(&load, None)?;
        let (began, began_ns) = (Instant::now(), now_ns());
        let since = |ns: u64| ms(ns) - ms(began_ns);
        let (dice, mut done, mut unwell) = (SeededRandom::new(seed), Vec::<Inflicted>::new(), Vec::new());
        let longest_ms = cluster.options.lease_ttl().as_millis() as u64 * 3;
        let is_over = |done: usize| match until {
            Until::Wounds(wounds) => done >= wounds,
            Until::Elapsed(lasts) => began.elapsed() >= lasts,
        };
        while !is_over(done.len()) {
            let primary =
                cluster.eventually("primary", super::BACK_WITHIN, || cluster.primary().map(Some))?;
            let region = match dice.below(3) {
                0 => REGIONS[dice.below(REGIONS.len() as u64) as usize],
                _ => primary,
            };
            let wound = wounds[dice.below(wounds.len() as u64) as usize];
            eprintln!("  {}: {wound:?} in {region}, the primary is {primary}", done.len() + 1);
            let from_ms = since(now_ns());
            inflict(cluster, wound, region)?;
            std::thread::sleep(Duration::from_millis(dice.below(longest_ms)));
            heal(cluster, wound, region)?;
            let healed_ns = now_ns();
            done.push(Inflicted { wound, region, primary, from_ms, until_ms: since(healed_ns) });
            if let Err(error) = steady_since(&load, healed_ns) {
                unwell.push(format!("after {wound:?} in {region}: {error:#}"));
            }
            // In half of them the next comes while this one is still being made good.
            if dice.below(2) == 0
                && let Err(error) = cluster.wait_healthy()
            {
                unwell.push(format!("after {wound:?} in {region}: {error:#}"));
            }
        }
        let lasted_ms = since(now_ns());
        let to = match cluster.wait_healthy() {
            Ok(primary) => primary,
            Err(error) => {
                unwell.push(format!("in the end: {error:#}"));
                cluster.primary()?
            }
        };
        let lookups = load.book.lookups();
        let (attempts, next_id) = load.finish();
        let rows = cluster.rows(to, self.next_id)?;
        self.next_id = next_id;
        self.runs += 1;
        let judged = judge(&attempts, began_ns, &rows);
        let evidence = match is_suspicious(&judged) {
            true => Some(self.write(&attempts, began_ns, &rows)?),
            false => None,
        };
        let gaps = [Who::Client, Who::Inside].map(|who| (who, gaps(&attempts, who, began_ns))).into();
        let eras = eras_seen(&attempts, began_ns);
        let names_stale_ms = stale_ms(&lookups, &eras, began_ns);
        Ok(Storm { seed, lasted_ms, wounds: done, judged, gaps, eras, names_stale_ms, unwell, evidence })
    }
}
