//! Databases: what the mode can keep of the objective, and the roles that Regent logs in by.

mod instances;
mod lease;
mod settings;
mod users;

use std::time::Duration;

use super::{Finding, service_place};
use crate::config::place::Place;
use crate::config::{Config, Database, Mode, Service};
use crate::name::ServiceName;
use crate::time::Human;

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    for (name, service) in &config.services {
        let Some(database) = &service.database else { continue };
        let at = service_place(name).key("database");
        acks(database, &at, found);
        loss(config, name, service, database, &at, found);
        lease::check(config, name, service, database, &at, found);
        roles(database, &at, found);
        users::check(database, &at, found);
        instances::check(config, name, database, &at, found);
        settings::check(database, &at, found);
    }
    instances::side_by_side(config, found);
}

/// The tier may be one by name or one of the service's own.
fn tier_places(name: &ServiceName, service: &Service, key: &str) -> [Place; 2] {
    [service_place(name).key("tier").key(key), Place::of(&["tiers", &service.tier.name, key])]
}

fn acks(database: &Database, at: &Place, found: &mut Vec<Finding>) {
    if database.mode == Mode::Async {
        return;
    }
    let acks = usize::from(database.mode.acks());
    let others = database.instances.len().saturating_sub(1);
    let (here, mode) = (at.key("sync_acks"), at.key("mode"));
    let finding = if acks == 0 {
        Finding::error(
            here,
            "a commit that waits for 0 other instances is what mode async does",
            "write `sync_acks: 1` or more, or `mode: async`",
        )
    } else if acks > others {
        let fix = match others {
            0 => "give a second region an instance, or write `mode: async`".to_owned(),
            _ => format!("write `sync_acks: {others}` or less"),
        };
        let message =
            format!("a commit would wait for {} for ever: of those there are {others}", other(acks));
        Finding::error(here, message, fix)
    } else if matches!(database.mode, Mode::SyncStrict { .. }) && acks == others {
        Finding::warning(
            here,
            format!(
                "a commit waits for {} however long that takes, and when a region is lost only {} are left: whoever is \
                 promoted then takes no writes until it is back",
                other(acks),
                others - 1
            ),
            "write `mode: sync`, fewer `sync_acks`, or host it in one more region",
        )
    } else {
        return;
    };
    found.push(finding.related(mode));
}

fn other(count: usize) -> String {
    format!("{count} other instance{}", if count == 1 { "" } else { "s" })
}

/// What may be lost when nobody waits for another region. In the sync modes nothing is: there the
/// limit only bounds how far behind a candidate may be.
fn loss(
    config: &Config,
    name: &ServiceName,
    service: &Service,
    database: &Database,
    at: &Place,
    found: &mut Vec<Finding>,
) {
    if database.mode != Mode::Async {
        return;
    }
    let [own, named] = tier_places(name, service, "rpo");
    let rpo = service.tier.rpo;
    if rpo.is_zero() {
        found.push(
            Finding::error(
                at.key("mode"),
                format!(
                    "an RPO of 0s allows {name} no loss, but in mode async a commit is acknowledged before any other \
                     region has it"
                ),
                "write `mode: sync`, or a tier with an `rpo` above 0s",
            )
            .related(own)
            .related(named),
        );
        return;
    }
    let limit = at.key("max_data_loss");
    if database.max_data_loss.bytes == 0 {
        found.push(
            Finding::error(
                limit.key("bytes"),
                "0 bytes allow no loss, but in mode async a commit is acknowledged before any other region has it",
                "write `mode: sync`, or for example `bytes: 16MiB`",
            )
            .related(at.key("mode")),
        );
    }
    let (time, expiry) = (database.max_data_loss.time, database.lease.expiry());
    if time < expiry {
        found.push(
            Finding::error(
                limit.key("time"),
                format!(
                    "max_data_loss allows {}, but a primary that is cut off may take writes until its lease of {} is \
                     surely over, after {}: nobody could ever be promoted without a person",
                    Human(time),
                    Human(database.lease.ttl),
                    Human(expiry)
                ),
                format!("write `time: {}` or more, or a shorter `lease_ttl`", Human(expiry)),
            )
            .related(at.key("lease_ttl")),
        );
    } else if time > rpo {
        let fix = match rpo < expiry {
            true => {
                format!("write `mode: sync`, a shorter `lease_ttl`, or an `rpo` of {} or more", Human(expiry))
            }
            false => format!("write `time: {}` or less, or a longer `rpo`", Human(rpo)),
        };
        found.push(
            Finding::warning(
                limit.key("time"),
                format!(
                    "up to {} of {name} may be lost before a person is asked, more than its RPO of {}",
                    Human(time),
                    Human(rpo)
                ),
                fix,
            )
            .related(own)
            .related(named)
            .related(at.key("lease_ttl")),
        );
    } else if time < expiry.saturating_add(election(config)) {
        // A new leader does not know what the one before it renewed.
        let surely = expiry.saturating_add(election(config));
        found.push(
            Finding::warning(
                limit.key("time"),
                format!(
                    "max_data_loss allows {}, but when the controllers' leader is lost with the primary, the next one \
                     may know only within {} when {name} was last written: nobody is promoted then without a person",
                    Human(time),
                    Human(surely)
                ),
                format!("write `time: {}` or more, a shorter `lease_ttl`, or `mode: sync`", Human(surely)),
            )
            .related(at.key("lease_ttl"))
            .related(Place::of(&["failover_strategy", "profile"])),
        );
    }
}

/// The longest that followers of a lost leader wait before one of them asks for votes.
fn election(config: &Config) -> Duration {
    config.strategy.profile.timings().election_timeout_max.saturating_mul(2)
}

fn roles(database: &Database, at: &Place, found: &mut Vec<Finding>) {
    let replication = at.key("replication");
    for (place, role, example) in [
        (at.key("superuser"), &database.superuser, "postgres"),
        (replication.key("user"), &database.replication.user, "regent_replication"),
    ] {
        if let Some(why) = no_role(role) {
            let fix = format!("write for example {example}");
            found.push(Finding::error(place, format!("{role:?} cannot be a role: {why}"), fix));
        }
    }
    if database.superuser == database.replication.user {
        found.push(
            Finding::error(
                replication.key("user"),
                format!(
                    "{} would both rule the database and log in to copy it: whoever has the password could do all",
                    database.superuser
                ),
                "write a role of its own, such as `user: regent_replication`",
            )
            .related(at.key("superuser")),
        );
    }
    let count = database.instances.len();
    if database.replication.password.is_none() && count > 1 {
        found.push(Finding::error(
            replication,
            format!("{count} instances copy from each other, and there is no password to log in by"),
            "add `replication: {password_file: /etc/regent/replication.password}`, or `password_env`; the password \
             itself never stands here",
        ));
    }
}

/// Why a role cannot have this name. It stands in SQL, connection strings and `pg_hba.conf`, each with its
/// own rules for quoting, so only what needs none is taken.
fn no_role(name: &str) -> Option<&'static str> {
    const LENGTH_MAX: usize = 63;
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if name.is_empty()
        || name.len() > LENGTH_MAX
        || !name.bytes().all(sound)
        || name.starts_with(|c: char| c.is_ascii_digit())
    {
        Some("lower-case letters, digits and underscores, no digit first, at most 63")
    } else if name.starts_with("pg_") {
        Some("PostgreSQL keeps names with pg_ in front for itself")
    } else if ["all", "public", "none"].contains(&name) {
        Some("to PostgreSQL the word means something else")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Severity::{self, Error, Warning};
    use super::super::example::{config, only, with_database};
    use super::*;
    use crate::config::Profile;

    fn said(change: impl FnOnce(&mut Service)) -> (Severity, String, String) {
        let mut config = with_database();
        change(config.services.get_mut(&"app".into()).unwrap());
        only(&config)
    }

    fn of(change: impl FnOnce(&mut Database)) -> (Severity, String, String) {
        said(|service| change(service.database.as_mut().unwrap()))
    }

    fn expect(found: (Severity, String, String), severity: Severity, key: &str, message: &str) {
        assert_eq!(found, (severity, format!("services.app.database.{key}"), message.to_owned()));
    }

    #[test]
    fn a_sound_database_has_no_findings() {
        assert_eq!(super::super::check(&with_database()), []);
    }

    #[test]
    fn waiting_for_nobody_or_for_too_many() {
        expect(
            of(|database| database.mode = Mode::Sync { acks: 0 }),
            Error,
            "sync_acks",
            "a commit that waits for 0 other instances is what mode async does",
        );
        for mode in [Mode::Sync { acks: 3 }, Mode::SyncStrict { acks: 3 }] {
            expect(
                of(|database| database.mode = mode),
                Error,
                "sync_acks",
                "a commit would wait for 3 other instances for ever: of those there are 2",
            );
        }
        expect(
            of(|database| database.mode = Mode::SyncStrict { acks: 2 }),
            Warning,
            "sync_acks",
            "a commit waits for 2 other instances however long that takes, and when a region is lost only 1 are \
             left: whoever is promoted then takes no writes until it is back",
        );
        for mode in [Mode::Sync { acks: 2 }, Mode::SyncStrict { acks: 1 }] {
            let mut config = with_database();
            config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap().mode = mode;
            assert_eq!(super::super::check(&config), [], "{mode:?}");
        }
    }

    #[test]
    fn no_loss_allowed_and_nobody_waited_for() {
        expect(
            said(|service| service.tier.rpo = Duration::ZERO),
            Error,
            "mode",
            "an RPO of 0s allows app no loss, but in mode async a commit is acknowledged before any other region has it",
        );
        expect(
            of(|database| database.max_data_loss.bytes = 0),
            Error,
            "max_data_loss.bytes",
            "0 bytes allow no loss, but in mode async a commit is acknowledged before any other region has it",
        );
        let mut config = with_database();
        let service = config.services.get_mut(&"app".into()).unwrap();
        service.tier.rpo = Duration::ZERO;
        let database = service.database.as_mut().unwrap();
        database.mode = Mode::Sync { acks: 1 };
        database.max_data_loss.bytes = 0;
        database.max_data_loss.time = Duration::ZERO;
        assert_eq!(super::super::check(&config), [], "in a sync mode nothing is lost");
    }

    #[test]
    fn a_loss_shorter_than_the_lease() {
        expect(
            of(|database| database.max_data_loss.time = Duration::from_millis(4_243)),
            Error,
            "max_data_loss.time",
            "max_data_loss allows 4243ms, but a primary that is cut off may take writes until its lease of 4.2s is \
             surely over, after 4244ms: nobody could ever be promoted without a person",
        );
        let mut config = with_database();
        let surely = Profile::Balanced.lease().expiry() + election(&config);
        let database = config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap();
        database.max_data_loss.time = surely;
        assert_eq!(super::super::check(&config), []);
    }

    #[test]
    fn a_loss_shorter_than_a_lease_and_an_election() {
        expect(
            of(|database| database.max_data_loss.time = Duration::from_millis(4_244)),
            Warning,
            "max_data_loss.time",
            "max_data_loss allows 4244ms, but when the controllers' leader is lost with the primary, the next one may \
             know only within 7244ms when app was last written: nobody is promoted then without a person",
        );
    }

    #[test]
    fn a_loss_longer_than_the_objective() {
        let message = "up to 61s of app may be lost before a person is asked, more than its RPO of 1m";
        let found = of(|database| database.max_data_loss.time = Duration::from_secs(61));
        expect(found, Warning, "max_data_loss.time", message);
        // No limit would help: the lease alone is longer.
        let mut config = with_database();
        let service = config.services.get_mut(&"app".into()).unwrap();
        service.tier.rpo = Duration::from_secs(1);
        service.database.as_mut().unwrap().max_data_loss.time = Duration::from_secs(5);
        let found = super::super::check(&config);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].fix, "write `mode: sync`, a shorter `lease_ttl`, or an `rpo` of 4244ms or more");
    }

    #[test]
    fn expiry_counts_the_drift_and_rounds_up() {
        let mut lease = Profile::Fast.lease();
        assert_eq!(lease.expiry(), Duration::from_millis(669)); // 666.6, and what was cut
        lease.ttl = Duration::from_millis(u64::MAX);
        assert_eq!(lease.expiry(), Duration::from_millis(u64::MAX), "no overflow");
    }

    #[test]
    fn roles_that_cannot_be() {
        for wrong in ["", "Admin", "7up", "a-b", "a b", "x\n", "a'b", &"a".repeat(64)] {
            let message = format!(
                "{wrong:?} cannot be a role: lower-case letters, digits and underscores, no digit first, at most 63"
            );
            let found = of(|database| database.superuser = wrong.to_owned());
            expect(found, Error, "superuser", &message);
            let found = of(|database| database.replication.user = wrong.to_owned());
            expect(found, Error, "replication.user", &message);
        }
        let found = of(|database| database.replication.user = "pg_monitor".to_owned());
        let message = "\"pg_monitor\" cannot be a role: PostgreSQL keeps names with pg_ in front for itself";
        expect(found, Error, "replication.user", message);
        let found = of(|database| database.replication.user = "all".to_owned());
        let message = "\"all\" cannot be a role: to PostgreSQL the word means something else";
        expect(found, Error, "replication.user", message);
    }

    #[test]
    fn one_role_for_both_and_one_without_a_password() {
        expect(
            of(|database| database.replication.user = "postgres".to_owned()),
            Error,
            "replication.user",
            "postgres would both rule the database and log in to copy it: whoever has the password could do all",
        );
        expect(
            of(|database| database.replication.password = None),
            Error,
            "replication",
            "3 instances copy from each other, and there is no password to log in by",
        );
    }

    #[test]
    fn a_service_without_a_database_may_promise_no_loss() {
        let mut config = config();
        config.services.get_mut(&"app".into()).unwrap().tier.rpo = Duration::ZERO;
        assert_eq!(super::super::check(&config), []);
    }
}
