//! Faults drawn by chance, one after the other, while one client writes through all of them.

use std::time::Duration;

use serde::Serialize;

use super::{Runner, is_suspicious, steady};
use crate::live::clock::now_ns;
use crate::live::cluster::Cluster;
use crate::live::faults::Kind;
use crate::live::judge::{Judgement, judge};
use crate::live::options::REGIONS;

/// What is done to one region, whatever it is at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wound {
    KillPostgres,
    KillAgent,
    KillPostgresAndAgent,
    KillGuard,
    KillController,
    FreezeAgent,
    CutOff,
}

const WOUNDS: [Wound; 7] = [
    Wound::KillPostgres,
    Wound::KillAgent,
    Wound::KillPostgresAndAgent,
    Wound::KillGuard,
    Wound::KillController,
    Wound::FreezeAgent,
    Wound::CutOff,
];

#[derive(Clone, Debug, Serialize)]
pub struct Random {
    pub seed: u64,
    pub wounds: Vec<(Wound, &'static str)>,
    pub judged: Judgement,
    pub evidence: Option<std::path::PathBuf>,
}

impl Runner<'_> {
    /// So many wounds, two of three at the primary. Each is healed after a while, and the next comes once
    /// somebody takes writes again, whoever may still be on the way back.
    pub fn random(&mut self, wounds: usize, seed: u64) -> anyhow::Result<Random> {
        let cluster = self.cluster;
        let primary = cluster.wait_healthy()?;
        let load = cluster.load(primary, self.through, self.next_id)?;
        steady(&load, None)?;
        let began_ns = now_ns();
        let (mut dice, mut done) = (Dice(seed), Vec::new());
        let longest_ms = cluster.options.lease_ttl().as_millis() as u64 * 3;
        for n in 0..wounds {
            let primary =
                cluster.eventually("primary", super::BACK_WITHIN, || cluster.primary().map(Some))?;
            let region = match dice.below(3) {
                0 => REGIONS[dice.below(REGIONS.len() as u64) as usize],
                _ => primary,
            };
            let wound = WOUNDS[dice.below(WOUNDS.len() as u64) as usize];
            eprintln!("  {} of {wounds}: {wound:?} in {region}, the primary is {primary}", n + 1);
            done.push((wound, region));
            inflict(cluster, wound, region)?;
            std::thread::sleep(Duration::from_millis(dice.below(longest_ms)));
            heal(cluster, wound, region)?;
            // In half of them the next comes while this one is still being made good.
            if dice.below(2) == 0 {
                cluster.wait_healthy()?;
            }
        }
        let to = cluster.wait_healthy()?;
        let (attempts, next_id) = load.finish();
        let rows = cluster.rows(to, self.next_id)?;
        self.next_id = next_id;
        self.runs += 1;
        let judged = judge(&attempts, began_ns, &rows);
        let evidence = match is_suspicious(&judged) {
            true => Some(self.write(&attempts, began_ns, &rows)?),
            false => None,
        };
        Ok(Random { seed, wounds: done, judged, evidence })
    }
}

fn inflict(cluster: &Cluster, wound: Wound, region: &str) -> anyhow::Result<()> {
    match wound {
        // It may just be away.
        Wound::KillPostgres => drop(cluster.kill_postgres(region)),
        Wound::KillAgent => cluster.kill(region, Kind::Agent)?,
        Wound::KillPostgresAndAgent => {
            cluster.kill(region, Kind::Agent)?;
            drop(cluster.kill_postgres(region));
        }
        Wound::KillGuard => cluster.kill_guard(region)?,
        Wound::KillController => cluster.kill(region, Kind::Controller)?,
        Wound::FreezeAgent => cluster.freeze(region, Kind::Agent)?,
        Wound::CutOff => cluster.cut_off(region)?,
    }
    Ok(())
}

fn heal(cluster: &Cluster, wound: Wound, region: &str) -> anyhow::Result<()> {
    match wound {
        Wound::FreezeAgent => cluster.thaw(region, Kind::Agent)?,
        Wound::CutOff => cluster.heal()?,
        _ => {}
    }
    cluster.restart(region)
}

/// SplitMix64: one seed, one course.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most.max(1)
    }
}
