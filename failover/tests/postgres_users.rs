//! Roles that clients log in as, with real servers: made once, told to no log, and let in to their own
//! database alone.

#![allow(clippy::unwrap_used)] // Also in what tests share.

use std::process::{Command, Stdio};

use failover::postgres::testing::{Instance, primary};
use failover::postgres::{Class, Secret, User};

const PASSWORD: &str = "p'a\\ss:wörd";

fn app() -> User {
    User { name: "app".into(), database: Some("data".into()) }
}

async fn with_app(name: &str, hba: &[&str]) -> Instance {
    let hba = hba.iter().map(|line| (*line).to_owned()).collect();
    let mut instance = Instance::with(name, |settings| {
        settings.users = vec![app()];
        settings.hba = hba;
        settings.parameters.insert("log_statement".into(), "all".into());
    })
    .await;
    instance.postgres.create(&primary(1)).await.unwrap();
    instance.start().await;
    instance
}

/// As a client over the network.
fn login(to: &Instance, user: &str, password: &str, database: &str, sql: &str) -> Result<String, String> {
    let mut command = Command::new(to.postgres.bin_dir().join("psql"));
    command.args(["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", user]);
    command.args(["-d", database, "-p", &to.postgres.settings().port.to_string(), "-c", sql]);
    let output = command.env("PGPASSWORD", password).stdin(Stdio::null()).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn role(of: &Instance) -> String {
    let sql = "select xmin, rolpassword from pg_authid where rolname = 'app'";
    of.psql(sql).unwrap()
}

/// From where the server lets it in to its database.
fn let_in(of: &Instance) -> String {
    let sql = "select string_agg(address, ',') from pg_hba_file_rules \
               where database = '{data}' and user_name = '{app}' and error is null";
    of.psql(sql).unwrap()
}

#[tokio::test]
async fn postgres_a_user_is_made_once_and_logs_in() {
    let a = with_app("region-a", &[]).await;
    let (sql, secret) = (a.sql().await, Secret::new(PASSWORD));
    sql.ensure_user(&app(), &secret).await.unwrap();
    let made = role(&a);
    sql.ensure_user(&app(), &secret).await.unwrap();
    assert_eq!(role(&a), made, "it was written again");
    let table = "create table t (v text); insert into t values ('1'); select v from t";
    assert_eq!(login(&a, "app", PASSWORD, "data", table).unwrap(), "1", "its database is its own");
    let refused = login(&a, "app", "wrong", "data", "select 1").unwrap_err();
    assert!(refused.contains("password authentication failed"), "{refused}");
    assert_eq!(let_in(&a), "all");

    // Another password, rights it is not to have; what it has stays.
    a.psql("alter role app superuser nologin").unwrap();
    sql.ensure_user(&app(), &Secret::new("new")).await.unwrap();
    assert!(login(&a, "app", PASSWORD, "data", "select 1").is_err());
    let is_superuser =
        login(&a, "app", "new", "data", "select rolsuper, v from pg_roles, t where rolname = user");
    assert_eq!(is_superuser.unwrap(), "f|1");
    let log = a.log();
    assert!(log.contains("\"app\" with login"), "statements are logged: {log}");
    assert!(!log.contains(PASSWORD) && !log.contains("wörd") && !log.contains("'new'"), "{log}");
}

#[tokio::test]
async fn postgres_what_was_there_is_kept_and_a_replica_makes_none() {
    let a = with_app("region-a", &["host data app 10.0.0.0/8 scram-sha-256"]).await;
    a.psql("create role app createdb").unwrap();
    a.psql("create database data").unwrap();
    let sql = a.sql().await;
    sql.ensure_roles().await.unwrap();
    sql.ensure_user(&app(), &Secret::new(PASSWORD)).await.unwrap();
    let kept = "select rolcanlogin, rolcreatedb, (select datdba = 10 from pg_database where datname = 'data') \
                from pg_roles where rolname = 'app'";
    assert_eq!(a.psql(kept).unwrap(), "t|t|t");
    assert_eq!(let_in(&a), "10.0.0.0", "the operator's line alone");

    let b = Instance::replica("region-b", &a, 1).await;
    let error = b.sql().await.ensure_user(&app(), &Secret::new("other")).await.unwrap_err();
    assert_eq!(error.class(), Class::Refused, "{error}");
    for wrong in ["", "two\nlines"] {
        let error = sql.ensure_user(&app(), &Secret::new(wrong)).await.unwrap_err();
        assert_eq!(error.class(), Class::Person, "{error}");
    }
}
