//! What is done to one region, whatever it is at that moment, and undone.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::effect::{Effect, Frames};
use crate::live::cluster::Cluster;
use crate::live::faults::{Disk, Kind};
use crate::live::options::REGIONS;
use crate::live::strace::{Refused, Sync, Tampered};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
    /// Connections are broken off in their midst, and one end does not know; or new ones are answered with garbage.
    Resets,
    Garbage,
    /// Every sync of the server fails, so that it ends itself (PANIC).
    PostgresDiskFails,
    /// Each of its syncs begins late; or none does until this is over.
    PostgresDiskSlow,
    PostgresDiskHangs,
    ControllerDiskFails,
    ControllerDiskSlow,
    /// While its server dies.
    AgentDiskFails,
    /// Of the server: not a byte is left.
    DiskFull,
    /// The wall clocks of controller and agent.
    ClockAhead,
    ClockBehind,
    /// DNS servers of others end, or answer nothing, and the server dies at that moment.
    ProviderAway,
    ProviderHangs,
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
        Wound::Resets,
        Wound::Garbage,
    ];
    pub const DISK: &[Wound] = &[
        Wound::PostgresDiskFails,
        Wound::PostgresDiskSlow,
        Wound::PostgresDiskHangs,
        Wound::ControllerDiskFails,
        Wound::ControllerDiskSlow,
        Wound::AgentDiskFails,
        Wound::DiskFull,
    ];
    pub const CLOCK: &[Wound] = &[Wound::ClockAhead, Wound::ClockBehind];
    pub const PROVIDER: &[Wound] = &[Wound::ProviderAway, Wound::ProviderHangs];
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

    pub fn every() -> Vec<Wound> {
        [Wound::KILLS, Wound::FREEZES, Wound::NETWORK, Wound::DISK, Wound::CLOCK, Wound::PROVIDER].concat()
    }

    /// Whoever writes to one that fails may end itself.
    pub(super) fn is_of_a_disk(self) -> bool {
        Wound::DISK.contains(&self)
    }
}

const FLAPS: u32 = 4;
const FLAP: Duration = Duration::from_millis(300);
/// A disk that others keep busy.
const SLOW_SYNC: Duration = Duration::from_millis(150);
pub(super) const AHEAD_S: i64 = 600;
/// Certificates begin 5 min before they are made.
pub(super) const BEHIND_S: i64 = -240;
const EFFECT_WITHIN: Duration = Duration::from_secs(10);
const ENDED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longer than any wound.
const HUNG_SYNC: Duration = Duration::from_secs(600);

/// One that was inflicted and is not healed yet.
pub(super) struct Open {
    wound: Wound,
    region: &'static str,
    before: Frames,
    kept: Kept,
}

enum Kept {
    /// What it did is known.
    Done(Effect),
    /// The network tells, when it is over.
    Frames,
    Tampered(Tampered),
}

impl Open {
    /// Whether it is known already that there is nothing to wait for.
    pub fn is_void(&self) -> bool {
        matches!(&self.kept, Kept::Done(effect) if !effect.is_had())
    }
}

pub(super) fn inflict(cluster: &Cluster, wound: Wound, region: &'static str) -> anyhow::Result<Open> {
    let before = Frames::so_far(cluster, region)?;
    Ok(Open { wound, region, before, kept: begin(cluster, wound, region)? })
}

fn begin(cluster: &Cluster, wound: Wound, region: &'static str) -> anyhow::Result<Kept> {
    let done = |done, what: &str| Ok(Kept::Done(Effect::done(done, what)));
    let tamper = |of, sync| {
        Ok(match cluster.tamper(region, of, sync)? {
            Ok(tampered) => Kept::Tampered(tampered),
            Err(Refused::NotPossible(why)) => Kept::Done(Effect::NotPossible(why)),
            Err(Refused::NobodyThere) => {
                Kept::Done(Effect::Nothing("nobody there whose disk it is".to_owned()))
            }
        })
    };
    match wound {
        // It may just be away.
        Wound::KillPostgres => return done(cluster.kill_postgres(region), "the server was killed"),
        Wound::KillAgent => return kill(cluster, region, Kind::Agent),
        Wound::KillPostgresAndAgent => {
            let agent = kill(cluster, region, Kind::Agent)?;
            return match cluster.kill_postgres(region) {
                Ok(()) => done(Ok(()), "the server was killed"),
                Err(_) => Ok(agent),
            };
        }
        Wound::KillGuard => {
            let guards = cluster.guards(region)?.len();
            cluster.kill_guard(region)?;
            return Ok(Kept::Done(Effect::of(guards as u64, "guards were killed")));
        }
        Wound::KillController => return kill(cluster, region, Kind::Controller),
        Wound::KillRegion => return done(cluster.kill_region(region), "all its processes were killed"),
        Wound::FreezeAgent => return freeze(cluster, region, Kind::Agent),
        Wound::FreezeController => return freeze(cluster, region, Kind::Controller),
        Wound::FreezePostgres => return done(cluster.freeze_postgres(region), "the server was stopped"),
        Wound::PostgresDiskFails => return tamper(Disk::Postgres, Sync::Fails),
        Wound::PostgresDiskSlow => return tamper(Disk::Postgres, Sync::Late(SLOW_SYNC)),
        Wound::PostgresDiskHangs => return tamper(Disk::Postgres, Sync::Late(HUNG_SYNC)),
        Wound::ControllerDiskFails => return tamper(Disk::Of(Kind::Controller), Sync::Fails),
        Wound::ControllerDiskSlow => return tamper(Disk::Of(Kind::Controller), Sync::Late(SLOW_SYNC)),
        Wound::AgentDiskFails => {
            let tampered = tamper(Disk::Of(Kind::Agent), Sync::Fails)?;
            // Then there is something to write down: that the lease is given back. It may just be away.
            drop(cluster.kill_postgres(region));
            return Ok(tampered);
        }
        Wound::DiskFull => return fill(cluster, region),
        Wound::ClockAhead => return set_clocks(cluster, region, AHEAD_S),
        Wound::ClockBehind => return set_clocks(cluster, region, BEHIND_S),
        Wound::ProviderAway | Wound::ProviderHangs => {
            let lost = match wound {
                Wound::ProviderAway => cluster.kill_provider(),
                _ => cluster.freeze_provider(),
            };
            // Then names have to move. It may just be away.
            drop(cluster.kill_postgres(region));
            return done(lost, "BIND was lost");
        }
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
        Wound::Resets => cluster.change_links(|from, to, link| {
            if from == region || to == region {
                link.reset = 0.01;
            }
        })?,
        Wound::Garbage => {
            // Who was connected before comes again.
            cluster.change_links(|from, to, link| {
                if from == region || to == region {
                    (link.garbage, link.reset) = (0.5, 0.001);
                }
            })?;
        }
    }
    Ok(Kept::Frames)
}

/// It may have ended by itself.
fn kill(cluster: &Cluster, region: &str, kind: Kind) -> anyhow::Result<Kept> {
    let Some(pid) = cluster.pid(region, kind)? else { return Ok(did_not_run(kind)) };
    cluster.kill(region, kind)?;
    Ok(Kept::Done(Effect::Had(format!("{kind:?} ({pid}) was killed"))))
}

fn freeze(cluster: &Cluster, region: &str, kind: Kind) -> anyhow::Result<Kept> {
    let Some(pid) = cluster.pid(region, kind)? else { return Ok(did_not_run(kind)) };
    cluster.freeze(region, kind)?;
    Ok(Kept::Done(Effect::Had(format!("{kind:?} ({pid}) was stopped"))))
}

fn did_not_run(kind: Kind) -> Kept {
    Kept::Done(Effect::Nothing(format!("{kind:?} did not run")))
}

fn fill(cluster: &Cluster, region: &str) -> anyhow::Result<Kept> {
    let Some(bytes) = cluster.fill_disk(region)? else {
        return Ok(Kept::Done(Effect::NotPossible(
            "its disk is the machine's: start the cluster for faults".into(),
        )));
    };
    Ok(Kept::Done(match cluster.has_no_space(region) {
        Ok(()) => Effect::Had(format!("the server met a full disk, after {bytes} bytes more")),
        Err(error) => Effect::Nothing(format!("the disk was full, but the server did not say so: {error:#}")),
    }))
}

fn set_clocks(cluster: &Cluster, region: &str, offset_s: i64) -> anyhow::Result<Kept> {
    Ok(Kept::Done(match cluster.set_clocks(region, offset_s)? {
        None => Effect::NotPossible("clocks cannot be set: install faketime".to_owned()),
        Some(saw) if saw.is_empty() => Effect::Nothing("nobody looked at the clock".to_owned()),
        Some(saw) => Effect::Had(format!("{offset_s:+} s for {saw:?}")),
    }))
}

/// Nobody may have had anything to sync yet.
fn wait_for_a_sync(cluster: &Cluster, wound: Wound, tampered: &Tampered) {
    let began = Instant::now();
    if tampered.calls() == 0 && matches!(wound, Wound::ControllerDiskFails | Wound::ControllerDiskSlow) {
        // All members note who leads. It is refused while nobody does, and then that is noted.
        drop(cluster.failover(&["members", "hand-over"]));
    }
    while tampered.calls() == 0 && began.elapsed() < EFFECT_WITHIN {
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Nobody may have said anything yet.
fn wait_for_frames(cluster: &Cluster, wound: Wound, region: &str, before: Frames) -> anyhow::Result<Effect> {
    let began = Instant::now();
    loop {
        let frames = Frames::so_far(cluster, region)?.since(before);
        let effect = match wound {
            Wound::Lossy => Effect::of(frames.lost, "frames were lost"),
            Wound::Slow => Effect::of(frames.passed, "frames were late"),
            Wound::Resets => Effect::of(frames.spoiled, "segments became a reset"),
            Wound::Garbage => Effect::of(frames.spoiled, "segments became a reset or garbage"),
            _ => Effect::of(frames.cut, "frames were cut off"),
        };
        if effect.is_had() || began.elapsed() > EFFECT_WITHIN {
            return Ok(effect);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A controller that could not sync ends; one that stays is found out by its health.
fn wait_for_the_end(cluster: &Cluster, region: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    while cluster.ended_by_themselves(region)?.is_empty() && began.elapsed() < ENDED_WITHIN {
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Gives what it did.
pub(super) fn heal(cluster: &Cluster, open: Open) -> anyhow::Result<Effect> {
    let Open { wound, region, before, kept } = open;
    let effect = match kept {
        Kept::Done(effect) => effect,
        Kept::Tampered(tampered) => {
            wait_for_a_sync(cluster, wound, &tampered);
            let calls = tampered.end();
            if wound == Wound::ControllerDiskFails && calls > 0 {
                wait_for_the_end(cluster, region)?;
            }
            Effect::of(calls as u64, "syncs were tampered with")
        }
        Kept::Frames => wait_for_frames(cluster, wound, region, before)?,
    };
    match wound {
        // Whoever ended by itself is started again below.
        Wound::FreezeAgent => drop(cluster.thaw(region, Kind::Agent)),
        Wound::FreezeController => drop(cluster.thaw(region, Kind::Controller)),
        Wound::FreezePostgres => cluster.thaw_region(region)?,
        Wound::DiskFull => cluster.free_disk(region)?,
        Wound::ClockAhead | Wound::ClockBehind => drop(cluster.set_clocks(region, 0)?),
        Wound::ProviderAway | Wound::ProviderHangs => cluster.mend_provider()?,
        Wound::CutOff
        | Wound::CutOutwards
        | Wound::CutInwards
        | Wound::CutBridge
        | Wound::Flap
        | Wound::Lossy
        | Wound::Slow
        | Wound::Resets
        | Wound::Garbage => cluster.mend_links()?,
        Wound::KillPostgres
        | Wound::KillAgent
        | Wound::KillPostgresAndAgent
        | Wound::KillGuard
        | Wound::KillController
        | Wound::KillRegion
        | Wound::PostgresDiskFails
        | Wound::PostgresDiskSlow
        | Wound::PostgresDiskHangs
        | Wound::ControllerDiskFails
        | Wound::ControllerDiskSlow
        | Wound::AgentDiskFails => {}
    }
    cluster.restart(region)?;
    Ok(effect)
}

fn next(region: &str) -> &'static str {
    let place = REGIONS.iter().position(|known| *known == region).unwrap_or_default();
    REGIONS[(place + 1) % REGIONS.len()]
}
