//! A service's database, for people: who writes, how the copies are, where clients connect.

use std::time::Duration;

use decision::config::Mode;
use decision::database::InstanceRole;
use decision::database::guard::Guard;
use decision::name::ServiceName;
use decision::time::{Human, Time};
use wire::api::{DatabaseStatus, InstanceStatus};

use super::output::{Table, age, bytes, span};

const REGION: [&str; 11] = [
    "REGION", "ROLE", "TIMELINE", "POSITION", "LAG", "SILENT", "LEASE", "GUARD", "PRIORITY", "SYSTEM",
    "PROBLEM",
];

pub fn text(service: &ServiceName, database: &DatabaseStatus, as_of: Time, wide: bool) -> String {
    let mut text = headline(service, database, as_of);
    let mut table = Table::new(REGION);
    for instance in &database.instances {
        table.row(row(database, instance));
    }
    if !wide {
        table.drop_columns(&["PRIORITY", "SYSTEM"]);
    }
    text += &table.render();
    let connect = &database.connect;
    text += &format!("connect: {}\n", connect.read_write);
    if wide {
        text += &format!("reads:   {}\n", connect.read_only);
        if !connect.names.is_empty() {
            text += &format!("names:   {}\n", connect.names.join(" "));
        }
        for relay in &connect.relays {
            let end = |end: &Option<String>| end.clone().unwrap_or_else(|| "-".into());
            text += &format!(
                "relay in {}: writes {}, reads {}\n",
                relay.region,
                end(&relay.write),
                end(&relay.read)
            );
        }
    }
    text
}

fn headline(service: &ServiceName, database: &DatabaseStatus, as_of: Time) -> String {
    let since = age(as_of, database.since);
    let epoch = database.epoch;
    let mode = match database.alone_since {
        Some(alone) => format!("{}, ALONE for {}", mode(database.mode), age(as_of, alone)),
        None => mode(database.mode),
    };
    match (&database.writer, &database.vacancy) {
        (Some(writer), _) => {
            let lease = match &database.lease {
                Some(lease) => format!(", renewed {} ago", human(lease.renewed_ms_ago)),
                None => ", its lease is not known: the leader did not answer".into(),
            };
            format!(
                "database of {service}: written in {writer} at epoch {epoch} for {since}, {mode}{lease}\n"
            )
        }
        (None, Some(vacancy)) => {
            format!(
                "database of {service}: NOBODY WRITES since epoch {epoch}, for {since}, {mode}: {}\n",
                vacancy.why
            )
        }
        (None, None) => format!("database of {service}: NOBODY WRITES, {mode}\n"),
    }
}

fn row(database: &DatabaseStatus, instance: &InstanceStatus) -> [String; 11] {
    let none = || "-".to_owned();
    let role = instance.role.map_or_else(|| "unknown".to_owned(), |role| role.to_string());
    let lease = database.lease.filter(|_| database.writer.as_ref() == Some(&instance.region));
    let mut problems = Vec::new();
    if !instance.live {
        problems.push("its agent has no session: this is what was told last".to_owned());
    }
    problems.extend(instance.problem.clone());
    if instance.nofailover {
        problems.push("nofailover".to_owned());
    }
    [
        instance.region.to_string(),
        role,
        instance.timeline.map_or_else(none, |timeline| timeline.to_string()),
        instance.position.map_or_else(none, |position| position.to_string()),
        instance.lag_bytes.map_or_else(none, bytes),
        instance.silent_ms.map_or_else(none, human),
        lease.map_or_else(none, |lease| format!("{} left", human(lease.left_ms))),
        instance.guard.as_ref().map_or_else(none, Guard::to_string),
        instance.priority.to_string(),
        instance.system.clone().unwrap_or_else(none),
        problems.join("; "),
    ]
}

pub fn mode(mode: Mode) -> String {
    match mode {
        Mode::Async => "async".into(),
        Mode::Sync { acks } => format!("sync with {acks}"),
        Mode::SyncStrict { acks } => format!("sync strictly with {acks}"),
    }
}

fn human(ms: u64) -> String {
    span(Duration::from_millis(ms))
}

/// What is wrong with it, or well: what, whether it is well, and what was found.
pub fn examine(service: &ServiceName, database: &DatabaseStatus) -> Vec<(String, bool, String)> {
    let what = format!("database of {service}");
    let mut found = Vec::new();
    let writer = match (&database.writer, &database.vacancy) {
        (Some(writer), _) => {
            let takes_writes = database.instances.iter().any(|instance| {
                instance.region == *writer && matches!(instance.role, Some(InstanceRole::Primary { .. }))
            });
            match takes_writes {
                true => (true, format!("{writer} takes writes at epoch {}", database.epoch)),
                false => {
                    (false, format!("{writer} holds the lease and does not take writes yet, or any more"))
                }
            }
        }
        (None, Some(vacancy)) => {
            let help = format!("`failover explain {service}` says what it waits for");
            (false, format!("nobody writes since epoch {}: {}; {help}", database.epoch, vacancy.why))
        }
        (None, None) => (false, "nobody writes".into()),
    };
    found.push((what.clone(), writer.0, writer.1));
    if database.alone_since.is_some() {
        let detail = "it acknowledges without the replicas it should wait for, and nobody else may be promoted: \
                      bring replicas back";
        found.push((format!("replicas of {service}"), false, detail.to_owned()));
    }
    if let Some(lease) = &database.lease {
        let well = lease.left_ms > 0;
        let detail = match well {
            true => format!("{} left of {}", human(lease.left_ms), human(lease.ttl_ms)),
            false => {
                format!("not renewed for {}: its holder has ended, or does soon", human(lease.renewed_ms_ago))
            }
        };
        found.push((format!("lease of {service}"), well, detail));
    }
    for instance in &database.instances {
        let (well, detail) = instance_found(database, instance);
        found.push((format!("{what} in {}", instance.region), well, detail));
    }
    let (well, detail) = successor(service, database);
    found.push((format!("successor of {service}"), well, detail));
    found
}

fn instance_found(database: &DatabaseStatus, instance: &InstanceStatus) -> (bool, String) {
    let Some(role) = instance.role else {
        return (false, "its agent has told nothing of it: is it running there?".into());
    };
    if !instance.live {
        return (false, format!("its agent has no session; it was {role} when it last told"));
    }
    if let Some(problem) = &instance.problem {
        return (false, format!("{role}: {problem}"));
    }
    if let (Some(ours), Some(its)) = (&database.system, &instance.system)
        && ours != its
    {
        return (false, format!("{role}, of another database: system {its}, not {ours}"));
    }
    if let Some(problem) = instance.guard.as_ref().and_then(Guard::problem) {
        return (false, format!("{role}: {problem}"));
    }
    let lag = match (instance.lag_bytes, instance.silent_ms) {
        (Some(lag), Some(silent)) => format!(", {} and {} behind", bytes(lag), human(silent)),
        _ => String::new(),
    };
    let is_writer = database.writer.as_ref() == Some(&instance.region);
    let well = match role {
        InstanceRole::Primary { .. } => is_writer,
        InstanceRole::Replica { streaming } => !is_writer && streaming,
        _ => false,
    };
    (well, format!("{role}{lag}"))
}

/// Whether somebody could take over now within `max_data_loss`, by what was last told.
fn successor(service: &ServiceName, database: &DatabaseStatus) -> (bool, String) {
    let limit = database.max_data_loss;
    let allowed = format!("{} and {}", bytes(limit.bytes), Human(limit.time));
    let follows = |instance: &&InstanceStatus| {
        instance.live
            && !instance.nofailover
            && instance.problem.is_none()
            && database.writer.as_ref() != Some(&instance.region)
            && matches!(instance.role, Some(InstanceRole::Replica { .. }))
    };
    let fits = |instance: &&InstanceStatus| {
        instance.lag_bytes.is_some_and(|lag| lag <= limit.bytes)
            && instance.silent_ms.is_none_or(|silent| Duration::from_millis(silent) <= limit.time)
    };
    let able: Vec<&InstanceStatus> = database.instances.iter().filter(follows).collect();
    let names = |instances: Vec<&InstanceStatus>| {
        instances.iter().map(|instance| instance.region.as_str()).collect::<Vec<_>>().join(", ")
    };
    let within: Vec<&InstanceStatus> = able.iter().copied().filter(fits).collect();
    let acks = usize::from(database.mode.acks());
    if acks > 0 && able.len() < acks {
        let detail = format!("{} replicas follow and commits wait for {acks}: writes may hang", able.len());
        return (false, detail);
    }
    match (within.is_empty(), able.is_empty()) {
        (false, _) => (true, format!("{} within max_data_loss ({allowed})", names(within))),
        (true, false) => {
            let detail = format!(
                "none within max_data_loss ({allowed}): {} would need `failover failover {service} --allow-data-loss`",
                names(able)
            );
            (false, detail)
        }
        (true, true) => (false, "no replica follows: nobody could take over".into()),
    }
}

#[cfg(test)]
mod tests {
    use decision::config::MaxDataLoss;
    use decision::database::Proof;
    use decision::database::guard::Watchdog;
    use decision::plan::Epoch;
    use wire::api::{Connect, LeaseStatus, VacancyStatus};

    use super::*;

    fn instance(region: &str, role: InstanceRole, lag: u64) -> InstanceStatus {
        let is_primary = matches!(role, InstanceRole::Primary { .. });
        InstanceStatus {
            region: region.into(),
            address: format!("db.{region}.test:5432"),
            live: true,
            role: Some(role),
            timeline: Some(1),
            position: Some(decision::lsn::Lsn(0x300_0060)),
            lag_bytes: Some(lag),
            silent_ms: (!is_primary).then_some(200),
            settled: false,
            system: Some("7".into()),
            guard: Some(Guard {
                armed: is_primary.then_some(Epoch(2)),
                backstop: true,
                watchdog: if is_primary { Watchdog::Open } else { Watchdog::Closed },
            }),
            problem: None,
            priority: 100,
            nofailover: false,
        }
    }

    fn database() -> DatabaseStatus {
        DatabaseStatus {
            mode: Mode::Async,
            max_data_loss: MaxDataLoss { bytes: 16 << 20, time: Duration::from_secs(30) },
            epoch: Epoch(2),
            writer: Some("us".into()),
            vacancy: None,
            alone_since: None,
            since: Time(0),
            system: Some("7".into()),
            lease: Some(LeaseStatus { epoch: Epoch(2), ttl_ms: 4_200, left_ms: 3_900, renewed_ms_ago: 300 }),
            instances: vec![
                instance("us", InstanceRole::Primary { epoch: Epoch(2) }, 0),
                instance("eu", InstanceRole::Replica { streaming: true }, 5_000),
                InstanceStatus {
                    live: false,
                    ..instance("ap", InstanceRole::Replica { streaming: false }, 64 << 20)
                },
            ],
            connect: Connect { read_write: "postgresql://…".into(), ..Connect::default() },
        }
    }

    #[test]
    fn says_who_writes_what_each_has_and_where_to_connect() {
        assert_eq!(
            text(&"app".into(), &database(), Time(60_000), false),
            "\
database of app: written in us at epoch 2 for 60s, async, renewed 300ms ago
REGION  ROLE                    TIMELINE  POSITION   LAG       SILENT  LEASE      GUARD                 PROBLEM
us      primary                 1         0/3000060  0 B       -       3.9s left  armed at 2, watchdog
eu      replica                 1         0/3000060  4.9 KiB   200ms   -          at rest
ap      replica, not streaming  1         0/3000060  64.0 MiB  200ms   -          at rest               its agent has no session: this is what was told last
connect: postgresql://…
"
        );
        let alone =
            DatabaseStatus { mode: Mode::Sync { acks: 1 }, alone_since: Some(Time(50_000)), ..database() };
        let told = text(&"app".into(), &alone, Time(60_000), false);
        assert!(
            told.starts_with(
                "database of app: written in us at epoch 2 for 60s, sync with 1, ALONE for 10s, renewed"
            ),
            "{told}"
        );
        let vacancy =
            VacancyStatus { last: Some("us".into()), why: "postgres ended".into(), proof: Proof::NeverOwned };
        let vacant = DatabaseStatus { writer: None, vacancy: Some(vacancy), lease: None, ..database() };
        let told = text(&"app".into(), &vacant, Time(60_000), false);
        assert!(
            told.starts_with(
                "database of app: NOBODY WRITES since epoch 2, for 60s, async: postgres ended\n"
            ),
            "{told}"
        );
    }

    #[test]
    fn the_doctor_says_whether_anybody_could_take_over() {
        let found = |database: &DatabaseStatus| -> Vec<String> {
            let mark = |well: bool| if well { "ok" } else { "BAD" };
            let all = examine(&"app".into(), database);
            all.into_iter().map(|(what, well, detail)| format!("{} {what}: {detail}", mark(well))).collect()
        };
        let mut database = database();
        assert_eq!(
            found(&database),
            [
                "ok database of app: us takes writes at epoch 2",
                "ok lease of app: 3.9s left of 4.2s",
                "ok database of app in us: primary",
                "ok database of app in eu: replica, 4.9 KiB and 200ms behind",
                "BAD database of app in ap: its agent has no session; it was replica, not streaming when it last told",
                "ok successor of app: eu within max_data_loss (16.0 MiB and 30s)",
            ]
        );
        database.alone_since = Some(Time(0));
        assert_eq!(
            found(&database)[1],
            "BAD replicas of app: it acknowledges without the replicas it should wait for, and nobody else may be \
             promoted: bring replicas back"
        );
        database.alone_since = None;
        database.max_data_loss.bytes = 1_000;
        assert_eq!(
            found(&database).last().unwrap(),
            "BAD successor of app: none within max_data_loss (1000 B and 30s): eu would need `failover failover app \
             --allow-data-loss`"
        );
        database.instances[0].guard.as_mut().unwrap().backstop = false;
        assert_eq!(
            found(&database)[2],
            "BAD database of app in us: primary: its guard is not watched by a second process: if it hangs, nobody ends \
             the server with its lease; guard.log says why"
        );
        database.instances[1].problem = Some("no space left".into());
        assert_eq!(
            found(&database)[3..],
            [
                "BAD database of app in eu: replica: no space left",
                "BAD database of app in ap: its agent has no session; it was replica, not streaming when it last told",
                "BAD successor of app: no replica follows: nobody could take over",
            ]
        );
    }
}
