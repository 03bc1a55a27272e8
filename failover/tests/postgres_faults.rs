//! The PostgreSQL actuator when something went wrong before, or goes wrong meanwhile.

#![allow(clippy::unwrap_used)] // Also in what tests share.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use decision::plan::Epoch;
use failover::postgres::testing::{Instance, PATIENCE, eventually, primary, replica, slot};
use failover::postgres::{
    Class, ClusterState, DataDir, Desired, Files, PostgresError, Rewound, Settings, Standby, SyncStandbys,
    Upstream, WriteProbe, slot_name,
};
use nix::sys::signal::Signal;

async fn files(instance: &Instance) -> Files {
    match instance.postgres.observe_files(None).await.unwrap() {
        DataDir::Present(files) => *files,
        other => panic!("{other:?}"),
    }
}

/// Gives the timeline that it begins.
async fn promote(instance: &Instance, epoch: u64) -> u32 {
    let sql = instance.sql().await;
    sql.promote().await.unwrap();
    sql.wait_writable(PATIENCE).await.unwrap();
    sql.apply(&primary(epoch), PATIENCE).await.unwrap();
    sql.observe().await.unwrap().timeline
}

/// An old primary that crashed with writes of its own, and the new one.
async fn parted() -> (Instance, Instance) {
    parted_with(|_| {}).await
}

async fn parted_with(change: impl Fn(&mut Settings)) -> (Instance, Instance) {
    let mut a = Instance::with("region-a", &change).await.leading().await;
    a.psql("create table t (v text); insert into t values ('1')").unwrap();
    let b = Instance::with("region-b", &change).await.following(&a, 1).await;
    let sql = b.sql().await;
    sql.stop_receiving(&replica(2, None), PATIENCE).await.unwrap();
    sql.final_position(PATIENCE).await.unwrap();
    a.psql("insert into t select generate_series(1, 20000)::text").unwrap();
    a.crash();
    promote(&b, 2).await;
    sql.ensure_slot(&slot("region-a")).await.unwrap();
    (a, b)
}

/// Cuts the rewind off after each of these times; wherever it was, what follows must recognise it.
#[tokio::test]
async fn postgres_a_rewind_cut_off_anywhere_goes_on_or_is_cloned() {
    let (mut a, b) = parted().await;
    let desired = replica(2, Some(b.upstream_for("region-a")));
    let mut cut_ms = 20;
    let done = loop {
        assert!(cut_ms < 60_000, "it never came to its end");
        match tokio::time::timeout(Duration::from_millis(cut_ms), a.postgres.rewind_from(&desired)).await {
            Ok(Ok(rewound)) => break Some(rewound),
            // A cut crash recovery leaves a process that is being ended.
            Ok(Err(error)) if error.class() != Class::Reclone => {
                assert_eq!(error.class(), Class::Refused, "{error}")
            }
            Ok(Err(error)) => {
                println!("cut at the wrong moment: {error}");
                break None;
            }
            Err(_) => println!("cut after {cut_ms} ms"),
        }
        cut_ms = cut_ms * 5 / 4;
    };
    match done {
        Some(Rewound::Done(saved)) => assert_eq!(saved.commits, Some(1), "{saved:?}"),
        Some(other) => panic!("{other:?}"),
        None => {
            let found = a.postgres.observe_files(None).await.unwrap();
            assert!(matches!(found, DataDir::Broken { .. }), "{found:?}");
        }
    }
    let saved = fs::read_dir(a.dir().join("data-diverged")).unwrap().count();
    assert_eq!(saved, 1, "one tail is saved once");
    if is_broken(&a).await {
        a.postgres.clone_from(&desired, |_| {}).await.unwrap();
    }
    a.start().await;
    b.wait_streaming("region-a").await;
    assert_eq!(a.psql("select count(*) from t").unwrap(), "1");
}

async fn is_broken(a: &Instance) -> bool {
    matches!(a.postgres.observe_files(None).await.unwrap(), DataDir::Broken { .. })
}

#[tokio::test]
async fn postgres_a_rewind_cut_off_while_it_writes_is_broken_and_cloned() {
    let (mut a, b) = parted().await;
    // As a crash leaves it in the midst of pg_rewind.
    fs::write(a.dir().join("data.regent-rewind"), "\"rewinding\"\n").unwrap();
    let found = a.postgres.observe_files(None).await.unwrap();
    assert!(matches!(found, DataDir::Broken { .. }), "{found:?}");
    let desired = replica(2, Some(b.upstream_for("region-a")));
    let error = a.postgres.rewind_from(&desired).await.unwrap_err();
    assert_eq!(error.class(), Class::Reclone, "{error}");
    let cloned = a.postgres.clone_from(&desired, |_| {}).await.unwrap();
    assert!(cloned.aside.unwrap().join("PG_VERSION").exists());
    a.start().await;
    b.wait_streaming("region-a").await;
}

#[tokio::test]
async fn postgres_a_clone_that_was_whole_is_not_made_twice() {
    let (a, b) = parted().await;
    drop(a);
    let mut c = Instance::new("region-c").await;
    let sql = b.sql().await;
    sql.ensure_slot(&slot("region-c")).await.unwrap();
    let desired = replica(2, Some(b.upstream_for("region-c")));
    c.postgres.clone_from(&desired, |_| {}).await.unwrap();
    let id = files(&c).await.control.system_identifier;
    let is_copied_again = async |epoch: u64| {
        // As a crash leaves it between the last two renames.
        fs::rename(c.data(), c.dir().join("data.regent-new")).unwrap();
        fs::write(c.dir().join("data.regent-cloned"), format!("{id} at epoch {epoch}\n")).unwrap();
        let mut is_copied = false;
        c.postgres.clone_from(&desired, |_| is_copied = true).await.unwrap();
        is_copied
    };
    assert!(is_copied_again(1).await, "at another epoch the primary may have another history");
    assert!(!is_copied_again(2).await);
    c.start().await;
    b.wait_streaming("region-c").await;
    assert_eq!(c.sql().await.observe().await.unwrap().timeline, 2);
}

#[tokio::test]
async fn postgres_a_replica_that_crashed_is_not_recovered_by_force() {
    let mut a = Instance::primary("region-a").await;
    let mut b = Instance::replica("region-b", &a, 1).await;
    let c = Instance::replica("region-c", &a, 1).await;
    b.crash();
    assert_eq!(files(&b).await.control.state, ClusterState::InArchiveRecovery);
    a.stop().await;
    let sql = c.sql().await;
    promote(&c, 2).await;
    sql.ensure_slot(&slot("region-b")).await.unwrap();
    let desired = replica(2, Some(c.upstream_for("region-b")));
    assert_eq!(b.postgres.rewind_from(&desired).await.unwrap(), Rewound::StartFirst);
    b.start().await;
    c.wait_streaming("region-b").await;
    let sql = b.sql().await;
    eventually("the new timeline", async || sql.observe().await.unwrap().timeline == 2).await;
}

#[tokio::test]
async fn postgres_a_slot_that_lost_its_log_means_clone_again() {
    let a = Instance::with("region-a", |settings| {
        settings.wal_keep_mib = 0;
        settings.slot_wal_keep_mib = 16;
        settings.parameters.insert("max_wal_size".into(), "32MB".into());
        settings.parameters.insert("min_wal_size".into(), "32MB".into());
    });
    let a = a.await.leading().await;
    let sql = a.sql().await;
    let mut b = Instance::replica("region-b", &a, 1).await;
    b.stop().await;
    a.psql("create table t (v text)").unwrap();
    eventually("the slot is lost", async || {
        a.psql(
            "insert into t select repeat('x', 1000) from generate_series(1, 20000); select pg_switch_wal()",
        )
        .unwrap();
        sql.checkpoint(PATIENCE).await.unwrap();
        let slots = sql.observe().await.unwrap().slots;
        slots.iter().any(|held| held.name == slot("region-b") && held.is_lost())
    })
    .await;
    let desired = replica(1, Some(a.upstream_for("region-b")));
    sql.ensure_slot(&slot("region-b")).await.unwrap();
    // Where it recovers from may move on when it runs or ends.
    let why = b.postgres.cannot_follow(&desired, None).await.unwrap().unwrap();
    assert!(why.contains("no more of its log"), "{why}");
    // Also while it runs, and waits for ever.
    b.start().await;
    let why = b.postgres.cannot_follow(&desired, None).await.unwrap().unwrap();
    assert!(why.contains("no more of its log"), "{why}");
    b.stop().await;
    let rewound = b.postgres.rewind_from(&desired).await.unwrap();
    let Rewound::Impossible { reason, saved: None } = rewound else { panic!("{rewound:?}") };
    assert!(reason.contains("no more of its log"), "{reason}");
    b.postgres.clone_from(&desired, |_| {}).await.unwrap();
    assert_eq!(b.postgres.cannot_follow(&desired, None).await.unwrap(), None);
    b.start().await;
    a.wait_streaming("region-b").await;
}

/// Fills the server's log, and has it throw away what it may.
async fn move_on(instance: &Instance) {
    instance
        .psql("insert into t select repeat('x', 1000) from generate_series(1, 20000); select pg_switch_wal()")
        .unwrap();
    instance.sql().await.checkpoint(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn postgres_a_rewind_to_a_primary_that_lacks_log_ends_in_a_copy() {
    let small = |settings: &mut Settings| {
        settings.wal_keep_mib = 0;
        settings.parameters.insert("max_wal_size".into(), "32MB".into());
        settings.parameters.insert("min_wal_size".into(), "32MB".into());
    };
    let (mut a, b) = parted_with(small).await;
    let sql = b.sql().await;
    sql.retain_slots(&BTreeSet::new()).await.unwrap();
    eventually("the log of before is gone", async || {
        move_on(&b).await;
        !b.data().join("pg_wal/000000010000000000000003").exists()
    })
    .await;
    sql.ensure_slot(&slot("region-a")).await.unwrap();
    let desired = replica(2, Some(b.upstream_for("region-a")));
    let rewound = a.postgres.rewind_from(&desired).await.unwrap();
    let Rewound::Impossible { reason, saved: Some(_) } = rewound else { panic!("{rewound:?}") };
    assert!(reason.contains("no more of its log"), "{reason}");
    a.postgres.clone_from(&desired, |_| {}).await.unwrap();
    a.start().await;
    b.wait_streaming("region-a").await;
}

/// Clients that are in, by the titles of the server's processes: to ask it would take a connection.
fn sleeping(at: &Instance) -> usize {
    let postmaster = at.pid().unwrap();
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
    let title = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    children.split_whitespace().filter(|pid| title(pid).contains("SELECT")).count()
}

/// Ended when dropped.
struct Client(std::process::Child);

impl Client {
    fn sleeping(at: &Instance, user: &str) -> Client {
        let mut command = Command::new(at.postgres.bin_dir().join("psql"));
        let port = at.postgres.settings().port.to_string();
        command.args(["-X", "-q", "-w", "-h", "127.0.0.1", "-U", user, "-d", "postgres", "-p", &port]);
        command.args(["-c", "select pg_sleep(3600)"]).stderr(std::process::Stdio::null());
        Client(command.spawn().unwrap())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn postgres_a_primary_that_is_full_of_clients_says_so_and_is_copied_from() {
    let (mut a, b) = parted_with(|settings| {
        settings.hba.push("host postgres app 127.0.0.1/32 trust".into());
    })
    .await;
    b.psql("create role app login").unwrap();
    // Of many at once some are refused for each other: they come until there is room for none.
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let before = clients.len();
        clients.extend((0..10).map(|_| Client::sleeping(&b, "app")));
        eventually("each is in or refused", async || {
            clients.retain_mut(|client| !client.has_ended());
            sleeping(&b) == clients.len()
        })
        .await;
        if clients.len() == before {
            break;
        }
    }
    let desired = replica(2, Some(b.upstream_for("region-a")));
    let rewound = a.postgres.rewind_from(&desired).await;
    if a.postgres.version() >= 16 {
        assert!(matches!(rewound, Ok(Rewound::Done(_))), "{rewound:?}");
    } else {
        let error = rewound.unwrap_err();
        assert!(matches!(error, PostgresError::TooManyConnections { .. }), "{error}");
        assert_eq!(error.class(), Class::Retry);
        a.postgres.clone_from(&desired, |_| {}).await.unwrap();
    }
    a.start().await;
    b.wait_streaming("region-a").await;
}

#[tokio::test]
async fn postgres_a_replica_that_is_ahead_of_the_new_primary_is_rewound() {
    let mut a = Instance::primary("region-a").await;
    a.psql("create table t (v text)").unwrap();
    let mut b = Instance::replica("region-b", &a, 1).await;
    let c = Instance::replica("region-c", &a, 1).await;
    let sql = c.sql().await;
    sql.stop_receiving(&replica(1, None), PATIENCE).await.unwrap();
    a.psql("insert into t values ('ahead')").unwrap();
    eventually("the row", async || b.psql("select v from t").is_ok_and(|v| v == "ahead")).await;
    a.crash();
    promote(&c, 2).await;
    sql.ensure_slot(&slot("region-b")).await.unwrap();
    b.stop().await;
    assert_eq!(files(&b).await.control.state, ClusterState::ShutDownInRecovery);
    let desired = replica(2, Some(c.upstream_for("region-b")));
    let rewound = b.postgres.rewind_from(&desired).await.unwrap();
    let Rewound::Done(saved) = rewound else { panic!("{rewound:?}") };
    assert_eq!(saved.commits, Some(1), "{saved:?}");
    b.start().await;
    c.wait_streaming("region-b").await;
    eventually("the row is gone", async || b.psql("select count(*) from t").is_ok_and(|n| n == "0")).await;
}

/// A promotion that nobody heard of, and another from the same position: one number, two logs.
#[tokio::test]
async fn postgres_two_promotions_to_one_timeline_are_told_apart() {
    let mut a = Instance::primary("region-a").await;
    a.psql("create table t (v text)").unwrap();
    let mut b = Instance::replica("region-b", &a, 1).await;
    let c = Instance::replica("region-c", &a, 1).await;
    a.stop().await;
    for (instance, row) in [(&b, "b"), (&c, "c")] {
        assert_eq!(promote(instance, 2).await, 2);
        instance.psql(&format!("insert into t values ('{row}')")).unwrap();
    }
    b.crash();
    c.sql().await.ensure_slot(&slot("region-b")).await.unwrap();
    let desired = replica(3, Some(c.upstream_for("region-b")));
    let rewound = b.postgres.rewind_from(&desired).await.unwrap();
    let Rewound::Impossible { saved: Some(saved), .. } = rewound else { panic!("{rewound:?}") };
    assert_eq!((saved.timeline, saved.commits), (2, Some(1)), "{saved:?}");
    b.postgres.clone_from(&desired, |_| {}).await.unwrap();
    b.start().await;
    c.wait_streaming("region-b").await;
    eventually("the other row", async || b.psql("select v from t").is_ok_and(|v| v == "c")).await;
}

/// Follows it by the slot of that epoch, which it has.
async fn follow(replica_of: (&Instance, &str), epoch: u64) -> Desired {
    let (of, name) = replica_of;
    let slot = slot_name(name, Epoch(epoch));
    of.sql().await.ensure_slot(&slot).await.unwrap();
    replica(epoch, Some(Upstream { slot: Some(slot), ..of.upstream_for(name) }))
}

/// S3: what it was told at an older epoch leads to another history under the same number, and would confirm commits
/// of it. Its agent is away.
#[tokio::test]
async fn postgres_whoever_was_told_to_follow_at_an_older_epoch_is_sent_nothing() {
    let mut a = Instance::primary("region-a").await;
    a.psql("create table t (v text)").unwrap();
    let mut b = Instance::replica("region-b", &a, 1).await;
    let c = Instance::replica("region-c", &a, 1).await;
    a.stop().await;
    assert_eq!(promote(&b, 2).await, 2);
    let told = follow((&b, "region-c"), 2).await;
    c.sql().await.apply(&told, PATIENCE).await.unwrap();
    b.wait_streaming("region-c").await;
    let writes = |b: &Instance, row: &str, segments: usize| {
        for _ in 0..segments {
            b.psql(&format!("insert into t values ('{row}'); select pg_switch_wal()")).unwrap();
        }
    };
    writes(&b, "b", 4);
    eventually("c has it", async || c.psql("select count(*) from t").is_ok_and(|rows| rows == "4")).await;
    b.crash();
    // a never heard of that timeline. b is copied from it, and begins another of the same number.
    a.start().await;
    let desired = follow((&a, "region-b"), 3).await;
    b.postgres.clone_from(&desired, |_| {}).await.unwrap();
    b.start().await;
    a.wait_streaming("region-b").await;
    a.stop().await;
    assert_eq!(promote(&b, 4).await, 2, "the same number");
    let sql = b.sql().await;
    sql.ensure_slot(&slot_name("region-c", Epoch(4))).await.unwrap();
    let refused = "replication slot \"regent_region_c_e2\" does not exist";
    eventually("c is refused", async || c.log().contains(refused)).await;
    assert!(!sql.observe().await.unwrap().standbys.iter().any(Standby::is_streaming));
    // PostgreSQL itself has nothing against it, once the one has come as far as the other: what c confirms, it breaks on.
    let of_before = slot_name("region-c", Epoch(2));
    sql.ensure_slot(&of_before).await.unwrap();
    let confirmed = async || {
        let slots = sql.observe().await.unwrap().slots;
        slots.into_iter().find(|slot| slot.name == of_before).unwrap().restart
    };
    let before = confirmed().await;
    writes(&b, "another", 8);
    eventually("c confirms it", async || confirmed().await > before).await;
}

/// After a rewind it answers nobody until it was sent all that its primary had written by then. Its slot is of an epoch
/// that was over by the time it asked.
#[tokio::test]
async fn postgres_one_that_starts_and_answers_nothing_is_told_by_its_files_whom_to_follow() {
    let (mut a, b) = parted().await;
    let told = |epoch| {
        let slot = slot_name("region-a", Epoch(epoch));
        replica(epoch, Some(Upstream { slot: Some(slot), ..b.upstream_for("region-a") }))
    };
    let rewound = {
        let desired = told(2);
        let rewind = a.postgres.rewind_from(&desired);
        tokio::pin!(rewind);
        loop {
            tokio::select! {
                rewound = &mut rewind => break rewound.unwrap(),
                written = b.postgres.write_probe(PATIENCE) => {
                    assert!(matches!(written, WriteProbe::Written { .. }), "{written:?}");
                }
            }
        }
    };
    assert!(matches!(rewound, Rewound::Done(_)), "{rewound:?}");
    b.sql().await.ensure_slot(&slot_name("region-a", Epoch(3))).await.unwrap();
    a.spawn();
    let refused = "replication slot \"regent_region_a_e2\" does not exist";
    eventually("it asks in vain", async || a.log().matches(refused).count() > 2).await;
    assert!(a.sql_if_any().await.is_none(), "it has all that it needs to answer");
    a.postgres.write_config(&told(3)).await.unwrap();
    a.signal(Signal::SIGHUP);
    b.wait_streaming("region-a").await;
    eventually("it answers", async || a.sql_if_any().await.is_some()).await;
}

#[tokio::test]
async fn postgres_a_plain_data_folder_is_adopted() {
    let mut a = Instance::primary("region-a").await;
    a.stop().await;
    // As initdb and a person left it: nothing of Regent's, settings that would win over ours.
    fs::remove_file(a.data().join("regent.conf")).unwrap();
    let main = fs::read_to_string(a.data().join("postgresql.conf")).unwrap();
    let plain = main.replace("include_if_exists = 'regent.conf'\n", "work_mem = '5MB'\nport = 1\n");
    fs::write(a.data().join("postgresql.conf"), plain).unwrap();
    let hba = "# mine\nlocal all all peer\n";
    fs::write(a.data().join("pg_hba.conf"), hba).unwrap();
    let auto = "primary_conninfo = 'host=elsewhere'\nmaintenance_work_mem = '7MB'\n\
                recovery_target_lsn = '0/1'\nsynchronous_standby_names = '*'\n";
    fs::write(a.data().join("postgresql.auto.conf"), auto).unwrap();
    assert_eq!(files(&a).await.epoch, None);

    a.postgres.adopt(&primary(3)).await.unwrap();
    a.postgres.adopt(&primary(3)).await.unwrap();
    a.start().await;
    let shown =
        a.psql("select current_setting('work_mem'), current_setting('maintenance_work_mem')").unwrap();
    assert_eq!(shown, "5MB|7MB");
    let seen = a.sql().await.observe().await.unwrap();
    assert_eq!((seen.synchronous_standby_names.as_str(), seen.epoch), ("", Some(3)));
    let kept = fs::read_to_string(a.data().join("postgresql.auto.conf.before-regent")).unwrap();
    assert_eq!(kept, auto);
    assert!(fs::read_to_string(a.data().join("pg_hba.conf")).unwrap().ends_with(hba));
    let running = a.postgres.adopt(&primary(3)).await.unwrap_err();
    assert_eq!(running.class(), Class::Refused, "{running}");
    a.stop().await;
    // A replica is not made a primary by writing so.
    fs::write(a.data().join("standby.signal"), "").unwrap();
    assert_eq!(a.postgres.adopt(&primary(3)).await.unwrap_err().class(), Class::Refused);
    fs::remove_file(a.data().join("standby.signal")).unwrap();
    fs::remove_file(a.data().join("postgresql.conf")).unwrap();
    let error = a.postgres.adopt(&primary(3)).await.unwrap_err();
    assert!(error.to_string().contains("/etc/postgresql"), "{error}");
}

/// How long it may take is for the guard to know: it has a lease to keep.
#[tokio::test]
async fn postgres_a_hung_replica_holds_a_fast_shutdown_until_it_is_given_up() {
    let mut a = Instance::primary("region-a").await;
    let b = Instance::replica("region-b", &a, 1).await;
    let pid = b.psql("select pid from pg_stat_activity where backend_type = 'walreceiver'").unwrap();
    let receiver = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(receiver, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let began = std::time::Instant::now();
    a.stop().await;
    println!("fast shutdown with a hung replica: {:?}", began.elapsed());
    nix::sys::signal::kill(receiver, nix::sys::signal::Signal::SIGCONT).unwrap();
    assert_eq!(files(&a).await.control.state, ClusterState::ShutDown);
}

#[tokio::test]
async fn postgres_clients_are_ended_and_regent_stays() {
    let a = Instance::primary("region-a").await;
    let sql = a.sql().await;
    let settings = a.postgres.settings();
    let mut client = Command::new(a.postgres.bin_dir().join("psql"));
    client.args(["-X", "-U", "postgres", "-d", "postgres", "-c", "select pg_sleep(600)", "-h"]);
    client.arg(&settings.socket_dir).args(["-p", &settings.port.to_string()]);
    let mut client = client.stderr(std::process::Stdio::null()).spawn().unwrap();
    eventually("its session is ended", async || sql.terminate_backends().await.unwrap() == 1).await;
    assert!(!client.wait().unwrap().success());
    sql.checkpoint(PATIENCE).await.unwrap();
    assert!(!sql.is_closed());
}

/// A file system that can be full without harm to others. Ended with `umount` when dropped.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(at: &Path, mib: u32) -> Option<SmallDisk<'_>> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={mib}m,mode=0711");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn postgres_a_full_disk_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let at = dir.path().join("disk");
    let Some(disk) = SmallDisk::mount(&at, 160) else {
        eprintln!("SKIPPED: a small file system can be mounted by root only");
        return;
    };
    let small = |settings: &mut failover::postgres::Settings| {
        settings.data_dir = at.join("data");
        settings.parameters.insert("max_wal_size".into(), "32MB".into());
        settings.parameters.insert("min_wal_size".into(), "32MB".into());
        settings.wal_keep_mib = 0;
    };
    // No room for a copy: told before anything is copied.
    let a = Instance::primary("region-a").await;
    let b = Instance::with("region-b", small).await;
    let upstream = failover::postgres::Upstream { slot: None, ..a.upstream_for("region-b") };
    let error = b.postgres.clone_from(&replica(1, Some(upstream)), |_| {}).await.unwrap_err();
    assert!(matches!(error, PostgresError::DiskFull { .. }), "{error}");
    assert_eq!(error.class(), Class::Person);
    assert_eq!(b.postgres.observe_files(None).await.unwrap(), DataDir::Absent);
    drop(b);

    let mut c = Instance::with("region-c", small).await;
    c.postgres.create(&primary(1)).await.unwrap();
    c.start().await;
    assert!(c.postgres.write_probe(PATIENCE).await.is_written());
    let filler = at.join("filler");
    let free = files(&c).await.free_bytes;
    fs::write(&filler, vec![0; usize::try_from(free - (4 << 20)).unwrap()]).unwrap();
    let full =
        c.psql("create table t as select repeat('x', 1000) from generate_series(1, 20000)").unwrap_err();
    assert!(full.contains("No space left") || full.contains("closed the connection"), "{full}");
    assert!(files(&c).await.free_bytes < 16 << 20);
    let desired = primary(2);
    fs::write(at.join("rest"), vec![0; 8 << 20]).unwrap_err();
    let error = c.postgres.write_config(&desired).await.unwrap_err();
    assert!(matches!(error, PostgresError::DiskFull { .. }), "{error}");
    fs::remove_file(at.join("rest")).unwrap();
    fs::remove_file(&filler).unwrap();
    c.postgres.write_config(&desired).await.unwrap();
    eventually("writes again", async || {
        if c.sql_if_any().await.is_none() {
            c.crash();
            c.start().await;
        }
        c.postgres.write_probe(PATIENCE).await.is_written()
    })
    .await;
    drop(c);
    drop(disk);
}

#[tokio::test]
async fn postgres_a_promoted_replica_waits_for_its_standbys_from_the_first_commit() {
    let mut a = Instance::primary("region-a").await;
    let b = Instance::replica("region-b", &a, 1).await;
    let sync = SyncStandbys::First { count: 1, names: vec!["region-a".into()] };
    let sql = b.sql().await;
    let ready = failover::postgres::Desired { sync, ..replica(1, Some(a.upstream_for("region-b"))) };
    sql.apply(&ready, PATIENCE).await.unwrap();
    a.stop().await;
    sql.promote().await.unwrap();
    sql.wait_writable(PATIENCE).await.unwrap();
    let probe = b.postgres.write_probe(Duration::from_secs(2)).await;
    assert_eq!(probe, WriteProbe::WaitingForStandby);
    sql.ensure_slot(&slot("region-a")).await.unwrap();
    let desired = replica(2, Some(b.upstream_for("region-a")));
    assert_eq!(a.postgres.rewind_from(&desired).await.unwrap(), Rewound::NotNeeded);
    a.start().await;
    eventually("a commit on both", async || b.postgres.write_probe(PATIENCE).await.is_written()).await;
}

/// S3: a copy under way tells what it has of the log, and may never be started.
#[tokio::test]
async fn postgres_a_copy_under_way_is_nobody_that_commits_wait_for() {
    let a = Instance::primary("region-a").await;
    let b = Instance::new("region-b").await;
    let sync = SyncStandbys::Any { count: 1, names: vec!["region-b".into()] };
    let sql = a.sql().await;
    sql.set_sync_standbys(&Desired { sync, ..primary(1) }, PATIENCE).await.unwrap();
    sql.ensure_slot(&slot("region-b")).await.unwrap();
    let desired = replica(1, Some(a.upstream_for("region-b")));
    let copy = b.postgres.clone_from(&desired, |_| {});
    let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let watch = async {
        loop {
            for standby in sql.observe().await.unwrap().standbys {
                let sync = standby.sync_state.unwrap_or_default();
                seen.lock().unwrap().insert((standby.application_name, sync));
            }
        }
    };
    tokio::select! {
        copied = copy => drop(copied.unwrap()),
        never = watch => never,
    }
    let seen = seen.into_inner().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|(_, sync)| sync == "async"), "{seen:?}");
}
