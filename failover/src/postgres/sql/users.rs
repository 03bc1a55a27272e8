//! Roles that clients log in as, and their databases. Nothing is ever dropped.

use std::time::Duration;

use postgres_protocol::password;
use serde::Deserialize;

use super::{GRACE, Sql, identifier, literal};
use crate::postgres::error::PostgresError;
use crate::postgres::scram;
use crate::postgres::settings::{Secret, User};

/// Before PostgreSQL 15 it takes two checkpoints.
const CREATE_WITHIN: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Found {
    in_recovery: bool,
    role: Option<Role>,
    has_database: bool,
}

#[derive(Deserialize)]
struct Role {
    can_login: bool,
    is_superuser: bool,
    verifier: Option<String>,
}

impl Sql {
    /// On a primary: the role may log in by that password and is no superuser; its database is there.
    /// What is so already is not written again. A database that was there keeps its owner.
    pub async fn ensure_user(&self, user: &User, password: &Secret) -> Result<(), PostgresError> {
        self.postgres.settings().check_user(user)?;
        password.check(&user.name)?;
        let found = self.find_user(user).await?;
        if found.in_recovery {
            return Err(PostgresError::State {
                what: format!("user {} cannot be made on a replica", user.name),
                remedy: "its primary makes it",
            });
        }
        if let Some(sql) = role_change(&user.name, password, found.role.as_ref()) {
            self.value("making a user", &sql).await?;
        }
        match &user.database {
            Some(database) if !found.has_database => self.create_database(database, &user.name).await,
            _ => Ok(()),
        }
    }

    async fn find_user(&self, user: &User) -> Result<Found, PostgresError> {
        let sql = format!(
            "select json_build_object('in_recovery', pg_is_in_recovery(), 'role',
  (select json_build_object('can_login', rolcanlogin, 'is_superuser', rolsuper, 'verifier', rolpassword)
     from pg_authid where rolname = {name}),
  'has_database', exists (select from pg_database where datname = {database}))::text",
            name = literal(&user.name),
            database = literal(user.database.as_deref().unwrap_or_default()),
        );
        self.json("looking for a user", &sql).await
    }

    /// A statement of its own: PostgreSQL makes no database within a transaction, and several statements
    /// at once are one.
    async fn create_database(&self, database: &str, owner: &str) -> Result<(), PostgresError> {
        let doing = "making a database";
        let ms = CREATE_WITHIN.as_millis();
        self.value(doing, &format!("set statement_timeout = {ms}")).await?;
        let sql = format!("create database {} owner {}", identifier(database), identifier(owner));
        let done = self.value_within(doing, &sql, CREATE_WITHIN + GRACE).await.map(drop);
        // The next statement, on this connection, has its usual time again.
        self.value(doing, "reset statement_timeout").await?;
        done
    }
}

/// The password is sent as its verifier: a log of statements has no secret. None: it is so already.
fn role_change(name: &str, password: &Secret, found: Option<&Role>) -> Option<String> {
    let fits = |role: &Role| {
        let verifier = role.verifier.as_deref();
        role.can_login
            && !role.is_superuser
            && verifier.is_some_and(|verifier| scram::verifies(verifier, password.reveal()))
    };
    if found.is_some_and(fits) {
        return None;
    }
    let verb = if found.is_some() { "alter" } else { "create" };
    let verifier = literal(&password::scram_sha_256(password.reveal().as_bytes()));
    Some(format!("{verb} role {} with login nosuperuser password {verifier}", identifier(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(verifier: Option<String>) -> Role {
        Role { can_login: true, is_superuser: false, verifier }
    }

    #[test]
    fn a_role_is_written_only_when_it_is_not_as_wished() {
        let secret = Secret::new("s3cret");
        let right = || Some(password::scram_sha_256(b"s3cret"));
        assert_eq!(role_change("app", &secret, Some(&role(right()))), None);
        let made = role_change("app", &secret, None).unwrap();
        let begin = "create role \"app\" with login nosuperuser password 'SCRAM-SHA-256$4096:";
        assert!(made.starts_with(begin) && !made.contains("s3cret"), "{made}");
        for other in [
            role(None),
            role(Some(password::scram_sha_256(b"old"))),
            role(Some(password::md5(b"s3cret", "app"))),
            Role { can_login: false, ..role(right()) },
            Role { is_superuser: true, ..role(right()) },
        ] {
            let change = role_change("app", &secret, Some(&other)).unwrap();
            assert!(change.starts_with("alter role \"app\" with login nosuperuser"), "{change}");
        }
    }
}
