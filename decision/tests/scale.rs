//! Ten thousand checks: what costs per check must stay per check. Ratios, not times, so that a
//! busy machine does not matter; the bound is far from linear and far from quadratic.

use std::time::{Duration, Instant};

use decision::command::{AgentInfo, Command, Stamped};
use decision::config::{Check, Config};
use decision::decide::{LeaseView, decide};
use decision::evidence::{Condition, Finding};
use decision::name::AgentId;
use decision::state::State;
use decision::testing::{add_service, secs, three_regions};
use decision::time::Time;

const NOW: Time = Time(1_000_000_000);

/// Each service is checked in each region by `checks` probes.
#[derive(Clone, Copy)]
struct Shape {
    services: usize,
    checks: usize,
}

fn config(shape: Shape) -> Config {
    let mut config = three_regions();
    for n in 1..shape.services {
        add_service(&mut config, &format!("service-{n:05}"));
    }
    let once = std::mem::take(&mut config.checks);
    for check in once {
        let more = if check.service.is_some() { shape.checks } else { 1 };
        for n in 0..more {
            let id = format!("{}/{n}", check.id);
            config.checks.push(Check { id: id.as_str().into(), ..check.clone() });
        }
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
fn quiet(shape: Shape) -> (State, Vec<Finding>) {
    let config = config(shape);
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

fn measure(shape: Shape) -> Times {
    let (mut state, lost) = quiet(shape);
    let eu = AgentId::new("eu", 1);
    let well = findings(&config(shape), "none");
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
    assert_eq!(opened, shape.services);
    Times { refresh, one_finding, quiet_look, lost_region }
}

/// Eight times as much may cost at most thirty times as much.
fn compare(what: &str, few: Duration, many: Duration) {
    println!("{what}: {few:?}, at eight times as many {many:?}");
    let floor = few.max(Duration::from_millis(1));
    assert!(many < floor * 30, "{what}: {few:?}, but {many:?} at eight times as many");
}

#[test]
fn ten_thousand_checks_cost_no_more_than_their_share() {
    let few = measure(Shape { services: 20, checks: 21 });
    let many = measure(Shape { services: 20, checks: 168 });
    compare("full refresh of one vantage", few.refresh, many.refresh);
    compare("one finding", few.one_finding, many.one_finding);
    compare("a look when all is quiet", few.quiet_look, many.quiet_look);
    compare("a region lost with every service in it", few.lost_region, many.lost_region);
}

#[test]
fn a_thousand_services_cost_no_more_than_their_share() {
    let few = measure(Shape { services: 125, checks: 1 });
    let many = measure(Shape { services: 1_000, checks: 1 });
    compare("full refresh of one vantage", few.refresh, many.refresh);
    compare("a look when all is quiet", few.quiet_look, many.quiet_look);
    // Each that moves is counted against all that moved: quadratic, but of a few comparisons.
    println!("a region lost with 1,000 services in it: {:?}", many.lost_region);
    assert!(many.lost_region < secs(20), "{:?}", many.lost_region);
}

#[test]
fn thousands_of_notes_a_second() {
    let (mut state, _) = quiet(Shape { services: 20, checks: 168 });
    let notes = 5_000;
    let ((), took) = timed(|| {
        for n in 0..notes {
            apply(&mut state, NOW, Command::Note { text: format!("note {n}") });
        }
    });
    println!("{notes} notes in {took:?}");
    assert!(took < Duration::from_secs(5), "{notes} notes took {took:?}");
}
