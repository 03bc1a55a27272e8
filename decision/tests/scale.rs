//! Ten thousand checks: what costs per check must stay per check. Ratios, not times, so that a
//! busy machine does not matter; the bound is far from linear and far from quadratic.

use std::time::{Duration, Instant};

use decision::command::{AgentInfo, Command, Stamped};
use decision::config::Config;
use decision::decide::{LeaseView, decide};
use decision::evidence::{Condition, Finding};
use decision::name::AgentId;
use decision::state::State;
use decision::testing::{add_service, secs, three_regions};
use decision::time::Time;

const NOW: Time = Time(1_000_000_000);

fn config(services: usize) -> Config {
    let mut config = three_regions();
    for n in 0..services {
        add_service(&mut config, &format!("service-{n:05}"));
    }
    config
}

fn apply(state: &mut State, at: Time, command: Command) {
    let outcome = state.apply(state.index + 1, Stamped { at, by: "test".into(), command });
    assert_eq!(outcome.refusal(), None);
}

fn findings(config: &Config, down: &str) -> Vec<Finding> {
    let condition = |region: &str| if region == down { Condition::Unhealthy } else { Condition::Healthy };
    let checks = config.checks.iter();
    checks
        .map(|check| Finding {
            check: check.id.clone(),
            condition: condition(check.region.as_str()),
            age: secs(10),
            reason: "probed".into(),
        })
        .collect()
}

/// A quiet world, and the findings of a lost region.
fn quiet(services: usize) -> (State, Vec<Finding>) {
    let config = config(services);
    let (well, lost) = (findings(&config, "none"), findings(&config, "us"));
    let mut state = State::default();
    apply(&mut state, NOW, Command::SetConfig { parent_generation: 0, config: Box::new(config) });
    for region in ["us", "eu", "ap"] {
        let agent = AgentId::new(region, 1);
        apply(&mut state, NOW, Command::OpenSession { agent: agent.clone(), info: AgentInfo::default() });
        apply(&mut state, NOW, Command::Evidence { vantage: agent, findings: well.clone() });
    }
    let view = LeaseView { since: NOW, ..LeaseView::default() };
    for command in decide(&state, &view, NOW).commands {
        apply(&mut state, NOW, command);
    }
    (state, lost)
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let made = what();
    (made, begun.elapsed())
}

struct Times {
    refresh: Duration,
    one_finding: Duration,
    quiet_look: Duration,
    lost_region: Duration,
}

fn measure(services: usize) -> Times {
    let (mut state, lost) = quiet(services);
    let eu = AgentId::new("eu", 1);
    let well = findings(&config(services), "none");
    let refresh =
        timed(|| apply(&mut state, NOW, Command::Evidence { vantage: eu.clone(), findings: well })).1;
    let one = vec![Finding { condition: Condition::Unknown, ..lost[0].clone() }];
    let one_finding = timed(|| apply(&mut state, NOW, Command::Evidence { vantage: eu, findings: one })).1;
    let view = LeaseView { since: NOW, ..LeaseView::default() };
    let quiet_look = timed(|| decide(&state, &view, NOW)).1;

    apply(&mut state, NOW, Command::LoseSession { agent: AgentId::new("us", 1) });
    for region in ["eu", "ap"] {
        let vantage = AgentId::new(region, 1);
        apply(&mut state, NOW, Command::Evidence { vantage, findings: lost.clone() });
    }
    let (decision, lost_region) = timed(|| decide(&state, &view, NOW));
    assert_eq!(decision.refused, []);
    let opened =
        decision.commands.iter().filter(|command| matches!(command, Command::OpenPlan { .. })).count();
    assert_eq!(opened, services + 1);
    Times { refresh, one_finding, quiet_look, lost_region }
}

#[test]
fn costs_grow_with_the_checks_and_not_with_their_square() {
    // 1,260 and 10,080 checks: eight times as many.
    let (few, many) = (measure(419), measure(3_359));
    let rows = [
        ("full refresh of one vantage", few.refresh, many.refresh),
        ("one finding", few.one_finding, many.one_finding),
        ("a look when all is quiet", few.quiet_look, many.quiet_look),
        ("a region lost with every service in it", few.lost_region, many.lost_region),
    ];
    for (what, few, many) in rows {
        println!("{what}: {few:?} at 1,260 checks, {many:?} at 10,080");
        let floor = few.max(Duration::from_millis(1));
        assert!(many < floor * 30, "{what}: {few:?} at 1,260 checks, but {many:?} at 10,080");
    }
}

#[test]
fn thousands_of_notes_a_second() {
    let (mut state, _) = quiet(3_359);
    let notes = 5_000;
    let ((), took) = timed(|| {
        for n in 0..notes {
            apply(&mut state, NOW, Command::Note { text: format!("note {n}") });
        }
    });
    println!("{notes} notes in {took:?}");
    assert!(took < Duration::from_secs(5), "{notes} notes took {took:?}");
}
