//! What Regent writes into an instance's configuration, as text.

use std::fmt::Write as _;

use decision::plan::Epoch;

use super::error::PostgresError;
use super::settings::{Settings, standby_name};

/// What an instance is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    pub epoch: Epoch,
    pub role: Role,
    /// Also written for a replica: in force the moment it is promoted, and not some time after.
    pub sync: SyncStandbys,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A replica becomes one by promotion alone: writing this takes no `standby.signal` away.
    Primary,
    /// Without an upstream it replays what it has and receives nothing.
    Replica { upstream: Option<Upstream> },
}

/// The primary that a replica follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub host: String,
    pub port: u16,
    /// Its slot for this replica.
    pub slot: Option<String>,
}

impl Upstream {
    pub(super) fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// `synchronous_standby_names`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SyncStandbys {
    /// Commits wait for nobody.
    #[default]
    None,
    /// Commits wait for the first `count` of these that are connected, in this order.
    First { count: u32, names: Vec<String> },
    /// Commits wait for any `count` of these.
    Any { count: u32, names: Vec<String> },
}

impl SyncStandbys {
    /// As PostgreSQL reads it.
    pub fn render(&self) -> Result<String, PostgresError> {
        let (method, count, names) = match self {
            SyncStandbys::None => return Ok(String::new()),
            SyncStandbys::First { count, names } => ("FIRST", *count, names),
            SyncStandbys::Any { count, names } => ("ANY", *count, names),
        };
        if count == 0 || count as usize > names.len() {
            return Err(PostgresError::Config {
                what: format!(
                    "{count} of {} synchronous standbys are waited for: no commit would return",
                    names.len()
                ),
            });
        }
        names.iter().try_for_each(|name| standby_name(name))?;
        let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        Ok(format!("{method} {count} ({})", names.join(", ")))
    }

    pub fn names(&self) -> &[String] {
        match self {
            SyncStandbys::None => &[],
            SyncStandbys::First { names, .. } | SyncStandbys::Any { names, .. } => names,
        }
    }
}

/// Settings that only Regent may set, also in `postgresql.auto.conf`, which would win over ours.
const DECIDED: [&str; 15] = [
    "cluster_name",
    "config_file",
    "data_directory",
    "hba_file",
    "hot_standby",
    "ident_file",
    "listen_addresses",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "recovery_min_apply_delay",
    "synchronous_standby_names",
    "unix_socket_directories",
    "wal_log_hints",
];

pub(super) fn is_decided_by_regent(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    DECIDED.contains(&name.as_str())
        || ["recovery_target", "regent.", "include"].iter().any(|prefix| name.starts_with(prefix))
}

pub(super) const FILE: &str = "regent.conf";
const INCLUDE: &str = "include_if_exists = 'regent.conf'";

/// The whole of `regent.conf`.
pub(super) fn regent_conf(
    settings: &Settings,
    desired: &Desired,
    version: u32,
    passfile: &str,
) -> Result<String, PostgresError> {
    let socket_dirs: Vec<String> = std::iter::once(&settings.socket_dir)
        .chain(&settings.extra_socket_dirs)
        .map(|dir| format!("\"{}\"", dir.display().to_string().replace('"', "\"\"")))
        .collect();
    let upstream = match &desired.role {
        Role::Primary => None,
        Role::Replica { upstream } => upstream.as_ref(),
    };
    let primary_conninfo = upstream.map(|upstream| conninfo(settings, upstream, passfile)).transpose()?;
    let slot = upstream.and_then(|upstream| upstream.slot.clone()).unwrap_or_default();
    // A lost peer is known within seconds, and a primary that moved is found again soon.
    let mut lines: Vec<(&str, String)> = vec![
        ("wal_level", "replica".into()),
        ("max_wal_senders", "16".into()),
        ("max_replication_slots", "16".into()),
        ("wal_keep_size", format!("{}MB", settings.wal_keep_mib)),
        ("max_slot_wal_keep_size", format!("{}MB", settings.slot_wal_keep_mib)),
        ("fsync", "on".into()),
        ("full_page_writes", "on".into()),
        ("wal_sender_timeout", "10s".into()),
        ("wal_receiver_timeout", "10s".into()),
        ("wal_receiver_status_interval", "1s".into()),
        ("wal_retrieve_retry_interval", "200ms".into()),
        ("tcp_keepalives_idle", "5".into()),
        ("tcp_keepalives_interval", "2".into()),
        ("tcp_keepalives_count", "3".into()),
        ("tcp_user_timeout", "10s".into()),
    ];
    if version >= 14 {
        // After a crash: one call instead of one for each file.
        lines.push(("recovery_init_sync_method", "syncfs".into()));
    }
    if version >= 16 && settings.most_connections() >= 20 {
        // A rewind must get in when clients have taken all others.
        lines.push(("reserved_connections", "3".into()));
    }
    lines.retain(|(name, _)| !settings.parameters.keys().any(|given| given.eq_ignore_ascii_case(name)));
    lines.extend(settings.parameters.iter().map(|(name, value)| (name.as_str(), value.clone())));
    lines.extend([
        ("listen_addresses", settings.listen_addresses.join(", ")),
        ("port", settings.port.to_string()),
        ("unix_socket_directories", socket_dirs.join(", ")),
        ("hot_standby", "on".into()),
        // What pg_rewind needs where there are no checksums.
        ("wal_log_hints", "on".into()),
        ("cluster_name", settings.application_name.clone()),
        ("synchronous_standby_names", desired.sync.render()?),
        ("primary_conninfo", primary_conninfo.unwrap_or_default()),
        ("primary_slot_name", slot),
        ("recovery_target_timeline", "latest".into()),
        // A replica that stops or lags on purpose is none.
        ("recovery_target", String::new()),
        ("recovery_target_lsn", String::new()),
        ("recovery_target_name", String::new()),
        ("recovery_target_time", String::new()),
        ("recovery_target_xid", String::new()),
        ("recovery_min_apply_delay", "0".into()),
    ]);
    if version < 16 {
        lines.push(("promote_trigger_file", String::new()));
    }
    lines.push(("regent.epoch", desired.epoch.to_string()));
    let mut text = "# Written by Regent; what you change here is lost. Use regions.yml.\n".to_owned();
    for (name, value) in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name} = {}", quoted(&value));
    }
    Ok(text)
}

/// The epoch that a `regent.conf` was written at.
pub(super) fn epoch_of(regent_conf: &str) -> Option<Epoch> {
    let line = regent_conf.lines().rev().find_map(|line| line.strip_prefix("regent.epoch = "))?;
    line.trim().trim_matches('\'').parse().ok().map(Epoch)
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// For `primary_conninfo`: the password is in the passfile.
pub(super) fn conninfo(
    settings: &Settings,
    upstream: &Upstream,
    passfile: &str,
) -> Result<String, PostgresError> {
    conninfo_as(&settings.application_name, settings, upstream, passfile)
}

/// For programs, by a name that no instance has. Else a copy under way would be taken for the replica that it is to
/// become: `pg_basebackup` tells what it has of the log, and so a commit would be acknowledged by it (S3).
pub(super) fn conninfo_of_program(
    settings: &Settings,
    upstream: &Upstream,
    passfile: &str,
) -> Result<String, PostgresError> {
    conninfo_as("regent program", settings, upstream, passfile)
}

fn conninfo_as(
    application_name: &str,
    settings: &Settings,
    upstream: &Upstream,
    passfile: &str,
) -> Result<String, PostgresError> {
    if upstream.host.is_empty()
        || upstream.host.chars().any(|c| c.is_control() || c == ',')
        || upstream.port == 0
    {
        return Err(PostgresError::Config { what: format!("{} is not one server", upstream.server()) });
    }
    if let Some(slot) = &upstream.slot {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if slot.is_empty() || slot.len() > 63 || !slot.chars().all(allowed) {
            return Err(PostgresError::Config { what: format!("{slot:?} is not a name of a slot") });
        }
    }
    let port = upstream.port.to_string();
    let mut pairs: Vec<(&str, &str)> = vec![
        ("host", &upstream.host),
        ("port", &port),
        ("user", &settings.replication_user),
        ("passfile", passfile),
        ("application_name", application_name),
        ("connect_timeout", "3"),
        ("keepalives", "1"),
        ("keepalives_idle", "2"),
        ("keepalives_interval", "1"),
        ("keepalives_count", "3"),
        ("tcp_user_timeout", "5000"),
    ];
    pairs.retain(|(key, _)| !settings.replication_conninfo.contains_key(*key));
    pairs.extend(settings.replication_conninfo.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let words = pairs
        .iter()
        .map(|(key, value)| format!("{key}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'")));
    Ok(words.collect::<Vec<_>>().join(" "))
}

/// For the one role that logs in by password, wherever the primary is.
pub(super) fn passfile(settings: &Settings) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    let (user, password) = (&settings.replication_user, settings.replication_password.reveal());
    format!("*:*:*:{}:{}\n", escaped(user), escaped(password))
}

/// The user's file with ours included at its end, where it wins; none when it is so already.
pub(super) fn with_include(postgresql_conf: &str) -> Option<String> {
    if postgresql_conf.trim_end().lines().next_back() == Some(INCLUDE) {
        return None;
    }
    let mut text: String =
        postgresql_conf.lines().filter(|line| line.trim() != INCLUDE).flat_map(|line| [line, "\n"]).collect();
    text.push_str(INCLUDE);
    text.push('\n');
    Some(text)
}

/// `postgresql.auto.conf`, which is read last, without what only Regent may set; none when nothing
/// had to go.
pub(super) fn without_decided(auto_conf: &str) -> Option<String> {
    let is_decided = |line: &&str| {
        let name = line.trim_start().split(|c: char| c == '=' || c.is_whitespace()).next();
        name.is_some_and(is_decided_by_regent)
    };
    auto_conf
        .lines()
        .any(|line| is_decided(&line))
        .then(|| auto_conf.lines().filter(|line| !is_decided(line)).flat_map(|line| [line, "\n"]).collect())
}

const BEGIN: &str = "# BEGIN Regent: written by Regent; put lines of your own below, or into regions.yml";
const END: &str = "# END Regent";

/// Our block first, for the first line that fits decides; the user's own lines stay as they are.
/// None when it is so already.
pub(super) fn with_block(file: &str, lines: &[String]) -> Option<String> {
    let mut own = String::new();
    let mut inside = false;
    for line in file.lines() {
        match line {
            BEGIN => inside = true,
            END if inside => inside = false,
            line if inside && !file.contains(END) => own.extend([line, "\n"]),
            _ if inside => {}
            line => own.extend([line, "\n"]),
        }
    }
    let mut text = format!("{BEGIN}\n");
    lines.iter().for_each(|line| text.extend([line, "\n"]));
    text.extend([END, "\n", &own]);
    (text != file).then_some(text)
}

/// Those who may be the superuser through the private socket.
pub(super) fn ident_lines(settings: &Settings, os_users: &[String]) -> Vec<String> {
    os_users.iter().map(|user| format!("regent \"{user}\" \"{}\"", settings.superuser)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::settings::Secret;
    use super::*;

    fn settings() -> Settings {
        Settings::new("/var/lib/regent/pg", "/run/regent/pg", "eu-west-1", Secret::new("a:b\\c"))
    }

    fn replica() -> Desired {
        let upstream = Upstream { host: "10.0.0.1".into(), port: 5432, slot: Some("regent_eu".into()) };
        Desired {
            epoch: Epoch(7),
            role: Role::Replica { upstream: Some(upstream) },
            sync: SyncStandbys::Any { count: 1, names: vec!["b".into(), "c-1".into()] },
        }
    }

    #[test]
    fn a_replica_knows_its_primary_and_no_password() {
        let text = regent_conf(&settings(), &replica(), 15, "/var/lib/regent/it's").unwrap();
        assert!(text.contains("primary_conninfo = 'host=''10.0.0.1'' port=''5432''"), "{text}");
        assert!(text.contains(r"passfile=''/var/lib/regent/it\\''s''"), "{text}");
        assert!(text.contains("primary_slot_name = 'regent_eu'"), "{text}");
        assert!(text.contains("synchronous_standby_names = 'ANY 1 (\"b\", \"c-1\")'"), "{text}");
        assert!(!text.contains("a:b"), "{text}");
        assert_eq!(epoch_of(&text), Some(Epoch(7)));
        assert_eq!(passfile(&settings()), "*:*:*:regent_replication:a\\:b\\\\c\n");
    }

    #[test]
    fn a_primary_has_no_upstream_and_given_parameters_win_over_defaults() {
        let mut settings = settings();
        settings.parameters.insert("WAL_LEVEL".into(), "logical".into());
        let desired = Desired { role: Role::Primary, ..replica() };
        let text = regent_conf(&settings, &desired, 16, "/p").unwrap();
        assert!(text.contains("primary_conninfo = ''\n"), "{text}");
        assert!(text.contains("WAL_LEVEL = 'logical'") && !text.contains("wal_level = 'replica'"), "{text}");
        assert!(!text.contains("promote_trigger_file"), "16 does not know it");
    }

    #[test]
    fn what_no_commit_could_return_from_is_refused() {
        for (count, names) in [(0, vec!["a"]), (2, vec!["a"]), (1, vec![]), (1, vec!["a\", \"b"])] {
            let names = names.into_iter().map(str::to_owned).collect();
            assert!(SyncStandbys::First { count, names }.render().is_err());
        }
    }

    #[test]
    fn an_upstream_that_is_not_one_server_is_refused() {
        for (host, port, slot) in
            [("", 1, "s"), ("a,b", 1, "s"), ("a", 0, "s"), ("a", 1, "S'"), ("a\n", 1, "s")]
        {
            let upstream = Upstream { host: host.into(), port, slot: Some(slot.into()) };
            assert!(conninfo(&settings(), &upstream, "/p").is_err(), "{upstream:?}");
        }
    }

    #[test]
    fn our_settings_stand_last_and_once() {
        let once = with_include("port = 1\n").unwrap();
        assert_eq!(once, "port = 1\ninclude_if_exists = 'regent.conf'\n");
        assert_eq!(with_include(&once), None);
        let moved = with_include(&format!("{once}port = 2")).unwrap();
        assert_eq!(moved, "port = 1\nport = 2\ninclude_if_exists = 'regent.conf'\n");
    }

    #[test]
    fn what_would_win_over_ours_goes() {
        let auto =
            "# Do not edit\nwork_mem = '4MB'\nPrimary_Conninfo = 'host=x'\nrecovery_target_lsn='0/1'\n";
        assert_eq!(without_decided(auto).unwrap(), "# Do not edit\nwork_mem = '4MB'\n");
        assert_eq!(without_decided("# port = 1\nwork_mem = '4MB'\n"), None);
    }

    #[test]
    fn the_block_is_replaced_and_the_rest_kept() {
        let lines = |line: &str| vec![line.to_owned()];
        let first = with_block("local all all peer\n", &lines("one")).unwrap();
        assert_eq!(first, format!("{BEGIN}\none\n{END}\nlocal all all peer\n"));
        assert_eq!(with_block(&first, &lines("one")), None);
        let second = with_block(&first, &lines("two")).unwrap();
        assert_eq!(second, format!("{BEGIN}\ntwo\n{END}\nlocal all all peer\n"));
        // Someone took the closing line away: their lines are not ours to lose.
        let torn = with_block(&format!("{BEGIN}\nlocal all all peer\n"), &lines("one")).unwrap();
        assert_eq!(torn, format!("{BEGIN}\none\n{END}\nlocal all all peer\n"));
    }
}
