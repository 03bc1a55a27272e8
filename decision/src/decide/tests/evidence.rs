//! Who may accuse: liars, the cut off, the silent, and a leader that has just begun.

use super::told;
use crate::command::{Command, Refusal};
use crate::config::Probe;
use crate::evidence::Condition;
use crate::explain::Opinion;
use crate::name::AgentId;
use crate::testing::{World, five_regions, ms, secs, three_regions, two_and_a_witness};
use crate::time::Time;
use crate::verdict::{Assessment, Verdict};

#[test]
fn one_lying_vantage_moves_nothing() {
    let mut world = World::new(three_regions());
    world.cut("eu", "us");
    world.run_for(secs(60));
    assert_eq!(world.plans(), [""; 0]);
    assert_eq!(world.state.region_verdict(&"us".into()), Verdict::Degraded);
    assert_eq!(world.conclusion("app"), "a grey region is advice, never alone a cause for failover");
}

#[test]
fn a_vantage_that_sees_nothing_is_not_counted() {
    let mut world = World::new(three_regions());
    world.cut("eu", "us");
    world.cut("eu", "ap");
    let before = world.state.journal.last_seq();
    world.run_for(secs(60));
    assert_eq!(world.state.region_verdict(&"us".into()), Verdict::Healthy);
    assert_eq!(world.conclusion("app"), "the primary is healthy");
    let explained = &world.decide().explanations[&"app".into()];
    let counted: Vec<_> =
        explained.opinions.iter().map(|opinion| (opinion.vantage.to_string(), opinion.counted)).collect();
    assert_eq!(counted, [("ap/1".into(), true), ("eu/1".into(), false), ("us/1".into(), true)]);
    let verdicts = world.journal(before).into_iter().filter(|line| line.contains('→')).count();
    assert_eq!(verdicts, 0, "{:#?}", world.journal(before));
}

#[test]
fn a_lying_vantage_and_a_lost_agent_are_not_a_dead_region() {
    for config in [three_regions(), five_regions(), two_and_a_witness()] {
        let mut world = World::new(config);
        world.cut("eu", "us");
        world.silence("us");
        world.run_for(secs(60));
        assert_eq!(world.plans(), [""; 0]);
    }
}

#[test]
fn vantages_cut_from_everything_move_nothing() {
    let mut world = World::new(three_regions());
    for from in ["us", "eu", "ap"] {
        for to in ["us", "eu", "ap"] {
            world.cut(from, to);
        }
    }
    world.run_for(secs(60));
    assert_eq!(world.plans(), [""; 0]);
    assert_eq!(
        world.conclusion("app"),
        "nothing certain is known of us: every region looks dead from everywhere: the observers are suspect"
    );
    let incident = &world.state.incidents[0];
    assert!(incident.resolved_at.is_none(), "somebody is told");
    assert_eq!(world.answers_for("app.example.test"), ["us=100"], "the names stay");
}

#[test]
fn vantages_that_still_reach_themselves_are_suspect_all_the_same() {
    let mut world = World::new(three_regions());
    for (from, to) in [("us", "eu"), ("us", "ap"), ("eu", "us"), ("eu", "ap"), ("ap", "us"), ("ap", "eu")] {
        world.cut(from, to);
    }
    world.run_for(secs(60));
    assert_eq!(world.plans(), [""; 0]);
    assert_eq!(
        world.conclusion("app"),
        "nothing certain is known of us: 0 of 3 vantages can speak, 2 are needed"
    );
}

#[test]
fn nobody_heard_means_nobody_accused() {
    let mut world = World::new(three_regions());
    for region in ["us", "eu", "ap"] {
        world.silence(region);
    }
    world.run_for(secs(60));
    assert_eq!(world.plans(), [""; 0]);
    assert_eq!(
        world.conclusion("app"),
        "nothing certain is known of us: 0 of 3 vantages can speak, 2 are needed"
    );
}

#[test]
fn fewer_than_a_majority_conclude_nothing() {
    let mut world = World::new(three_regions());
    world.kill("us");
    world.silence("eu");
    world.run_for(secs(60));
    assert_eq!(world.plans(), [""; 0]);
    assert_eq!(world.state.region_verdict(&"us".into()), Verdict::Unknown);
    // The second vantage comes back, and with it the decision.
    world.hear("eu");
    world.run_for(secs(5));
    assert_eq!(world.plans(), ["failover us->eu"]);
}

#[test]
fn a_new_leader_has_heard_of_everybody_when_it_began() {
    let mut world = World::new(three_regions());
    world.run_for(secs(60));
    world.view.heard.clear();
    world.view.since = world.now;
    assert_eq!(told(&world.decide().commands), [""; 0]);
    assert_eq!(world.decide().wake_at, Some(world.now + ms(2_500)));
    world.now = world.now + ms(2_500);
    assert_eq!(told(&world.decide().commands)[..3], ["lose ap/1", "lose eu/1", "lose us/1"]);
}

#[test]
fn a_session_that_was_just_opened_was_heard_of() {
    let mut world = World::new(three_regions());
    world.silence("eu");
    world.run_for(secs(60));
    // The leader's memory knows nothing of it: opening it is enough.
    let agent = AgentId::new("eu", 1);
    world.view.heard.remove(&agent);
    world.must(Command::OpenSession { agent, info: Default::default() });
    let lost = world.decide().commands.into_iter().any(|one| matches!(one, Command::LoseSession { .. }));
    assert!(!lost);
}

#[test]
fn a_leader_whose_clock_lies_behind_the_log_lives_in_the_logs_time() {
    let mut world = World::new(three_regions());
    world.kill("us");
    world.run_for(ms(3_400));
    let ahead = world.decide();
    world.now = Time(5);
    assert_eq!(world.decide(), ahead);
}

#[test]
fn a_command_that_others_may_not_run_does_not_silence_them() {
    let mut config = three_regions();
    let mut command =
        config.checks.iter().find(|check| check.id.as_str() == "us/app/http/1").unwrap().clone();
    command.id = "us/app/command/1".into();
    command.probe = Probe::Command { argv: vec!["true".into()] };
    config.checks.push(command);
    let mut world = World::new(config);
    world.kill("us");
    world.run_for(secs(5));
    assert_eq!(world.plans(), ["failover us->eu"]);
}

#[test]
fn an_open_port_does_not_hide_a_failing_page() {
    let mut config = three_regions();
    let mut port = config.checks.iter().find(|check| check.id.as_str() == "us/app/http/1").unwrap().clone();
    port.id = "us/app/tcp/1".into();
    port.service = Some("app".into());
    port.probe = Probe::Tcp { address: "us.test:80".into() };
    config.checks.push(port);
    let mut world = World::new(config);
    for vantage in ["us", "eu", "ap"] {
        let finding = crate::evidence::Finding {
            check: "us/app/http/1".into(),
            condition: Condition::Unhealthy,
            age: secs(5),
            reason: "503".into(),
        };
        let vantage = AgentId::new(vantage, 1);
        world.must(Command::Evidence { vantage, findings: vec![finding] });
    }
    assert_eq!(told(&world.decide().commands)[0], "app in us is dead");
}

/// S5: what the leader says is checked against what everybody holds.
#[test]
fn a_dead_verdict_without_evidence_is_refused() {
    let mut world = World::new(three_regions());
    world.silence("us");
    world.run_for(secs(10));
    let opinions = ["eu", "ap"].map(|vantage| Opinion {
        vantage: AgentId::new(vantage, 1),
        region: "us".into(),
        condition: Condition::Unhealthy,
        since: Time(0),
        reason: "invented".into(),
        counted: true,
    });
    let assessment = Assessment {
        verdict: Verdict::Dead,
        since: Time(0),
        because: "so".into(),
        opinions: opinions.into(),
    };
    let outcome = world.apply(Command::SetVerdict { region: "us".into(), service: None, assessment });
    let detail = "0 of 2 vantages that can speak call us unhealthy; of 3 a majority must speak and most of those agree";
    assert_eq!(outcome.refusal(), Some(&Refusal::NotAllowed { detail: detail.into() }));
}
