//! What goes wrong around a database, with real servers and `failover up`: each ends in a state that is
//! told, with what to do about it; nobody else writes, and nothing that was acknowledged is lost.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use nix::sys::signal::Signal;
use tests::database::{Writer, psql};
use tests::{Cluster, eventually, root};

fn up() -> anyhow::Result<(Cluster, Writer)> {
    let cluster = Cluster::up_with("balanced", &root().join("regions.yml"))?;
    cluster.all_is_well()?;
    let writer = Writer::start(&cluster)?;
    Ok((cluster, writer))
}

fn says(cluster: &Cluster, region: &str, words: &str) -> anyhow::Result<()> {
    eventually(&format!("{region} says {words:?}"), || Ok(cluster.problem(region)?.contains(words)))
}

#[test]
fn postgres_its_port_is_taken() -> anyhow::Result<()> {
    let (cluster, writer) = up()?;
    // A replica's: it waits, and says why.
    let address = ("127.0.0.1", cluster.postgres_port("eu-west-1"));
    cluster.kill_postgres("eu-west-1")?;
    let mut taken = None;
    eventually("the port is taken", || {
        taken = Some(TcpListener::bind(address)?);
        Ok(true)
    })?;
    says(&cluster, "eu-west-1", "Address already in use")?;
    writer.goes_on()?;
    drop(taken);
    cluster.all_is_well()?;

    // The writer's: another takes over.
    let address = ("127.0.0.1", cluster.postgres_port("us-east-1"));
    cluster.kill_postgres("us-east-1")?;
    let mut taken = None;
    eventually("the port is taken, or it was too late", || {
        taken = TcpListener::bind(address).ok();
        Ok(taken.is_some() || cluster.writer()? != "us-east-1")
    })?;
    eventually("another writes", || Ok(cluster.writer()? != "us-east-1"))?;
    drop(taken);
    cluster.all_is_well()?;
    writer.lost_nothing(&cluster)
}

#[test]
fn postgres_a_replica_is_refused_until_its_password_is_right() -> anyhow::Result<()> {
    let (cluster, writer) = up()?;
    let role = psql(&cluster.superuser("us-east-1")?, "select usename from pg_stat_replication limit 1")?;
    let secret = psql(
        &cluster.superuser("us-east-1")?,
        &format!("select rolpassword from pg_authid where rolname = '{role}'"),
    )?;
    psql(&cluster.superuser("us-east-1")?, &format!("alter role {role} password 'another'"))?;
    cluster.kill_postgres("eu-west-1")?;
    says(&cluster, "eu-west-1", "password")?;
    writer.goes_on()?;
    psql(&cluster.superuser("us-east-1")?, &format!("alter role {role} password '{secret}'"))?;
    cluster.all_is_well()?;
    writer.lost_nothing(&cluster)
}

#[test]
fn postgres_somebody_promotes_a_replica_by_hand() -> anyhow::Result<()> {
    let (cluster, writer) = up()?;
    let epoch = cluster.epoch()?;
    psql(&cluster.superuser("eu-west-1")?, "select pg_promote()").ok();
    // S1: nobody writes there without a lease. It is made a replica again.
    eventually("it is ended", || {
        Ok(psql(&cluster.dsn("eu-west-1"), "select pg_is_in_recovery()").is_ok_and(|is| is == "t"))
    })?;
    cluster.all_is_well()?;
    assert_eq!((cluster.writer()?, cluster.epoch()?), ("us-east-1".into(), epoch), "nobody else noticed");
    writer.lost_nothing(&cluster)
}

#[test]
fn postgres_a_data_folder_of_another_database_is_left_alone() -> anyhow::Result<()> {
    let (mut cluster, writer) = up()?;
    let region = "ap-southeast-1";
    let folder = cluster.data_folder(region)?;
    let aside = folder.with_extension("mine");
    cluster.stop_instance(region)?;
    std::fs::rename(&folder, &aside)?;
    cluster.initdb(&folder)?;
    let system = std::fs::read(folder.join("global/pg_control"))?;
    cluster.restart(region, "agent")?;
    says(&cluster, region, "another database")?;
    assert_eq!(std::fs::read(folder.join("global/pg_control"))?, system, "it was touched");
    writer.goes_on()?;
    std::fs::rename(&folder, folder.with_extension("theirs"))?;
    cluster.all_is_well()?;
    writer.lost_nothing(&cluster)
}

#[test]
fn postgres_a_replica_that_was_away_too_long_is_copied_anew() -> anyhow::Result<()> {
    let settings =
        "settings: {max_slot_wal_keep_size: 32MB, wal_keep_size: 0, max_wal_size: 32MB, min_wal_size: 32MB}";
    let mut cluster =
        Cluster::up_with_changed("balanced", "mode: sync", &format!("mode: sync\n      {settings}"))?;
    cluster.all_is_well()?;
    let writer = Writer::start(&cluster)?;
    let region = "ap-southeast-1";
    let superuser = cluster.superuser("us-east-1")?;
    cluster.stop_instance(region)?;
    let next = psql(&superuser, "select pg_walfile_name(pg_current_wal_lsn())")?;
    eventually("what it needs next is gone", || {
        psql(&superuser, "create table if not exists filler (v text)")?;
        psql(&superuser, "insert into filler select repeat('x', 1000) from generate_series(1, 20000)")?;
        psql(&superuser, "select pg_switch_wal()")?;
        psql(&superuser, "checkpoint")?;
        let oldest = psql(&superuser, "select min(name) from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'")?;
        Ok(oldest > next)
    })?;
    cluster.restart(region, "agent")?;
    eventually("it is copied, and what was there is kept", || Ok(copies(&cluster, region)? == 1))?;
    cluster.all_is_well()?;
    writer.lost_nothing(&cluster)
}

/// How often the instance there was copied over one that was there.
fn copies(cluster: &Cluster, region: &str) -> anyhow::Result<usize> {
    let beside = std::fs::read_dir(cluster.data_folder(region)?.parent().expect("it is not the root"))?;
    Ok(beside.flatten().filter(|e| e.file_name().to_string_lossy().contains(".regent-old-")).count())
}

#[test]
fn postgres_an_old_primary_that_cannot_be_rewound_is_copied_anew() -> anyhow::Result<()> {
    let programs = tempfile::tempdir()?;
    std::fs::set_permissions(programs.path(), std::fs::Permissions::from_mode(0o755))?;
    let installed = tests::database::programs()?;
    for program in std::fs::read_dir(&installed)?.flatten() {
        let beside = programs.path().join(program.file_name());
        match program.file_name() == "pg_rewind" {
            true => {
                std::fs::write(&beside, "#!/bin/sh\necho 'pg_rewind: error: planted' >&2\nexit 1\n")?;
                std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755))?;
            }
            false => std::os::unix::fs::symlink(program.path(), &beside)?,
        }
    }
    let host = "host: 127.0.1.1\n";
    let with_programs = format!("{host}          bin_dir: {}\n", programs.path().display());
    let cluster = Cluster::up_with_changed("balanced", host, &with_programs)?;
    cluster.all_is_well()?;
    let writer = Writer::start(&cluster)?;
    writer.goes_on()?;
    cluster.kill_postgres("us-east-1")?;
    eventually("it is copied, and what was there is kept", || Ok(copies(&cluster, "us-east-1")? == 1))?;
    cluster.all_is_well()?;
    assert_ne!(cluster.writer()?, "us-east-1");
    let is_verified = |entry: &serde_json::Value| entry.to_string().contains("was committed after");
    assert!(cluster.journal(1)?.iter().any(is_verified), "the plan has proved that clients can write");
    writer.lost_nothing(&cluster)
}

/// A command for the end of a log, which PostgreSQL runs before a promotion, hangs where `hang` lies beside
/// the data folder.
#[test]
fn postgres_a_promotion_hangs_and_another_is_promoted() -> anyhow::Result<()> {
    let hang = "settings: {restore_command: 'while test -e ../hang; do sleep 0.1; done; false'}";
    let cluster = Cluster::up_with_changed("balanced", "mode: sync", &format!("mode: sync\n      {hang}"))?;
    cluster.all_is_well()?;
    let writer = Writer::start(&cluster)?;
    writer.goes_on()?;
    let beside = cluster.data_folder("eu-west-1")?.with_file_name("hang");
    std::fs::write(&beside, "")?;
    cluster.kill_postgres("us-east-1")?;
    eventually("another writes", || Ok(cluster.writer().is_ok_and(|writer| writer != "eu-west-1")))?;
    writer.goes_on()?;
    std::fs::remove_file(&beside)?;
    cluster.all_is_well()?;
    writer.lost_nothing(&cluster)
}

#[test]
fn postgres_the_writers_disk_is_full() -> anyhow::Result<()> {
    let (mut cluster, writer) = up()?;
    drop(writer);
    let folder = cluster.data_folder("us-east-1")?;
    let parent = folder.parent().expect("it is not the root").to_owned();
    cluster.down()?;
    let Some(_disk) = SmallDisk::over(&parent, 300)? else {
        eprintln!("SKIPPED: a small file system can be mounted by root only");
        return Ok(());
    };
    cluster.start(&root().join("regions.yml"))?;
    cluster.all_is_well()?;
    let writer = Writer::start(&cluster)?;
    writer.goes_on()?;
    let first = cluster.writer()?;
    assert_eq!(first, "us-east-1");
    let filler = parent.join("filler");
    fill(&filler)?;
    // Clients may fill what is left; how the server ends up then is up to what came first.
    let bulk = "create table bulk as select repeat('x', 1000) from generate_series(1, 50000)";
    let _ = psql(&cluster.everywhere(), bulk);
    eventually("it is told, or another writes", || {
        Ok(cluster.problem(&first)?.contains("disk is full")
            || cluster.writer().is_ok_and(|now| now != first))
    })?;
    std::fs::remove_file(&filler)?;
    cluster.all_is_well()?;
    writer.lost_nothing(&cluster)
}

fn fill(path: &Path) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(path)?;
    let block = vec![0; 1 << 20];
    while file.write_all(&block).is_ok() {}
    Ok(())
}

/// A file system in memory with what was there; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(folder: &Path, mib: u32) -> anyhow::Result<Option<SmallDisk>> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        let aside = folder.with_extension("before");
        std::fs::rename(folder, &aside)?;
        std::fs::create_dir(folder)?;
        let size = format!("size={mib}m,mode=755");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).status()?;
        if !mounted.success() {
            return Ok(None);
        }
        let disk = SmallDisk(folder.to_owned());
        let copied = Command::new("cp").arg("-a").arg(aside.join(".")).arg(folder).status()?;
        ensure!(copied.success(), "cp");
        Ok(Some(disk))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn postgres_the_writers_processes_are_frozen() -> anyhow::Result<()> {
    let (cluster, writer) = up()?;
    cluster.signal_postgres("us-east-1", Signal::SIGSTOP)?;
    eventually("another writes", || Ok(cluster.writer()? != "us-east-1"))?;
    cluster.all_is_well()?;
    writer.lost_nothing(&cluster)
}

/// S3, and mode `sync` giving way by agreement.
#[test]
fn postgres_too_few_replicas_follow_a_synchronous_primary() -> anyhow::Result<()> {
    let (mut cluster, writer) = up()?;
    let is_alone = |cluster: &Cluster| Ok(!cluster.database()?["alone_since"].is_null());
    let replicas = ["eu-west-1", "ap-southeast-1"];
    for region in replicas {
        cluster.stop_instance(region)?;
    }
    eventually("it goes on alone, by agreement", || is_alone(&cluster))?;
    writer.goes_on()?;

    // It dies: nobody else has what it acknowledged, and it goes on itself.
    cluster.restart(replicas[0], "agent")?;
    let epoch = cluster.epoch()?;
    cluster.kill_postgres("us-east-1")?;
    eventually("another epoch", || Ok(cluster.epoch()? > epoch))?;
    writer.goes_on()?;

    cluster.restart(replicas[1], "agent")?;
    cluster.all_is_well()?;
    eventually("it is not alone any more", || Ok(!is_alone(&cluster)?))?;
    writer.lost_nothing(&cluster)?;
    // And so another may take over again, with everything.
    let writes = cluster.writer()?;
    cluster.kill_postgres(&writes)?;
    eventually("another writes", || Ok(cluster.writer()? != writes))?;
    cluster.all_is_well()?;
    writer.lost_nothing(&cluster)
}
