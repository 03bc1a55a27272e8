//! One run: its machines, what happens to them, and what is demanded of them in the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use control_plane::raft::MemoryDisk;
use decision::config::{Config, Mode, Profile, SecretSource, Timings};
use decision::name::AgentId;
use turmoil::Sim;
use wire::authority::Authority;
use wire::identity::{Identity, TrustDomain};
use wire::tls::Credentials;

use super::agent::Agent;
use super::controller::{CLUSTER, Controller, member};
use super::faults::{Base, Faults};
use super::ground::Ground;
use super::judge::Judge;
use super::machine::{host, name};
use super::operators::Operators;
use super::std_clock;
use super::verdict::{demands, report};
use crate::sim::chance::Chance;
use crate::sim::fault::Planned;
use crate::sim::ground::Machine;
use crate::sim::layout::Layout;
use crate::sim::queue::Moment;
use crate::sim::schedule::schedule;
use crate::sim::setup::{self, MANY_MOVES, REGIONS};
use crate::sim::{Options, Report};

/// What is sent within a step arrives at the beginning of another.
const STEP: Duration = Duration::from_millis(2);
const QUIET_BEFORE: Duration = Duration::from_secs(6);
/// Whatever was broken is well again so long before the end.
const RECOVERS_WITHIN: Duration = Duration::from_secs(20);
const TCP_SEGMENTS: usize = 4_096;
const VALID_FOR: Duration = Duration::from_secs(365 * 86_400);

/// As the fast depth has it: what came of a seed, what broke in it, and what mattered, for a person.
///
/// On a thread of its own: what libraries keep for a thread, such as the date of the last answer, begins anew.
///
/// # Panics
/// When the judges themselves do.
pub fn run(seed: u64, options: &Options) -> (Report, Vec<Planned>, Vec<String>) {
    let ran = std::thread::scope(|scope| scope.spawn(|| runs(seed, options)).join());
    ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn runs(seed: u64, options: &Options) -> (Report, Vec<Planned>, Vec<String>) {
    std_clock::set(Some(Duration::ZERO));
    let chance = Chance::new(seed);
    let layout = Layout { regions: REGIONS.len() };
    let until = options.lasts.saturating_sub(RECOVERS_WITHIN);
    let calm = Moment(0) + until;
    let drawn = schedule(&chance, layout, Moment(0) + QUIET_BEFORE.min(until), calm);
    let planned = options.faults.clone().unwrap_or(drawn);
    let ground = Ground::new(layout, seed ^ 0x5eed, options);
    let mut judge = Judge::new(ground.clone());
    let world = World { seed, ground: ground.clone(), layout, planned: planned.clone(), calm };
    // A part that panics is a bug found, and ends the run.
    let ran = catch_unwind(AssertUnwindSafe(|| world.runs(&chance, options.lasts, &mut judge)));
    match ran {
        Ok(Ok(())) => {}
        Ok(Err(why)) => ground.finds("harness", why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            ground.finds("alive", format!("a part panicked: {}", text.unwrap_or_default()));
        }
    }
    let report = report(&ground, &judge, planned.len(), options.lasts);
    // They hold the ground that holds them.
    ground.truth().running.clear();
    let lines = ground.truth().trace.lines().to_vec();
    (report, planned, lines)
}

struct World {
    seed: u64,
    ground: Ground,
    layout: Layout,
    planned: Vec<Planned>,
    calm: Moment,
}

impl World {
    fn runs(&self, chance: &Chance, lasts: Duration, judge: &mut Judge) -> Result<(), String> {
        let profile = *chance.pick(&[Profile::Balanced, Profile::Balanced, Profile::Fast]);
        let base = Base { near: Duration::from_millis(1), far: far(profile, chance) };
        let disks: Vec<_> = self.layout.controllers().map(|_| MemoryDisk::default()).collect();
        let mut sim = turmoil::Builder::new()
            .rng_seed(self.seed)
            .tick_duration(STEP)
            .simulation_duration(lasts * 2)
            .epoch(SystemTime::UNIX_EPOCH)
            .tcp_capacity(TCP_SEGMENTS)
            .enable_random_order()
            .build();
        self.peoples(&mut sim, chance, profile, &disks).map_err(|error| error.to_string())?;
        let mut faults = Faults::new(self.ground.clone(), self.layout, base, disks, self.planned.clone());
        faults.lays_ways(&mut sim);
        while sim.elapsed() < lasts {
            let now = Moment(0) + sim.elapsed();
            self.ground.truth().step = now;
            std_clock::set(Some(sim.elapsed()));
            faults.strike(&mut sim, judge);
            sim.step().map_err(|error| error.to_string())?;
            judge.looks();
            let is_broken =
                !judge.ledger.violations().is_empty() || !self.ground.truth().violations.is_empty();
            if is_broken {
                return Ok(());
            }
        }
        demands(&self.ground, judge);
        Ok(())
    }

    fn peoples(
        &self,
        sim: &mut Sim<'_>,
        chance: &Chance,
        profile: Profile,
        disks: &[MemoryDisk],
    ) -> anyhow::Result<()> {
        let (layout, timings) = (self.layout, profile.timings());
        let own = host(&self.ground, layout.client());
        let authority = Authority::create_even(&own, TrustDomain::new(CLUSTER)?, VALID_FOR)?;
        let credentials = |machine: Machine, identity: &Identity| -> anyhow::Result<Credentials> {
            let pair = authority.issue(&own, identity, &[], VALID_FOR)?;
            let clock = host(&self.ground, machine).clock;
            Ok(Credentials::from_pem(authority.pem(&pair), clock)?)
        };
        let snapshot_after = *chance.pick(&[50_000, 64, 200]);
        for machine in layout.controllers() {
            let identity = Identity::Controller { region: REGIONS[machine].into(), member: member(machine) };
            let controller = Controller {
                ground: self.ground.clone(),
                machine,
                credentials: credentials(machine, &identity)?,
                disk: disks[machine].clone(),
                timings,
                snapshot_after,
            };
            lives(sim, name(layout, machine), move || controller.clone().runs());
        }
        for machine in layout.agents() {
            let identity = Identity::Agent(AgentId::new(REGIONS[layout.region(machine)], 1));
            let agent = Agent::new(&self.ground, machine, credentials(machine, &identity)?);
            lives(sim, name(layout, machine), move || agent.clone().runs());
        }
        let machine = layout.client();
        let operators = Operators {
            ground: self.ground.clone(),
            machine,
            credentials: credentials(machine, &Identity::Operator { name: "ann".into() })?,
            config: config(profile, timings, chance),
            moves: (Moment(0) + QUIET_BEFORE, self.calm),
        };
        lives(sim, name(layout, machine), move || operators.clone().run());
        Ok(())
    }
}

fn lives<F, Fut>(sim: &mut Sim<'_>, name: String, part: F)
where
    F: Fn() -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    sim.host(name, move || {
        let part = part();
        async move {
            part.await;
            Ok(())
        }
    });
}

fn far(profile: Profile, chance: &Chance) -> Duration {
    let most = if profile == Profile::Fast { 16 } else { 50 };
    Duration::from_millis(2 + chance.below(most))
}

/// What the played agents can do: a database whose commits wait for nobody.
fn config(profile: Profile, timings: Timings, chance: &Chance) -> Config {
    let mut config = setup::config(profile, chance);
    (config.strategy.moves.per_service, config.strategy.moves.overall) = (MANY_MOVES, MANY_MOVES);
    config.strategy.min_stay = timings.min_stay.min(Duration::from_secs(10));
    for database in config.services.values_mut().filter_map(|service| service.database.as_mut()) {
        database.mode = Mode::Async;
        database.failsafe = false;
        database.replication.password = Some(SecretSource::Env("NOBODY_LOOKS".into()));
        database.max_data_loss.time = Duration::from_secs(60);
    }
    config
}
