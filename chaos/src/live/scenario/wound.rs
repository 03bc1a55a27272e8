//! What is done to one region, whatever it is at that moment, and undone.

use std::time::Duration;

use serde::Serialize;

use crate::live::cluster::Cluster;
use crate::live::faults::Kind;
use crate::live::options::REGIONS;

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
    /// Every process in the region, at once.
    KillRegion,
    FreezeController,
    FreezePostgres,
    /// Nothing gets out, or in.
    CutOutwards,
    CutInwards,
    /// From the next region only; both reach the third.
    CutBridge,
    /// On and off.
    Flap,
    /// A fifth of what goes in or out is lost, or it takes a fifth of a second longer.
    Lossy,
    Slow,
}

impl Wound {
    pub const KILLS: &[Wound] = &[
        Wound::KillPostgres,
        Wound::KillAgent,
        Wound::KillPostgresAndAgent,
        Wound::KillGuard,
        Wound::KillController,
        Wound::KillRegion,
    ];
    pub const FREEZES: &[Wound] = &[Wound::FreezeAgent, Wound::FreezeController, Wound::FreezePostgres];
    pub const NETWORK: &[Wound] = &[
        Wound::CutOff,
        Wound::CutOutwards,
        Wound::CutInwards,
        Wound::CutBridge,
        Wound::Flap,
        Wound::Lossy,
        Wound::Slow,
    ];
    /// Those by which the benchmark's hundred are drawn.
    pub const PLAIN: &[Wound] = &[
        Wound::KillPostgres,
        Wound::KillAgent,
        Wound::KillPostgresAndAgent,
        Wound::KillGuard,
        Wound::KillController,
        Wound::FreezeAgent,
        Wound::CutOff,
    ];
}

const FLAPS: u32 = 4;
const FLAP: Duration = Duration::from_millis(300);

pub(super) fn inflict(cluster: &Cluster, wound: Wound, region: &str) -> anyhow::Result<()> {
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
        Wound::KillRegion => cluster.kill_region(region)?,
        Wound::FreezeAgent => cluster.freeze(region, Kind::Agent)?,
        Wound::FreezeController => cluster.freeze(region, Kind::Controller)?,
        Wound::FreezePostgres => drop(cluster.freeze_postgres(region)),
        Wound::CutOff => cluster.cut_off(region)?,
        Wound::CutOutwards => cluster.change_links(|from, _, link| link.cut |= from == region)?,
        Wound::CutInwards => cluster.change_links(|_, to, link| link.cut |= to == region)?,
        Wound::CutBridge => {
            let next = next(region);
            cluster.change_links(|from, to, link| {
                link.cut |= (from == region && to == next) || (from == next && to == region);
            })?;
        }
        Wound::Flap => {
            for _ in 0..FLAPS {
                cluster.cut_off(region)?;
                std::thread::sleep(FLAP);
                cluster.heal()?;
                std::thread::sleep(FLAP);
            }
        }
        Wound::Lossy => cluster.change_links(|from, to, link| {
            if from == region || to == region {
                link.loss = 0.2;
            }
        })?,
        Wound::Slow => cluster.change_links(|from, to, link| {
            if from == region || to == region {
                link.delay += Duration::from_millis(200);
            }
        })?,
    }
    Ok(())
}

pub(super) fn heal(cluster: &Cluster, wound: Wound, region: &str) -> anyhow::Result<()> {
    match wound {
        Wound::FreezeAgent => cluster.thaw(region, Kind::Agent)?,
        Wound::FreezeController => cluster.thaw(region, Kind::Controller)?,
        Wound::FreezePostgres => cluster.thaw_region(region)?,
        Wound::CutOff
        | Wound::CutOutwards
        | Wound::CutInwards
        | Wound::CutBridge
        | Wound::Flap
        | Wound::Lossy
        | Wound::Slow => cluster.mend_links()?,
        Wound::KillPostgres
        | Wound::KillAgent
        | Wound::KillPostgresAndAgent
        | Wound::KillGuard
        | Wound::KillController
        | Wound::KillRegion => {}
    }
    cluster.restart(region)
}

fn next(region: &str) -> &'static str {
    let place = REGIONS.iter().position(|known| *known == region).unwrap_or_default();
    REGIONS[(place + 1) % REGIONS.len()]
}
