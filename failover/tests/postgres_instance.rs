//! The PostgreSQL actuator with real servers: a cluster's life, and what can be met on the way.

#![allow(clippy::unwrap_used)] // Also in what tests share.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use decision::plan::Epoch;
use failover::postgres::testing::{Instance, PATIENCE, eventually, primary, replica, slot};
use failover::postgres::{
    Class, ClusterState, DataDir, Desired, Files, PostgresError, Promotion, Rewound, Secret, Standby,
    SyncStandbys, WriteProbe, slot_name,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

async fn files(instance: &Instance) -> Files {
    match instance.postgres.observe_files(None).await.unwrap() {
        DataDir::Present(files) => *files,
        other => panic!("{other:?}"),
    }
}

async fn promoted(instance: &Instance, epoch: u64) -> Duration {
    let sql = instance.sql().await;
    let began = Instant::now();
    assert_eq!(sql.promote().await.unwrap(), Promotion::Begun);
    sql.wait_writable(PATIENCE).await.unwrap();
    let took = began.elapsed();
    assert_eq!(sql.promote().await.unwrap(), Promotion::AlreadyPrimary);
    sql.apply(&primary(epoch), PATIENCE).await.unwrap();
    took
}

async fn rows_arrive(instance: &Instance, rows: &str) {
    eventually(&format!("{rows} on the replica"), async || {
        instance.psql("select string_agg(v, ',' order by v) from t").is_ok_and(|found| found == rows)
    })
    .await;
}

#[tokio::test]
async fn postgres_an_old_primary_is_rewound_and_its_tail_saved() {
    let mut a = Instance::primary("region-a").await;
    a.psql("create table t (v text); insert into t values ('1')").unwrap();
    let b = Instance::replica("region-b", &a, 1).await;
    rows_arrive(&b, "1").await;
    let seen = b.sql().await.observe().await.unwrap();
    assert!(seen.in_recovery && seen.timeline == 1 && seen.current.is_none(), "{seen:?}");
    assert_eq!(seen.wal_receiver.as_ref().unwrap().slot.as_deref(), Some(&*slot("region-b")));
    // It is asked again and again on one connection, and tells no less than what was acknowledged before.
    let mut asker = b.postgres.asker(&a.upstream_for("region-b")).await.unwrap();
    let mut last = asker.end(PATIENCE).await.unwrap().unwrap();
    for row in 0..3 {
        a.psql(&format!("insert into t values ('asked-{row}'); delete from t where v like 'asked-%'"))
            .unwrap();
        let end = asker.end(PATIENCE).await.unwrap().unwrap();
        assert!(end.timeline == 1 && end.lsn > last.lsn, "{end:?} after {last:?}");
        last = end;
    }
    eventually("all of it on the replica", async || {
        b.sql().await.observe().await.unwrap().received.is_some_and(|received| received >= last.lsn)
    })
    .await;
    let mut of_replica = a.postgres.asker(&b.upstream_for("region-a")).await.unwrap();
    assert_eq!(of_replica.end(PATIENCE).await.unwrap(), None, "it takes no writes");
    assert_eq!(b.postgres.write_probe(PATIENCE).await, WriteProbe::InRecovery);

    // The replica leaves; the primary goes on, and dies.
    b.sql().await.stop_receiving(&replica(2, None), PATIENCE).await.unwrap();
    let position = b.sql().await.final_position(PATIENCE).await.unwrap();
    assert_eq!(position.timeline, 1);
    assert!(position.replayed <= position.received, "{position:?}");
    a.psql("insert into t values ('lost-1')").unwrap();
    a.psql("insert into t values ('lost-2')").unwrap();
    a.crash();
    assert!(asker.end(PATIENCE).await.is_err());
    let took = promoted(&b, 2).await;
    println!("promote to writable: {took:?}");
    assert!(b.postgres.write_probe(PATIENCE).await.is_written());
    let seen = b.sql().await.observe().await.unwrap();
    assert!(!seen.in_recovery && seen.timeline == 2 && seen.epoch == Some(2), "{seen:?}");
    assert!(!files(&b).await.standby_signal, "PostgreSQL takes it away");
    b.psql("insert into t values ('2')").unwrap();

    let found = files(&a).await;
    assert_eq!((found.control.state, found.is_running()), (ClusterState::InProduction, false));
    b.sql().await.ensure_slot(&slot("region-a")).await.unwrap();
    let desired = replica(2, Some(b.upstream_for("region-a")));
    let rewound = a.postgres.rewind_from(&desired).await.unwrap();
    let Rewound::Done(saved) = rewound else { panic!("{rewound:?}") };
    println!("{saved:?}");
    assert_eq!((saved.timeline, saved.commits), (1, Some(2)));
    assert!(saved.from >= position.replayed && saved.to > saved.from);
    assert!(saved.saved_to.join("report.json").is_file());
    a.start().await;
    // S3: its slots were for those who followed another history.
    assert_eq!(a.sql().await.observe().await.unwrap().slots, []);
    b.wait_streaming("region-a").await;
    rows_arrive(&a, "1,2").await;
    let found = files(&a).await;
    assert!(found.standby_signal && !found.rewind_begun);
    assert_eq!(found.postmaster.unwrap().pid as u32, a.pid().unwrap());
    // Its own configuration stayed: another port than that of the primary it was rewound from.
    let conf = fs::read_to_string(a.data().join("regent.conf")).unwrap();
    assert!(conf.contains(&format!("port = '{}'", a.postgres.settings().port)), "{conf}");
    // Repeated, it finds nothing to do.
    a.stop().await;
    assert_eq!(a.postgres.rewind_from(&desired).await.unwrap(), Rewound::NotNeeded);
    a.start().await;
    b.wait_streaming("region-a").await;
    // Slots that hold the log back for nobody go, those in use stay, and others' are not ours.
    let sql = b.sql().await;
    b.psql("select pg_create_physical_replication_slot('theirs', true)").unwrap();
    let gone = |epoch| slot_name("gone", Epoch(epoch));
    for epoch in [9, 9, 10] {
        sql.ensure_slot(&gone(epoch)).await.unwrap();
        b.psql("insert into t values ('3')").unwrap();
    }
    sql.ensure_slot(&gone(11)).await.unwrap();
    let of_gone = async |epoch| {
        let slots = sql.observe().await.unwrap().slots;
        slots.into_iter().find(|slot| slot.name == gone(epoch)).and_then(|slot| slot.restart)
    };
    assert_eq!(of_gone(11).await, of_gone(9).await, "it holds what the one before held");
    let slots = async || -> Vec<String> {
        sql.observe().await.unwrap().slots.into_iter().map(|slot| slot.name).collect()
    };
    sql.retain_slots(&BTreeSet::from([gone(11), slot("region-a")])).await.unwrap();
    assert_eq!(slots().await, [gone(11), slot("region-a"), "theirs".to_owned()]);
    b.wait_streaming("region-a").await;
    // Also one that is in use: whoever uses it was told so at another epoch.
    sql.retain_slots(&BTreeSet::new()).await.unwrap();
    assert_eq!(slots().await, ["theirs"]);
    eventually("region-a is sent nothing", async || {
        let refused = "replication slot \"regent_region_a_e1\" does not exist";
        let seen = sql.observe().await.unwrap();
        a.log().contains(refused) && !seen.standbys.iter().any(Standby::is_streaming)
    })
    .await;
}

#[tokio::test]
async fn postgres_switchover_loses_nothing_and_needs_no_rewind() {
    let mut a = Instance::primary("region-a").await;
    a.psql("create table t (v text); insert into t values ('1')").unwrap();
    let b = Instance::replica("region-b", &a, 1).await;
    let began = Instant::now();
    a.stop().await;
    println!("fast shutdown with a replica attached: {:?}", began.elapsed());
    let sql = b.sql().await;
    sql.stop_receiving(&replica(2, None), PATIENCE).await.unwrap();
    let position = sql.final_position(PATIENCE).await.unwrap();
    assert!(files(&a).await.control.checkpoint < position.replayed, "it has the shutdown checkpoint too");
    println!("promote to writable: {:?}", promoted(&b, 2).await);
    b.psql("insert into t values ('2')").unwrap();
    b.sql().await.ensure_slot(&slot("region-a")).await.unwrap();
    let desired = replica(2, Some(b.upstream_for("region-a")));
    assert_eq!(a.postgres.rewind_from(&desired).await.unwrap(), Rewound::NotNeeded);
    a.start().await;
    b.wait_streaming("region-a").await;
    rows_arrive(&a, "1,2").await;
    assert_eq!(a.sql().await.observe().await.unwrap().timeline, 2);
}

#[tokio::test]
async fn postgres_creating_is_whole_or_not_at_all() {
    let mut a = Instance::new("region-a").await;
    assert_eq!(a.postgres.observe_files(None).await.unwrap(), DataDir::Absent);
    // Cut off after a moment, as by a crash of the agent.
    let cut = tokio::time::timeout(Duration::from_millis(150), a.postgres.create(&primary(1))).await;
    assert!(cut.is_err(), "initdb was quicker than anyone knows it");
    assert_eq!(a.postgres.observe_files(None).await.unwrap(), DataDir::Absent);
    a.postgres.create(&primary(1)).await.unwrap();
    let found = files(&a).await;
    assert!(found.control.checksums && found.epoch.is_some() && !found.standby_signal);
    let again = a.postgres.create(&primary(1)).await.unwrap_err();
    assert_eq!(again.class(), Class::Refused, "{again}");
    // A stale configuration is refused, and leaves what is.
    a.postgres.write_config(&primary(5)).await.unwrap();
    let stale = a.postgres.write_config(&primary(4)).await.unwrap_err();
    assert!(matches!(stale, PostgresError::Stale { .. }), "{stale}");
    assert_eq!(files(&a).await.epoch.map(|epoch| epoch.0), Some(5));
    assert!(matches!(a.postgres.write_probe(PATIENCE).await, WriteProbe::NotRunning { .. }));
    a.start().await;
    let probe = a.postgres.write_probe(PATIENCE).await;
    println!("{probe:?}");
    assert!(probe.is_written());
    let seen = a.sql().await.observe().await.unwrap();
    assert_eq!(seen.system_identifier, files(&a).await.control.system_identifier);
    assert_eq!(seen.pending_restart, [""; 0]);
}

#[tokio::test]
async fn postgres_a_clone_cut_off_begins_anew_and_moves_the_old_aside() {
    let a = Instance::primary("region-a").await;
    a.psql("create table t as select generate_series(1, 200000)::text as v").unwrap();
    let mut b = Instance::new("region-b").await;
    a.sql().await.ensure_slot(&slot("region-b")).await.unwrap();
    let desired = replica(1, Some(a.upstream_for("region-b")));
    let cut = tokio::time::timeout(Duration::from_millis(100), b.postgres.clone_from(&desired, |_| {})).await;
    assert!(cut.is_err(), "the clone was quicker than anyone knows it");
    assert_eq!(b.postgres.observe_files(None).await.unwrap(), DataDir::Absent);
    // The killed one's connection ends a little later, and holds the slot until then.
    let mut seen = Vec::new();
    eventually("a clone", async || {
        seen.clear();
        match b.postgres.clone_from(&desired, |progress| seen.push(progress)).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.class(), Class::Retry, "{error}");
                false
            }
        }
    })
    .await;
    assert!(seen.last().is_some_and(|last| last.done_bytes > 0), "{seen:?}");
    b.start().await;
    a.wait_streaming("region-b").await;
    // Not over a running server.
    let running = b.postgres.clone_from(&desired, |_| {}).await.unwrap_err();
    assert_eq!(running.class(), Class::Refused, "{running}");
    for _ in 0..2 {
        b.stop().await;
        fs::write(b.data().join("mine"), "kept").unwrap();
        let cloned = b.postgres.clone_from(&desired, |_| {}).await.unwrap();
        let aside = cloned.aside.unwrap();
        assert!(aside.join("mine").exists() && !b.data().join("mine").exists());
        b.start().await;
        a.wait_streaming("region-b").await;
    }
    let beside = |mark: &str| {
        let entries = fs::read_dir(b.dir()).unwrap().flatten().map(|entry| entry.path());
        entries.filter(|path| path.to_string_lossy().contains(mark)).collect::<Vec<_>>()
    };
    assert_eq!(beside("regent-old").len(), 1, "one is kept");
    let logs = beside("regent-wal");
    assert_eq!(logs.len(), 1, "the log of the other, which nobody else may have");
    let mut segments = fs::read_dir(&logs[0]).unwrap().flatten();
    assert!(segments.any(|entry| entry.file_name().len() == "000000010000000000000001".len()));
}

#[tokio::test]
async fn postgres_what_is_not_ours_is_left_alone() {
    let a = Instance::primary("region-a").await;
    let mut other = Instance::primary("region-b").await;
    other.stop().await;
    let expected = files(&a).await.control.system_identifier;
    let found = other.postgres.observe_files(Some(expected)).await.unwrap();
    assert!(matches!(found, DataDir::Foreign { .. }), "{found:?}");
    let desired = replica(1, Some(a.upstream_for("region-b")));
    for error in [
        other.postgres.clone_from(&desired, |_| {}).await.map(drop).unwrap_err(),
        other.postgres.rewind_from(&desired).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, PostgresError::Foreign { .. }), "{error}");
        assert_eq!(error.class(), Class::Person);
    }
    // Not a data folder at all; and one that others can read.
    fs::set_permissions(other.data(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let found = other.postgres.observe_files(None).await.unwrap();
    assert!(matches!(found, DataDir::Foreign { .. }), "{found:?}");
    let strange = Instance::new("region-c").await;
    fs::create_dir(strange.data()).unwrap();
    fs::write(strange.data().join("photo.jpg"), "").unwrap();
    let found = strange.postgres.observe_files(None).await.unwrap();
    assert!(matches!(found, DataDir::Foreign { .. }), "{found:?}");
    let error = strange.postgres.create(&primary(1)).await.unwrap_err();
    assert!(matches!(error, PostgresError::Foreign { .. }), "{error}");
    assert!(strange.data().join("photo.jpg").exists());
}

#[tokio::test]
async fn postgres_a_wrong_password_is_told() {
    let a = Instance::primary("region-a").await;
    let b = Instance::with("region-b", |settings| settings.replication_password = Secret::new("wrong")).await;
    let desired = replica(1, Some(a.upstream_for("region-b")));
    let error = b.postgres.clone_from(&desired, |_| {}).await.unwrap_err();
    assert!(matches!(error, PostgresError::Login { .. }), "{error}");
    assert_eq!(error.class(), Class::Person);
    assert!(!error.to_string().contains("wrong\""), "{error}");
    // Nobody there is another thing.
    let gone = Instance::new("region-c").await;
    let desired = replica(1, Some(gone.upstream_for("region-b")));
    let error = b.postgres.clone_from(&desired, |_| {}).await.unwrap_err();
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error}");
    assert_eq!(error.class(), Class::Retry);
}

#[tokio::test]
async fn postgres_too_many_connections_is_not_death() {
    let mut a = Instance::with("region-a", |settings| {
        settings.parameters.insert("max_connections".into(), "6".into());
        settings.parameters.insert("superuser_reserved_connections".into(), "1".into());
    })
    .await;
    a.postgres.create(&primary(1)).await.unwrap();
    a.start().await;
    let mut held = Vec::new();
    let full = loop {
        match a.postgres.connect().await {
            Ok(sql) => held.push(sql),
            Err(error) => break error,
        }
    };
    assert_eq!(full.class(), Class::Retry, "{full}");
    assert_eq!(a.postgres.write_probe(PATIENCE).await, WriteProbe::TooManyConnections);
    held.truncate(1);
    eventually("room for one", async || a.postgres.write_probe(PATIENCE).await.is_written()).await;
}

#[tokio::test]
async fn postgres_a_commit_that_waits_for_a_standby_is_no_stalled_disk() {
    let a = Instance::primary("region-a").await;
    let b = Instance::replica("region-b", &a, 1).await;
    let sync = SyncStandbys::Any { count: 1, names: vec!["region-b".into()] };
    let desired = Desired { sync, ..primary(1) };
    let sql = a.sql().await;
    sql.set_sync_standbys(&desired, PATIENCE).await.unwrap();
    let seen = sql.observe().await.unwrap();
    assert_eq!(seen.synchronous_standby_names, "ANY 1 (\"region-b\")");
    eventually("a quorum", async || {
        sql.observe().await.unwrap().standbys.iter().any(|s| s.sync_state.as_deref() == Some("quorum"))
    })
    .await;
    assert!(a.postgres.write_probe(PATIENCE).await.is_written());
    b.sql().await.stop_receiving(&replica(1, None), PATIENCE).await.unwrap();
    for _ in 0..4 {
        let probe = a.postgres.write_probe(Duration::from_secs(2)).await;
        assert_eq!(probe, WriteProbe::WaitingForStandby);
    }
    sql.set_sync_standbys(&primary(1), PATIENCE).await.unwrap();
    eventually("writes alone", async || a.postgres.write_probe(PATIENCE).await.is_written()).await;
    // A server that answers nothing: also to the question what it hangs on.
    a.signal(nix::sys::signal::Signal::SIGSTOP);
    let probe = a.postgres.write_probe(Duration::from_millis(500)).await;
    a.signal(nix::sys::signal::Signal::SIGCONT);
    assert!(matches!(probe, WriteProbe::Stalled { .. }), "{probe:?}");
    // What would win over ours does not stay.
    a.psql("alter system set synchronous_standby_names = 'nobody'").unwrap();
    sql.apply(&primary(1), PATIENCE).await.unwrap();
    assert_eq!(sql.observe().await.unwrap().synchronous_standby_names, "");
}

fn children(of: &Instance) -> Vec<(Pid, String)> {
    let pid = of.pid().unwrap();
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let name = |child: &str| fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
    listed.split_whitespace().map(|child| (Pid::from_raw(child.parse().unwrap()), name(child))).collect()
}

/// PostgreSQL itself waits a minute for them.
#[tokio::test]
async fn postgres_a_shutdown_need_not_wait_for_whoever_connects_and_says_nothing() {
    let mut a = Instance::primary("region-a").await;
    let b = Instance::replica("region-b", &a, 1).await;
    let pid = i32::try_from(a.pid().unwrap()).unwrap();
    let turns_away = async || a.postgres.only_turns_away(pid).await.unwrap();
    assert!(!turns_away().await, "it works");
    // As long as a replica has not got everything the server has something to do.
    let receiver = children(&b).into_iter().find(|(_, name)| name.contains("walreceiver")).unwrap().0;
    kill(receiver, Signal::SIGSTOP).unwrap();
    a.psql("create table t (v text)").unwrap();
    a.signal(Signal::SIGINT);
    eventually("its files say that it is shut down", async || {
        files(&a).await.control.state == ClusterState::ShutDown
    })
    .await;
    let _silent = TcpStream::connect((Ipv4Addr::LOCALHOST, a.postgres.settings().port)).unwrap();
    let own = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    eventually("a process for the silent client", async || children(&a).iter().any(|(_, name)| *name == own))
        .await;
    assert!(!turns_away().await, "{:?}", children(&a));
    kill(receiver, Signal::SIGCONT).unwrap();
    eventually("everything is sent", turns_away).await;
    let end = files(&a).await.control.checkpoint;
    a.crash();
    assert!(files(&a).await.control.state.is_clean());
    b.sql().await.stop_receiving(&replica(2, None), PATIENCE).await.unwrap();
    assert!(b.sql().await.final_position(PATIENCE).await.unwrap().replayed > end);
}
