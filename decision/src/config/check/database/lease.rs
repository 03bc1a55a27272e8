//! Times of a lease that cannot all hold at once.

use crate::config::check::Finding;
use crate::config::check::timing::profile_name;
use crate::config::place::Place;
use crate::config::{Config, Database, LeaseTimings, Service};
use crate::name::ServiceName;
use crate::time::Human;

/// One late or lost renewal, and one more, must not fence a primary.
const RENEWALS_MIN: u32 = 3;

pub(super) fn check(
    config: &Config,
    name: &ServiceName,
    service: &Service,
    database: &Database,
    at: &Place,
    found: &mut Vec<Finding>,
) {
    if !zero(database.lease, at, found) && !fencing(config, database.lease, at, found) {
        renewals(config, database.lease, at, found);
        elections(config, database, at, found);
    }
    objective(name, service, database.lease, at, found);
}

fn zero(lease: LeaseTimings, at: &Place, found: &mut Vec<Finding>) -> bool {
    let times = [
        ("lease_ttl", lease.ttl),
        ("lease_renew_every", lease.renew_every),
        ("fence_budget", lease.fence_budget),
    ];
    let before = found.len();
    for (key, _) in times.iter().filter(|(_, time)| time.is_zero()) {
        let here = at.key(key);
        let message = format!("{here} is zero");
        found.push(Finding::error(here, message, "write a time above zero, such as 500ms"));
    }
    found.len() > before
}

fn fencing(config: &Config, lease: LeaseTimings, at: &Place, found: &mut Vec<Finding>) -> bool {
    let half = lease.ttl / 2;
    let too_long = lease.fence_budget >= half;
    if too_long {
        found.push(
            Finding::error(
                at.key("fence_budget"),
                format!(
                    "fence_budget is {}{}, but less than half of a lease of {}{} may go to fencing",
                    Human(lease.fence_budget),
                    whence(config, lease, |lease| lease.fence_budget),
                    Human(lease.ttl),
                    whence(config, lease, |lease| lease.ttl)
                ),
                format!("write less than {}, or a longer `lease_ttl`", Human(half)),
            )
            .related(at.key("lease_ttl")),
        );
    }
    too_long
}

fn renewals(config: &Config, lease: LeaseTimings, at: &Place, found: &mut Vec<Finding>) {
    let room = lease.ttl.saturating_sub(lease.fence_budget);
    if lease.renew_every > room / RENEWALS_MIN {
        found.push(
            Finding::error(
                at.key("lease_renew_every"),
                format!(
                    "a lease is renewed every {}{}, but {RENEWALS_MIN} renewals must fit into the {} before it is \
                     fenced ({} less {})",
                    Human(lease.renew_every),
                    whence(config, lease, |lease| lease.renew_every),
                    Human(room),
                    Human(lease.ttl),
                    Human(lease.fence_budget)
                ),
                format!(
                    "write `lease_renew_every: {}ms` or less, or a longer `lease_ttl`",
                    (room / RENEWALS_MIN).as_millis()
                ),
            )
            .related(at.key("lease_ttl"))
            .related(at.key("fence_budget")),
        );
    }
}

/// Followers of a lost leader first wait out its own lease (the longest election timeout), then a random
/// time up to as long again. A primary whose lease ends meanwhile is killed although nothing ails it.
fn elections(config: &Config, database: &Database, at: &Place, found: &mut Vec<Finding>) {
    if database.failsafe {
        return;
    }
    let timings = config.strategy.profile.timings();
    let quickest = timings.election_timeout_max.saturating_add(timings.election_timeout_min);
    let slowest = super::election(config);
    let lease = database.lease;
    // The last renewal may be that old already when the leader is lost.
    let spent = lease.fence_budget.saturating_add(lease.renew_every);
    let needed = quickest.saturating_add(spent).max(slowest);
    if lease.ttl < needed {
        found.push(
            Finding::warning(
                at.key("lease_ttl"),
                format!(
                    "when the controllers lose their leader, the next needs {} to {} with profile {}, but a lease of {} \
                     is fenced {} after its last renewal: a change of leader alone kills the primary",
                    Human(quickest),
                    Human(slowest),
                    profile_name(config.strategy.profile),
                    Human(lease.ttl),
                    Human(lease.ttl.saturating_sub(lease.fence_budget)),
                ),
                format!("write `lease_ttl: {}` or more, or `failsafe: true`", Human(needed)),
            )
            .related(at.key("fence_budget"))
            .related(at.key("lease_renew_every"))
            .related(Place::of(&["failover_strategy", "profile"])),
        );
    }
}

fn objective(
    name: &ServiceName,
    service: &Service,
    lease: LeaseTimings,
    at: &Place,
    found: &mut Vec<Finding>,
) {
    let (rto, expiry) = (service.tier.rto, lease.expiry());
    if expiry > rto {
        let [own, named] = super::tier_places(name, service, "rto");
        found.push(
            Finding::warning(
                at.key("lease_ttl"),
                format!(
                    "the objective of {name} cannot be met: its RTO is {}, and nobody is promoted before the lease of a \
                     lost primary is surely over, after {}",
                    Human(rto),
                    Human(expiry)
                ),
                "shorten `lease_ttl` (or take a faster profile), or allow a longer RTO",
            )
            .related(own)
            .related(named),
        );
    }
}

/// The operator may never have written the value that is in the way.
fn whence(config: &Config, lease: LeaseTimings, of: impl Fn(LeaseTimings) -> std::time::Duration) -> String {
    let profile = config.strategy.profile;
    match of(lease) == of(profile.lease()) {
        true => format!(" (as in profile {})", profile_name(profile)),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::check::Severity::{self, Error, Warning};
    use crate::config::check::example::{only, with_database};
    use crate::config::{Config, Database, Profile};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn database(config: &mut Config) -> &mut Database {
        config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap()
    }

    fn expect(change: impl FnOnce(&mut Database), severity: Severity, key: &str, message: &str) {
        let mut config = with_database();
        change(database(&mut config));
        assert_eq!(only(&config), (severity, format!("services.app.database.{key}"), message.to_owned()));
    }

    #[test]
    fn every_profile_has_a_lease_that_holds() {
        for profile in [Profile::Safe, Profile::Balanced, Profile::Fast] {
            let mut config = with_database();
            let timings = profile.timings();
            config.strategy.profile = profile;
            config.strategy.detection_timeout = timings.detection_timeout;
            config.strategy.session_timeout = timings.session_timeout;
            for check in &mut config.checks {
                check.interval = timings.probe_interval;
                check.timeout = timings.probe_timeout;
            }
            database(&mut config).lease = profile.lease();
            assert_eq!(super::super::super::check(&config), [], "{profile:?}");
        }
    }

    #[test]
    fn fencing_that_takes_half_the_lease() {
        let message = "fence_budget is 2.1s, but less than half of a lease of 4.2s (as in profile balanced) may go to \
                       fencing";
        expect(|database| database.lease.fence_budget = ms(2_100), Error, "fence_budget", message);
        let message = "fence_budget is 500ms (as in profile balanced), but less than half of a lease of 1s may go to \
                       fencing";
        expect(|database| database.lease.ttl = ms(1_000), Error, "fence_budget", message);
    }

    #[test]
    fn renewals_that_do_not_fit() {
        let message = "a lease is renewed every 1234ms, but 3 renewals must fit into the 3.7s before it is fenced (4.2s less \
                       500ms)";
        let change = |database: &mut Database| {
            database.lease.renew_every = ms(1_234);
            database.failsafe = true;
        };
        expect(change, Error, "lease_renew_every", message);
        let mut config = with_database();
        change(database(&mut config));
        database(&mut config).lease.renew_every = ms(1_233);
        assert_eq!(super::super::super::check(&config), []);
    }

    #[test]
    fn a_lease_that_an_election_outlasts() {
        let message = "when the controllers lose their leader, the next needs 2.3s to 3s with profile balanced, but a lease \
                       of 3199ms is fenced 2699ms after its last renewal: a change of leader alone kills the primary";
        expect(|database| database.lease.ttl = ms(3_199), Warning, "lease_ttl", message);
        let mut config = with_database();
        database(&mut config).lease.ttl = ms(3_200);
        assert_eq!(super::super::super::check(&config), []);
        database(&mut config).lease.ttl = ms(2_000);
        database(&mut config).failsafe = true;
        assert_eq!(super::super::super::check(&config), []);
    }

    #[test]
    fn a_lease_longer_than_the_objective() {
        let mut config = with_database();
        config.services.get_mut(&"app".into()).unwrap().tier.rto = Duration::from_secs(20);
        database(&mut config).lease.ttl = ms(20_000);
        let message = "the objective of app cannot be met: its RTO is 20s, and nobody is promoted before the lease of a \
                       lost primary is surely over, after 20202ms";
        assert_eq!(
            only(&config),
            (Warning, "services.app.database.lease_ttl".to_owned(), message.to_owned())
        );
    }

    #[test]
    fn times_of_nothing() {
        expect(
            |database| database.lease.renew_every = Duration::ZERO,
            Error,
            "lease_renew_every",
            "services.app.database.lease_renew_every is zero",
        );
        let mut config = with_database();
        database(&mut config).lease = crate::config::LeaseTimings {
            ttl: ms(u64::MAX),
            renew_every: ms(u64::MAX),
            fence_budget: ms(u64::MAX),
        };
        assert!(!super::super::super::check(&config).is_empty(), "no panic either");
    }
}
