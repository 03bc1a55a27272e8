//! Times that cannot all hold at once.

use std::collections::BTreeSet;

use super::Finding;
use crate::config::place::Place;
use crate::config::{Check, Config, Profile};
use crate::time::Human;

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    let strategy = Place::of(&["failover_strategy"]);
    positive(config, &strategy, found);
    detection(config, &strategy, found);
    sessions(config, &strategy, found);
    overlapping_probes(config, found);
    moves(config, &strategy, found);
    stages(config, &strategy, found);
}

fn positive(config: &Config, strategy: &Place, found: &mut Vec<Finding>) {
    let s = &config.strategy;
    let mut times = vec![
        (strategy.key("detection_timeout"), s.detection_timeout),
        (strategy.key("recovery_timeout"), s.recovery_timeout),
        (strategy.key("session_timeout"), s.session_timeout),
        (strategy.key("moves").key("window"), s.moves.window),
    ];
    for check in &config.checks {
        let at = place(check);
        times.push((at.key("interval"), check.interval));
        times.push((at.key("timeout"), check.timeout));
        for (key, threshold) in [
            ("healthy_threshold", check.healthy_threshold),
            ("unhealthy_threshold", check.unhealthy_threshold),
        ] {
            if threshold == 0 {
                found.push(Finding::error(
                    at.key(key),
                    format!("a {key} of 0 asks for no result at all"),
                    "write 1 or more",
                ));
            }
        }
    }
    for (at, time) in times {
        if time.is_zero() {
            found.push(Finding::error(
                at.clone(),
                format!("{at} is zero"),
                "write a time above zero, such as 500ms",
            ));
        }
    }
}

/// A failure is not known before `unhealthy_threshold` probes in a row have failed.
fn detection(config: &Config, strategy: &Place, found: &mut Vec<Finding>) {
    let timeout = config.strategy.detection_timeout;
    let mut said = BTreeSet::new();
    for check in &config.checks {
        let needed = check.interval.saturating_mul(check.unhealthy_threshold);
        if timeout < needed && said.insert((check.interval, check.unhealthy_threshold)) {
            found.push(
                Finding::error(
                    strategy.key("detection_timeout"),
                    format!(
                        "detection_timeout is {}{}, but {} failed probes {} apart take {} to tell a failure",
                        Human(timeout),
                        whence(config, timeout == config.strategy.profile.timings().detection_timeout),
                        check.unhealthy_threshold,
                        Human(check.interval),
                        Human(needed)
                    ),
                    format!(
                        "write `detection_timeout: {}` or more, or probe more often: interval × unhealthy_threshold \
                         must fit into it",
                        Human(needed)
                    ),
                )
                .related(place(check).key("interval"))
                .related(place(check).key("unhealthy_threshold")),
            );
        }
    }
}

fn sessions(config: &Config, strategy: &Place, found: &mut Vec<Finding>) {
    let (session, detection) = (config.strategy.session_timeout, config.strategy.detection_timeout);
    let at = strategy.key("session_timeout");
    if session > detection {
        found.push(
            Finding::error(
                at,
                format!(
                    "session_timeout is {}{}, longer than detection_timeout ({}): a region is dead only once its \
                     agent's session has ended",
                    Human(session),
                    whence(config, session == config.strategy.profile.timings().session_timeout),
                    Human(detection)
                ),
                format!("write `session_timeout: {}` or less", Human(detection)),
            )
            .related(strategy.key("detection_timeout"))
            .related(strategy.key("profile")),
        );
        return;
    }
    let heartbeat = config.strategy.profile.timings().session_heartbeat;
    if session < heartbeat.saturating_mul(2) && !session.is_zero() {
        let message = format!(
            "session_timeout is {}, and agents of profile {} speak every {}: one late message would end a session",
            Human(session),
            profile_name(config.strategy.profile),
            Human(heartbeat)
        );
        let fix = format!("write {} or more, or a faster profile", Human(heartbeat.saturating_mul(3)));
        let finding = if session <= heartbeat {
            Finding::error(at, message, fix)
        } else {
            Finding::warning(at, message, fix)
        };
        found.push(finding.related(strategy.key("profile")));
    }
}

/// The profiles' own pairs are chosen with care; of others the operator should know.
fn overlapping_probes(config: &Config, found: &mut Vec<Finding>) {
    let own = config.strategy.profile.timings();
    let mut said = BTreeSet::new();
    for check in &config.checks {
        let of_profile = check.interval == own.probe_interval && check.timeout == own.probe_timeout;
        if check.timeout > check.interval && !of_profile && said.insert((check.timeout, check.interval)) {
            found.push(
                Finding::warning(
                    place(check).key("timeout"),
                    format!(
                        "a probe may take {} but the next is due after {}: while a target hangs, its failures are \
                         known late",
                        Human(check.timeout),
                        Human(check.interval)
                    ),
                    format!("write `timeout: {}` or less", Human(check.interval)),
                )
                .related(place(check).key("interval")),
            );
        }
    }
}

fn moves(config: &Config, strategy: &Place, found: &mut Vec<Finding>) {
    let moves = &config.strategy.moves;
    let at = strategy.key("moves");
    if config.strategy.automatic_failover && (moves.per_service == 0 || moves.overall == 0) {
        let key = if moves.per_service == 0 { "per_service" } else { "overall" };
        found.push(
            Finding::error(
                at.key(key),
                "no automatic move is allowed, and yet failover is automatic",
                format!("write `{key}: 1` or more, or `automatic_failover: false`"),
            )
            .related(strategy.key("automatic_failover")),
        );
    } else if moves.overall < moves.per_service {
        found.push(
            Finding::warning(
                at.key("per_service"),
                format!(
                    "{} moves a service are allowed, but only {} in all, so the smaller number holds",
                    moves.per_service, moves.overall
                ),
                format!("write `per_service: {}` or raise `overall`", moves.overall),
            )
            .related(at.key("overall")),
        );
    }
}

fn stages(config: &Config, strategy: &Place, found: &mut Vec<Finding>) {
    let stages = &config.strategy.gradual_shift.stages_percent;
    let rising = stages.windows(2).all(|pair| pair[0] < pair[1]);
    if !rising || stages.first() == Some(&0) || stages.last() != Some(&100) {
        found.push(Finding::error(
            strategy.key("gradual_shift").key("stages"),
            "the stages of a gradual shift must rise, from above 0% to 100%",
            "write for example [25%, 50%, 100%]",
        ));
    }
}

fn place(check: &Check) -> Place {
    Place::of(&["checks", check.id.as_str()])
}

/// The operator may never have written the value that is in the way.
fn whence(config: &Config, of_profile: bool) -> String {
    if of_profile {
        format!(" (as in profile {})", profile_name(config.strategy.profile))
    } else {
        String::new()
    }
}

pub(super) fn profile_name(profile: Profile) -> &'static str {
    match profile {
        Profile::Safe => "safe",
        Profile::Balanced => "balanced",
        Profile::Fast => "fast",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Severity::{Error, Warning};
    use super::super::example::{at, config, only};
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn every_profile_keeps_its_own_promises() {
        for profile in [Profile::Safe, Profile::Balanced, Profile::Fast] {
            let mut config = config();
            let timings = profile.timings();
            config.strategy.profile = profile;
            config.strategy.detection_timeout = timings.detection_timeout;
            config.strategy.session_timeout = timings.session_timeout;
            for check in &mut config.checks {
                check.interval = timings.probe_interval;
                check.timeout = timings.probe_timeout;
                check.healthy_threshold = timings.healthy_threshold;
                check.unhealthy_threshold = timings.unhealthy_threshold;
            }
            assert_eq!(super::super::check(&config), [], "{profile:?}");
        }
    }

    #[test]
    fn detection_sooner_than_the_probes_can_tell() {
        let mut config = config();
        config.strategy.detection_timeout = ms(2_900);
        let (severity, place, message) = only(&config);
        assert_eq!((severity, place.as_str()), (Error, "failover_strategy.detection_timeout"));
        assert_eq!(
            message,
            "detection_timeout is 2.9s, but 3 failed probes 1s apart take 3s to tell a failure"
        );
        config.strategy.detection_timeout = ms(3_000);
        assert_eq!(super::super::check(&config), []);
    }

    #[test]
    fn a_session_that_outlives_detection() {
        let mut config = config();
        config.strategy.session_timeout = ms(4_000);
        let (severity, place, _) = only(&config);
        assert_eq!((severity, place.as_str()), (Error, "failover_strategy.session_timeout"));
    }

    #[test]
    fn a_session_shorter_than_its_heartbeats() {
        let mut config = config();
        config.strategy.session_timeout = ms(900);
        assert_eq!(only(&config).0, Warning);
        config.strategy.session_timeout = ms(500);
        assert_eq!(only(&config).0, Error);
    }

    #[test]
    fn a_timeout_longer_than_the_interval() {
        let mut config = config();
        config.checks[1].timeout = ms(1_500);
        let (severity, place, _) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "checks.eu/endpoint/1.timeout"));
    }

    #[test]
    fn times_and_thresholds_of_nothing() {
        let mut config = config();
        config.checks[0].timeout = Duration::ZERO;
        config.checks[0].unhealthy_threshold = 0;
        assert_eq!(at(&config, &place(&config.checks[0]).key("timeout")).0, Error);
        assert_eq!(at(&config, &place(&config.checks[0]).key("unhealthy_threshold")).0, Error);
        config.strategy.recovery_timeout = Duration::ZERO;
        assert_eq!(at(&config, &Place::of(&["failover_strategy", "recovery_timeout"])).0, Error);
    }

    #[test]
    fn automatic_but_never_allowed() {
        let mut config = config();
        config.strategy.moves.per_service = 0;
        assert_eq!(only(&config).0, Error);
        config.strategy.automatic_failover = false;
        assert_eq!(super::super::check(&config), []);
    }

    #[test]
    fn more_moves_a_service_than_in_all() {
        let mut config = config();
        config.strategy.moves.overall = 1;
        let (severity, place, _) = only(&config);
        assert_eq!((severity, place.as_str()), (Warning, "failover_strategy.moves.per_service"));
    }

    #[test]
    fn stages_that_do_not_rise_to_the_whole() {
        for wrong in [vec![], vec![50], vec![0, 100], vec![50, 50, 100], vec![100, 50]] {
            let mut config = config();
            config.strategy.gradual_shift.stages_percent = wrong;
            assert_eq!(only(&config).0, Error);
        }
    }
}
