//! Faults one after another and over each other, drawn from the seed before a run begins.

use std::time::Duration;

use super::chance::Chance;
use super::fault::{Fault, Planned};
use super::ground::Machine;
use super::layout::{Layout, Ways, between};
use super::queue::Moment;

/// Until `end`. What is left broken from there on comes last.
pub fn schedule(chance: &Chance, layout: Layout, begin: Moment, end: Moment) -> Vec<Planned> {
    let mut planned = Vec::new();
    // Some runs are wild, some are not.
    let pause_most = *chance.pick(&[8, 20, 60]);
    let mut at = begin + chance.between(Duration::ZERO, Duration::from_secs(10));
    while at < end {
        strikes(chance, layout, at, &mut planned);
        at = at + chance.between(Duration::from_millis(100), Duration::from_secs(pause_most));
    }
    planned.iter_mut().for_each(|planned| planned.until = planned.until.min(end));
    planned.retain(|planned| planned.from < planned.until);
    planned
}

/// From a blink to a minute, each order of magnitude as likely.
pub fn lasts(chance: &Chance) -> Duration {
    let most = *chance.pick(&[Duration::from_millis(600), Duration::from_secs(6), Duration::from_secs(60)]);
    chance.between(most / 10, most)
}

/// Nothing of this region is ever heard of again.
pub fn lost(layout: Layout, region: usize, from: Moment, until: Moment) -> Vec<Planned> {
    let crashes =
        layout.of_region(region).map(|machine| Planned { from, until, fault: Fault::Crash(machine) });
    crashes.into()
}

/// One fault, or some that belong together.
fn strikes(chance: &Chance, layout: Layout, at: Moment, planned: &mut Vec<Planned>) {
    let mut put = |from: Moment, lasts: Duration, fault: Fault| {
        planned.push(Planned { from, until: from + lasts, fault });
    };
    match chance.below(30) {
        // All controllers at once, each back when it likes, and in half of the cases in the midst of writes that take
        // long: what was said before it was written is gone.
        0 => {
            let by = slow(chance);
            let crash = at + chance.between(Duration::ZERO, Duration::from_secs(2));
            let is_slow = chance.permille(500);
            for machine in layout.controllers() {
                if is_slow {
                    put(at, Duration::from_secs(2), Fault::SlowDisk { machine, by });
                }
                put(crash, lasts(chance), Fault::Crash(machine));
            }
        }
        // In the midst of writes that take long.
        1 => {
            let machine = any(chance, layout);
            put(at, Duration::from_secs(2), Fault::SlowDisk { machine, by: slow(chance) });
            let crash = at + chance.between(Duration::ZERO, Duration::from_secs(2));
            put(crash, lasts(chance), Fault::Crash(machine));
        }
        // On and off.
        2 => {
            let (shape, ways) = cut(chance, layout);
            let mut from = at;
            for _ in 0..2 + chance.below(8) {
                let off = chance.between(Duration::from_millis(30), Duration::from_millis(900));
                put(from, off, Fault::Cut { shape, ways: ways.clone() });
                from = from + off + chance.between(Duration::from_millis(10), Duration::from_millis(900));
            }
        }
        // One machine after another is cut off, and each comes back in its own time.
        3 => {
            let first = chance.below(layout.regions as u64 * 2);
            for n in 0..1 + chance.below(layout.regions as u64 * 2) {
                let machine = ((first + n) % (layout.regions as u64 * 2)) as Machine;
                let from = at + chance.between(Duration::ZERO, Duration::from_secs(5));
                put(from, lasts(chance), Fault::Cut { shape: "machine", ways: layout.around(&[machine]) });
            }
        }
        // Whoever writes there is heard by the other agents alone, and one of those begins anew.
        4 => {
            let region = chance.below(layout.regions as u64) as usize;
            let ways = layout.to_controllers(layout.agent(region));
            put(at, Duration::from_secs(12), Fault::Cut { shape: "agent from controllers", ways });
            let other = layout.agent((region + 1 + chance.below(2) as usize) % layout.regions);
            let then = at + chance.between(Duration::from_secs(1), Duration::from_secs(9));
            let down = chance.between(Duration::from_millis(30), Duration::from_millis(400));
            put(then, down, Fault::CrashAgent(other));
        }
        // For about as long as a lease lasts: what is asked for again comes while its end is being committed.
        5 => {
            let ways = layout.to_controllers(layout.agent(chance.below(layout.regions as u64) as usize));
            let (from, to) = *chance.pick(&[(500, 900), (3_600, 5_000)]);
            let lasts = chance.between(Duration::from_millis(from), Duration::from_millis(to));
            put(at, lasts, Fault::Cut { shape: "agent from controllers", ways });
        }
        _ => put(at, lasts(chance), draw(chance, layout)),
    }
}

fn any(chance: &Chance, layout: Layout) -> Machine {
    chance.below(layout.regions as u64 * 2) as usize
}

pub fn slow(chance: &Chance) -> Duration {
    chance.between(Duration::from_millis(10), Duration::from_millis(1_500))
}

fn draw(chance: &Chance, layout: Layout) -> Fault {
    let machine = any(chance, layout);
    let region = chance.below(layout.regions as u64) as usize;
    let agent = layout.agent(region);
    match chance.below(57) {
        0..4 => Fault::Crash(machine),
        4..8 => Fault::Pause(machine),
        8..26 => {
            let (shape, ways) = cut(chance, layout);
            Fault::Cut { shape, ways }
        }
        26..28 => {
            let ways = layout.around(&layout.of_region(region));
            Fault::Loss { ways, permille: 10 + chance.below(300) }
        }
        28..30 => {
            let by = chance.between(Duration::from_millis(20), Duration::from_millis(500));
            Fault::Delay { ways: layout.around(&layout.of_region(region)), by }
        }
        30..32 => Fault::SlowDisk { machine, by: slow(chance) },
        32..34 => Fault::Service(agent),
        34..38 => Fault::Freeze(agent),
        38..40 => Fault::CrashAgent(agent),
        40..44 => Fault::CrashServer(agent),
        44..46 => Fault::FullDisk(agent),
        46..50 => Fault::Clock { machine, by_ms: chance.below(7_200_000) as i64 - 3_600_000 },
        50 => Fault::FlushError(machine),
        51 => Fault::OldData(agent),
        52 => Fault::PromotionFails(agent),
        53 => Fault::PromotionHangs(agent),
        54 => Fault::CallsHang(agent),
        55 => Fault::AnswersLost(agent),
        _ => Fault::Scatter { ways: layout.around(&layout.of_region(region)) },
    }
}

/// What a broken network may look like.
fn cut(chance: &Chance, layout: Layout) -> (&'static str, Ways) {
    let region = chance.below(layout.regions as u64) as usize;
    let both = layout.of_region(region);
    let other = (region + 1) % layout.regions;
    let around = || layout.around(&both);
    match chance.below(11) {
        0..2 => ("region", around()),
        2 => ("machine", layout.around(&[any(chance, layout)])),
        3 => ("region, outwards", around().into_iter().filter(|(from, _)| both.contains(from)).collect()),
        4 => ("region, inwards", around().into_iter().filter(|(_, to)| both.contains(to)).collect()),
        5 => ("bridge", between(both.into_iter(), layout.of_region(other).into_iter())),
        6 => ("controllers", layout.to_controllers(layout.controller(region))),
        7 => ("agent from controllers", layout.to_controllers(layout.agent(region))),
        8..10 => ("agent from agents", layout.to_agents(layout.agent(region))),
        _ => ("clients", layout.around(&[layout.client()])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_ends_before_things_calm_down() {
        let (begin, end) = (Moment(0) + Duration::from_secs(20), Moment(0) + Duration::from_secs(400));
        let mut shapes = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let chance = Chance::new(seed);
            for planned in schedule(&chance, Layout { regions: 3 }, begin, end) {
                assert!(
                    begin <= planned.from && planned.from < planned.until && planned.until <= end,
                    "{planned:?}"
                );
                if let Fault::Cut { shape, ways } = planned.fault {
                    assert!(!ways.is_empty() && ways.iter().all(|(from, to)| from != to), "{shape}");
                    shapes.insert(shape);
                }
            }
        }
        assert_eq!(shapes.len(), 9, "{shapes:?}");
    }
}
