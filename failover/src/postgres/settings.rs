//! What the actuator must know of the one instance that it cares for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use decision::hash::Hash;
use decision::plan::Epoch;

use super::error::PostgresError;

/// A password; neither `Debug` nor an error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// What no file, variable or protocol on its way would change.
    pub(super) fn check(&self, whose: &str) -> Result<(), PostgresError> {
        if self.0.is_empty() || self.0.len() > 256 || self.0.chars().any(char::is_control) {
            let what = format!("the password of {whose} must have 1 to 256 bytes and no control characters");
            return Err(PostgresError::Config { what });
        }
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A role that clients log in as. Its password is no part of the settings: it is read when it is needed,
/// by the primary alone, so that no instance stands still for want of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// Made if it is missing, and its own.
    pub database: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// Where PostgreSQL's programs are; none: the newest that is installed.
    pub bin_dir: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub port: u16,
    pub listen_addresses: Vec<String>,
    /// Whom PostgreSQL's programs run as when this process is root.
    pub os_user: String,
    /// A folder of Regent's own, mode 0700, for the Unix socket.
    pub socket_dir: PathBuf,
    /// Where local clients look for the socket, such as `/var/run/postgresql`.
    pub extra_socket_dirs: Vec<PathBuf>,
    pub superuser: String,
    pub replication_user: String,
    pub replication_password: Secret,
    /// libpq keywords for every connection to a primary, such as `sslmode`.
    pub replication_conninfo: BTreeMap<String, String>,
    /// Settings of `postgresql.conf`; those that Regent decides are refused.
    pub parameters: BTreeMap<String, String>,
    /// Lines for `pg_hba.conf`, before those that were there.
    pub hba: Vec<String>,
    /// Let in to their databases, where no line of `hba` is about that.
    pub users: Vec<User>,
    /// What this instance is called in `synchronous_standby_names`: its region.
    pub application_name: String,
    pub locale: String,
    /// For a replica that was behind when another was promoted; a rewind copies all of it.
    pub wal_keep_mib: u32,
    /// What a lost replica's slot may hold back before the slot is given up, so that it cannot
    /// fill the disk.
    pub slot_wal_keep_mib: u32,
    /// For one SQL statement.
    pub statement_timeout_ms: u64,
    /// For a program that only looks, such as `pg_controldata`.
    pub program_timeout_ms: u64,
    /// For a clone, a rewind, a recovery after a crash.
    pub transfer_timeout_ms: u64,
}

impl Settings {
    pub fn new(
        data_dir: impl Into<PathBuf>,
        socket_dir: impl Into<PathBuf>,
        application_name: impl Into<String>,
        replication_password: Secret,
    ) -> Settings {
        Settings {
            bin_dir: None,
            data_dir: data_dir.into(),
            port: 5432,
            listen_addresses: vec!["*".to_owned()],
            os_user: "postgres".to_owned(),
            socket_dir: socket_dir.into(),
            extra_socket_dirs: Vec::new(),
            superuser: "postgres".to_owned(),
            replication_user: "regent_replication".to_owned(),
            replication_password,
            replication_conninfo: BTreeMap::new(),
            parameters: BTreeMap::new(),
            hba: Vec::new(),
            users: Vec::new(),
            application_name: application_name.into(),
            locale: "C.UTF-8".to_owned(),
            wal_keep_mib: 64,
            slot_wal_keep_mib: 16 * 1024,
            statement_timeout_ms: 2_000,
            program_timeout_ms: 10_000,
            transfer_timeout_ms: 6 * 3600 * 1000,
        }
    }

    /// `max_connections`, as configured or PostgreSQL's own.
    pub(super) fn most_connections(&self) -> u32 {
        let given = self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("max_connections"));
        given.map_or(100, |(_, value)| value.parse().unwrap_or(0))
    }

    pub fn validate(&self) -> Result<(), PostgresError> {
        let wrong = |what: String| Err(PostgresError::Config { what });
        for (what, path) in [("data_dir", &self.data_dir), ("socket_dir", &self.socket_dir)] {
            if !path.is_absolute() || path.file_name().is_none() || path.parent().is_none() {
                return wrong(format!("{what} {} must be an absolute path of a folder", path.display()));
            }
        }
        // sockaddr_un holds 107 bytes and a closing zero.
        let socket = self.socket_dir.join(format!(".s.PGSQL.{}", self.port));
        if socket.as_os_str().len() > 107 {
            return wrong(format!("socket_dir {} is too long for a Unix socket", self.socket_dir.display()));
        }
        if self.socket_dir.starts_with(&self.data_dir) {
            return wrong("socket_dir lies in data_dir, which a clone replaces".to_owned());
        }
        if self.port == 0 {
            return wrong("port is 0".to_owned());
        }
        standby_name(&self.application_name)?;
        for (what, name) in [("superuser", &self.superuser), ("replication user", &self.replication_user)] {
            if !is_name(name) {
                return wrong(format!("{what} {name:?} is not a name of a role"));
            }
        }
        if self.superuser == self.replication_user {
            return wrong("superuser and replication user must differ".to_owned());
        }
        self.replication_password.check(&self.replication_user)?;
        self.users.iter().try_for_each(|user| self.check_user(user))?;
        let texts = self.parameters.values().chain(self.hba.iter()).chain(self.listen_addresses.iter());
        if let Some(text) = texts.chain(self.replication_conninfo.values()).find(|t| has_control(t)) {
            return wrong(format!("{text:?} has a control character"));
        }
        for name in self.parameters.keys() {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            if name.is_empty() || !name.chars().all(is_name) {
                return wrong(format!("{name:?} is not a name of a setting"));
            }
            if super::config::is_decided_by_regent(name) {
                return wrong(format!(
                    "{name} is decided by Regent; leave it out of the database's settings"
                ));
            }
        }
        for key in self.replication_conninfo.keys() {
            let ours = ["host", "port", "user", "password", "passfile", "dbname", "application_name"];
            if key.is_empty()
                || !key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                || ours.contains(&key.as_str())
            {
                return wrong(format!("{key:?} cannot be given for connections to the primary"));
            }
        }
        Ok(())
    }

    /// None of Regent's own roles: a client's password would open what they may do.
    pub(super) fn check_user(&self, user: &User) -> Result<(), PostgresError> {
        let User { name, database } = user;
        let own = [&self.superuser, &self.replication_user];
        let what = if !is_name(name) {
            format!("user {name:?} is not a name of a role")
        } else if own.contains(&name) {
            format!("{name} is a role of Regent's own, and no client's")
        } else if let Some(database) = database.as_ref().filter(|name| !is_name(name)) {
            format!("{database:?} is not a name of a database")
        } else {
            return Ok(());
        };
        Err(PostgresError::Config { what })
    }
}

/// Once it is quoted.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 63 && !name.chars().any(|c| c.is_control() || c == '"')
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\t')
}

/// `application_name` is cut at 63 bytes and other characters become `?`: both would name another.
pub(super) fn standby_name(name: &str) -> Result<(), PostgresError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 63 || !name.chars().all(allowed) {
        return Err(PostgresError::Config {
            what: format!("{name:?} cannot name a standby: letters, digits, '-', '_' and '.', at most 63"),
        });
    }
    Ok(())
}

/// Slots of this prefix are Regent's; no other is ever dropped.
pub const SLOT_PREFIX: &str = "regent_";

/// PostgreSQL's `NAMEDATALEN`, without the zero, the mark, and the longest epoch.
const STEM_MOST: usize = 63 - EPOCH_MARK.len() - 20;

/// By which the replica of that name follows whoever holds the lease at that epoch. Slots know only small letters,
/// digits and underscores.
///
/// S3: PostgreSQL knows timelines by number alone, and takes one for another of the same number. A primary has the
/// slots of its own epoch, so whoever was told to follow an older one is sent nothing until its agent told it anew,
/// and has seen whose timelines it holds.
pub fn slot_name(application_name: &str, epoch: Epoch) -> String {
    let mut slot = of_any_epoch(application_name);
    if slot.len() > STEM_MOST {
        // What two long names do not share is their end.
        let hash = Hash::default().chain(application_name.as_bytes()).to_string();
        slot.truncate(STEM_MOST - 9);
        slot = format!("{slot}_{}", &hash[..8]);
    }
    format!("{slot}{EPOCH_MARK}{epoch}")
}

/// Before the epoch in the name of a slot.
pub(super) const EPOCH_MARK: &str = "_e";

fn of_any_epoch(application_name: &str) -> String {
    let mut slot = SLOT_PREFIX.to_owned();
    for byte in application_name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => slot.push(char::from(byte)),
            b'-' => slot.push('_'),
            other => slot.push_str(&format!("__{other:02x}")),
        }
    }
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new("/var/lib/regent/pg", "/run/regent/pg", "eu-west-1", Secret::new("s3cret"))
    }

    #[test]
    fn what_debug_prints_has_no_password() {
        settings().validate().unwrap();
        assert!(!format!("{:?}", settings()).contains("s3cret"));
    }

    #[test]
    fn a_slot_name_is_one_that_postgresql_takes() {
        assert_eq!(slot_name("eu-west-1", Epoch(7)), "regent_eu_west_1_e7");
        assert_ne!(slot_name("a_b", Epoch(7)), slot_name("a-b", Epoch(7)));
        let long = |end: &str, epoch| slot_name(&("x".repeat(60) + end), Epoch(epoch));
        assert_eq!(long("a", u64::MAX).len(), 63);
        assert!(long("a", u64::MAX).ends_with(&format!("_e{}", u64::MAX)));
        assert_ne!(long("a", 7), long("a", 8));
        assert_ne!(long("a", 7), long("b", 7));
    }

    #[test]
    fn settings_that_cannot_work_are_told() {
        let user = |name: &str, database: &str| User { name: name.into(), database: Some(database.into()) };
        let cases: [&dyn Fn(&mut Settings); 12] = [
            &|s: &mut Settings| s.data_dir = "relative".into(),
            &|s: &mut Settings| s.socket_dir = format!("/{}", "x".repeat(100)).into(),
            &|s: &mut Settings| s.socket_dir = s.data_dir.join("run"),
            &|s: &mut Settings| s.application_name = "*".into(),
            &|s: &mut Settings| s.replication_password = Secret::new("two\nlines"),
            &|s: &mut Settings| s.superuser = s.replication_user.clone(),
            &|s: &mut Settings| drop(s.parameters.insert("Primary_ConnInfo".into(), String::new())),
            &|s: &mut Settings| drop(s.parameters.insert("work_mem".into(), "1\nfsync = off".into())),
            &|s: &mut Settings| s.hba.push("host all all all trust\nlocal all all trust".into()),
            &|s: &mut Settings| s.users.push(user("postgres", "app")),
            &|s: &mut Settings| s.users.push(user("app\" all trust #", "app")),
            &|s: &mut Settings| s.users.push(user("app", "app\nhost")),
        ];
        for (at, spoil) in cases.iter().enumerate() {
            let mut settings = settings();
            spoil(&mut settings);
            assert!(settings.validate().is_err(), "case {at}");
        }
    }
}
