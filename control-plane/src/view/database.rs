//! A service's database: who writes, how its copies are, where clients connect.

use decision::config::{Database, Instance};
use decision::database::{InstanceReport, InstanceRole, Ownership, SILENT_UNKNOWN};
use decision::decide::LeaseView;
use decision::name::{RegionName, ServiceName};
use decision::state::{Placement, State};
use decision::time::Time;
use wire::api::{Connect, DatabaseStatus, InstanceStatus, LeaseStatus, Leases, Relay, Status, VacancyStatus};

/// There always is one; whoever connects names their own.
const DATABASE: &str = "postgres";
/// Of each host, in seconds: libpq tries them one after the other, and waits for ever otherwise.
const CONNECT_TIMEOUT_S: u32 = 3;

pub(super) fn status(state: &State, service: &ServiceName, placement: &Placement) -> Option<DatabaseStatus> {
    let (wished, held) = state.database(service)?;
    let config = state.config.as_deref()?;
    let known = config.hosts(service).filter_map(|region| wished.instances.get_key_value(&region.name));
    let instances: Vec<(&RegionName, &Instance)> = known.collect();
    Some(DatabaseStatus {
        mode: wished.mode,
        max_data_loss: wished.max_data_loss,
        epoch: held.epoch,
        writer: held.holder().cloned(),
        vacancy: held.vacancy().map(|vacancy| VacancyStatus {
            last: vacancy.last.clone(),
            why: vacancy.why.clone(),
            proof: vacancy.proof.clone(),
        }),
        alone_since: held.alone.map(|leave| leave.since),
        since: held.since,
        system: held.system.clone(),
        lease: None,
        connect: connect(&instances, super::names(state, service, placement)),
        instances: instances
            .into_iter()
            .map(|(region, wished)| instance(state, held, region, wished))
            .collect(),
    })
}

fn instance(state: &State, held: &Ownership, region: &RegionName, wished: &Instance) -> InstanceStatus {
    let told = held.instances.get(region);
    let position = told.and_then(|told| told.position);
    let silent = |told: &InstanceReport| match told.role {
        InstanceRole::Primary { .. } | InstanceRole::Absent => None,
        _ if told.silent >= SILENT_UNKNOWN => None,
        _ => u64::try_from(told.silent.as_millis()).ok(),
    };
    InstanceStatus {
        region: region.clone(),
        address: wished.address(),
        live: state.has_live_agent(region),
        role: told.map(|told| told.role),
        timeline: position.map(|position| position.timeline),
        position: position.map(|position| position.lsn),
        lag_bytes: told.and_then(|told| lag_bytes(held, told)),
        silent_ms: told.and_then(silent),
        settled: held.settled(region).is_some(),
        system: told.and_then(|told| told.system.clone()),
        guard: told.and_then(|told| told.guard),
        problem: told.and_then(|told| told.problem.clone()),
        priority: wished.priority,
        nofailover: wished.nofailover,
    }
}

/// Each tells of itself at its own time: so of one that streams, what it heard counts.
fn lag_bytes(held: &Ownership, told: &InstanceReport) -> Option<u64> {
    let ahead = match told.role {
        InstanceRole::Primary { .. } => None,
        InstanceRole::Replica { streaming: true } if told.upstream.is_some() => told.upstream,
        _ => held.furthest(),
    };
    ahead.zip(told.position).map(|(ahead, position)| ahead.lsn.ahead_of(position.lsn))
}

fn connect(instances: &[(&RegionName, &Instance)], names: Vec<wire::api::NameStatus>) -> Connect {
    let hosts: Vec<String> = instances.iter().map(|(_, instance)| instance.address()).collect();
    let hosts = hosts.join(",");
    let uri = |wanted: &str| {
        format!(
            "postgresql://{hosts}/{DATABASE}?target_session_attrs={wanted}&connect_timeout={CONNECT_TIMEOUT_S}"
        )
    };
    let mut names: Vec<String> = names.into_iter().map(|name| name.name).collect();
    names.dedup();
    let relays = instances.iter().filter_map(|(region, instance)| {
        let (write, read) = (instance.write_endpoint.clone(), instance.read_endpoint.clone());
        (write.is_some() || read.is_some()).then(|| Relay { region: (*region).clone(), write, read })
    });
    Connect {
        read_write: uri("read-write"),
        read_only: uri("prefer-standby"),
        names,
        relays: relays.collect(),
    }
}

/// What is left of every lease that is held, as the leader counts.
pub fn leases(state: &State, heard: &LeaseView, now: Time) -> Leases {
    let of_service = |(service, held): (&ServiceName, &Ownership)| {
        held.holder()?;
        let (Database { lease, .. }, _) = state.database(service)?;
        let renewed = heard.renewed(service, held.epoch, held.since).heard;
        let ms = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let status = LeaseStatus {
            epoch: held.epoch,
            ttl_ms: ms(lease.ttl),
            left_ms: ms((renewed + lease.ttl).since(now)),
            renewed_ms_ago: ms(now.since(renewed)),
        };
        Some((service.clone(), status))
    };
    state.databases.iter().filter_map(of_service).collect()
}

/// Adds what only the leader knows. What it counts of another epoch is left out.
pub fn show_leases(status: &mut Status, leases: &Leases) {
    for service in &mut status.services {
        let Some(database) = &mut service.database else { continue };
        let of_now = leases.get(&service.name).filter(|lease| lease.epoch == database.epoch);
        database.lease = of_now.copied().filter(|_| database.writer.is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use decision::config::Mode;
    use decision::testing::{World, secs, three_regions, with_database};
    use serde_json::json;

    use super::*;
    use crate::view::{self, Membership};

    fn world() -> World {
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Async);
        let database = config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap();
        let eu = database.instances.get_mut(&"eu".into()).unwrap();
        (eu.host, eu.nofailover, eu.write_endpoint) =
            ("2001:db8::2".into(), true, Some("10.0.0.2:6432".into()));
        World::new(config)
    }

    fn shown(world: &World) -> DatabaseStatus {
        let mut status = view::status(&world.state, &Membership::default());
        show_leases(&mut status, &leases(&world.state, &world.view, world.now));
        status.services.remove(0).database.unwrap()
    }

    #[test]
    fn says_who_writes_and_how_far_behind_the_others_are() {
        let mut world = world();
        world.cut("ap", "us");
        world.write("app", "us", 4_096);
        world.run_for(secs(3));
        let shown = serde_json::to_value(shown(&world)).unwrap();
        assert_eq!(
            (&shown["writer"], &shown["vacancy"], &shown["mode"]),
            (&json!("us"), &json!(null), &json!("async"))
        );
        assert_eq!(shown["lease"]["ttl_ms"], 4_200);
        assert!(shown["lease"]["left_ms"].as_u64().unwrap() > 3_000, "{shown}");
        assert_eq!(shown["instances"][0]["role"], json!({"is": "primary", "epoch": 2}));
        assert_eq!(
            shown["instances"][2],
            json!({"region": "ap", "address": "db.ap.test:5432", "live": true,
                "role": {"is": "replica", "streaming": false}, "timeline": 1, "position": "0/0", "lag_bytes": 4_096,
                "silent_ms": 3_000, "settled": false, "system": "7", "guard": null, "problem": null, "priority": 100,
                "nofailover": false})
        );
        assert_eq!(
            shown["connect"],
            json!({
                "read_write": "postgresql://db.us.test:5432,[2001:db8::2]:5432,db.ap.test:5432/postgres\
                    ?target_session_attrs=read-write&connect_timeout=3",
                "read_only": "postgresql://db.us.test:5432,[2001:db8::2]:5432,db.ap.test:5432/postgres\
                    ?target_session_attrs=prefer-standby&connect_timeout=3",
                "names": ["app.example.test"],
                "relays": [{"region": "eu", "write": "10.0.0.2:6432", "read": null}],
            })
        );
    }

    #[test]
    fn a_lease_that_is_not_renewed_runs_out_and_then_nobody_writes() {
        let mut world = world();
        world.must(decision::command::Command::Pause { why: "test".into() });
        world.silence("us");
        world.run_for(Duration::from_secs(10));
        let lease = shown(&world).lease.unwrap();
        assert_eq!(lease.left_ms, 0);
        assert!(lease.renewed_ms_ago >= 9_000, "{lease:?}");
        world.must(decision::command::Command::Resume);
        world.kill("eu");
        world.run_for(Duration::from_millis(10));
        let vacant = shown(&world);
        assert_eq!((vacant.writer, vacant.lease), (None, None));
        assert_eq!(vacant.vacancy.unwrap().last, Some("us".into()));
    }
}
