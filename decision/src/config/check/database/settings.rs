//! Settings of PostgreSQL and lines of `pg_hba.conf`: what Regent has to set itself, what would break a
//! promise, and what PostgreSQL could not read.

use std::collections::BTreeMap;

use crate::config::check::{Finding, suggest};
use crate::config::place::Place;
use crate::config::{Database, Mode};

pub(super) fn check(database: &Database, at: &Place, found: &mut Vec<Finding>) {
    let settings = at.key("settings");
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, value) in &database.settings {
        let here = settings.key(name);
        let folded = name.to_ascii_lowercase();
        if !is_name(name) {
            found.push(
                Finding::error(
                    here,
                    format!("{name:?} is not the name of a setting"),
                    "write letters, digits and underscores, such as shared_buffers",
                )
                .of_key(),
            );
        } else if let Some((why, instead)) = owned(&folded) {
            found.push(Finding::error(here, format!("{name} is set by Regent: {why}"), instead).of_key());
        } else if value.contains(['\n', '\r', '\0']) {
            found.push(Finding::error(
                here,
                format!("the value of {name} holds a line break or a NUL"),
                "write it on one line",
            ));
        } else {
            promise(database, &folded, value, at, &here, found);
        }
        if let Some(other) = seen.insert(folded, name) {
            let message = format!("{name} and {other} are one setting to PostgreSQL");
            let finding = Finding::error(settings.key(name), message, "keep one of the two").of_key();
            found.push(finding.related(settings.key(other)));
        }
    }
    for (n, line) in database.hba.iter().enumerate() {
        hba(line, at.key("hba").index(n), found);
    }
}

/// As the parser of `postgresql.conf` takes it; one with dots belongs to an extension.
fn is_name(name: &str) -> bool {
    name.split('.').count() <= 2
        && name.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$')
        })
}

/// Why a setting is Regent's own, and what to write instead.
fn owned(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "listen_addresses" => ("it is `listen` of each instance", "write `listen: [10.0.0.1]` there"),
        "port" => ("it is `port` of each instance", "write `port: 5432` there, or once beside `instances`"),
        "data_directory" => ("it is `data_dir` of each instance", "write `data_dir` there"),
        "hba_file" => ("it writes that file itself", "write the lines under `hba`"),
        "ident_file" | "config_file" => ("it writes that file itself", "remove it"),
        "unix_socket_directories" => {
            ("it logs in over a socket that nobody else can reach", "remove it; clients come by `listen`")
        }
        "primary_conninfo" | "primary_slot_name" => {
            ("it follows whoever is the primary", "remove it; the login is `replication`")
        }
        "synchronous_standby_names" => {
            ("what is acknowledged, and so what may be lost, rests on it", "write `mode` and `sync_acks`")
        }
        "wal_level" | "hot_standby" | "wal_log_hints" => {
            ("instances could not follow, or rejoin, without its value", "remove it")
        }
        "cluster_name" => ("instances know each other by it", "remove it"),
        "promote_trigger_file" => ("a promotion besides its own would make two primaries", "remove it"),
        "include" | "include_if_exists" | "include_dir" => {
            ("a file read besides could undo what it sets", "write the settings themselves")
        }
        name if name.starts_with("recovery_target") => {
            ("an instance that stops short of the end could not take over", "remove it")
        }
        name if name.starts_with("regent.") => ("these names are its own", "remove it"),
        _ => return None,
    })
}

/// Values that would let an acknowledged commit be lost, or leave no room for the other instances.
fn promise(database: &Database, name: &str, value: &str, at: &Place, here: &Place, found: &mut Vec<Finding>) {
    match name {
        "fsync" | "full_page_writes" if is_off(value) => found.push(Finding::error(
            here.clone(),
            format!(
                "{name} is off: after a crash the database could be damaged, acknowledged commits and all"
            ),
            "remove it",
        )),
        "synchronous_commit" if database.mode == Mode::Async && is_off(value) => {
            found.push(Finding::warning(
                here.clone(),
                "synchronous_commit is off: a mere crash of the primary loses commits that were acknowledged",
                "remove it, or live with it",
            ));
        }
        "synchronous_commit" if database.mode != Mode::Async && !waits_for_others(value) => {
            found.push(
                Finding::error(
                    here.clone(),
                    format!("with synchronous_commit {value:?} no commit waits until another instance has it on disk"),
                    "write on or remote_apply, or `mode: async`",
                )
                .related(at.key("mode")),
            );
        }
        "max_wal_senders" | "max_replication_slots" => {
            let others = database.instances.len().saturating_sub(1);
            // Each has two slots for a moment, when the lease is granted anew.
            let needed = if name == "max_replication_slots" { 2 * others } else { others };
            if value.trim().parse::<usize>().is_ok_and(|most| most < needed) {
                found.push(Finding::error(
                    here.clone(),
                    format!(
                        "{name} is {}, too few for {} to copy from the primary",
                        value.trim(),
                        super::other(others)
                    ),
                    format!("write {} or more, or remove it", needed + 2),
                ));
            }
        }
        _ => {}
    }
}

/// As PostgreSQL reads a boolean: any beginning that tells the words apart.
fn is_off(value: &str) -> bool {
    word_of(value, &["0", "false", "no"]) || (value.trim().len() > 1 && word_of(value, &["off"]))
}

fn waits_for_others(value: &str) -> bool {
    let on = word_of(value, &["1", "true", "yes"]) || (value.trim().len() > 1 && word_of(value, &["on"]));
    on || value.trim().eq_ignore_ascii_case("remote_apply")
}

fn word_of(value: &str, words: &[&str]) -> bool {
    let value = value.trim().to_ascii_lowercase();
    !value.is_empty() && words.iter().any(|word| word.starts_with(&value))
}

const CONNECTIONS: &[&str] = &["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"];

fn hba(line: &str, at: Place, found: &mut Vec<Finding>) {
    const EXAMPLE: &str = "write for example \"host all all 10.0.0.0/8 scram-sha-256\"";
    if line.contains(['\n', '\r', '\0']) {
        found.push(Finding::error(at, "this holds a line break or a NUL", "write one line an item"));
        return;
    }
    if line.trim_start().starts_with('#') {
        return;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some(first) = words.first() else {
        found.push(Finding::error(at, "this line is empty", EXAMPLE));
        return;
    };
    let least = if *first == "local" { 4 } else { 5 };
    if !CONNECTIONS.contains(first) {
        let message = format!("{first:?} is no kind of connection");
        found.push(Finding::error(at, message, suggest(first, "kind", CONNECTIONS.iter().copied())));
    } else if line.ends_with('\\') {
        found.push(Finding::error(at, "the backslash at the end would draw in the next line", "remove it"));
    } else if words.len() < least {
        let message =
            format!("a line that begins with {first} has {least} words at least, this has {}", words.len());
        found.push(Finding::error(at, message, EXAMPLE));
    } else if *first != "local" && words.contains(&"trust") {
        found.push(Finding::warning(
            at,
            "whoever comes from there over the network may be any user, without a password",
            "write scram-sha-256 for trust",
        ));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::check::Severity::{self, Error, Warning};
    use crate::config::check::check;
    use crate::config::check::example::{only, with_database};
    use crate::config::{Config, Database, Mode};

    fn with(change: impl FnOnce(&mut Database)) -> Config {
        let mut config = with_database();
        change(config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap());
        config
    }

    fn setting(name: &str, value: &str) -> Config {
        with(|database| drop(database.settings.insert(name.to_owned(), value.to_owned())))
    }

    fn expect(config: &Config, severity: Severity, message: &str) {
        let (found, place, said) = only(config);
        assert_eq!((found, said.as_str()), (severity, message));
        assert!(place.starts_with("services.app.database."), "{place}");
    }

    #[test]
    fn settings_of_the_operator() {
        for (name, value) in [
            ("shared_buffers", "1GB"),
            ("TimeZone", "UTC"),
            ("archive_mode", "on"),
            ("archive_command", "cp %p /archive/%f"),
            ("pg_stat_statements.max", "1000"),
            ("fsync", "on"),
            ("full_page_writes", "o"), // ambiguous: PostgreSQL's own to refuse
            ("synchronous_commit", "local"),
            ("max_wal_senders", "2"),
            ("search_path", ""),
        ] {
            assert_eq!(check(&setting(name, value)), [], "{name} = {value}");
        }
    }

    #[test]
    fn settings_that_are_regents() {
        for name in [
            "listen_addresses",
            "port",
            "PORT",
            "unix_socket_directories",
            "primary_conninfo",
            "primary_slot_name",
            "synchronous_standby_names",
            "wal_level",
            "hot_standby",
            "wal_log_hints",
            "recovery_target",
            "recovery_target_timeline",
            "cluster_name",
            "regent.epoch",
            "data_directory",
            "hba_file",
            "ident_file",
            "config_file",
            "include",
            "promote_trigger_file",
        ] {
            let (severity, place, message) = only(&setting(name, "x"));
            assert_eq!(severity, Error);
            assert!(place.starts_with("services.app.database.settings"), "{place}");
            assert!(message.starts_with(&format!("{name} is set by Regent: ")), "{message}");
        }
    }

    #[test]
    fn names_and_values_that_would_not_be_read() {
        for name in ["", "a b", "1a", "a.b.c", "a=b", "a\nport", "a.", "ä", "a'"] {
            expect(&setting(name, "x"), Error, &format!("{name:?} is not the name of a setting"));
        }
        for value in ["a\nfsync = off", "\0", "a\r"] {
            expect(&setting("work_mem", value), Error, "the value of work_mem holds a line break or a NUL");
        }
        let twice = with(|database| {
            database.settings.insert("Work_Mem".to_owned(), "1".to_owned());
            database.settings.insert("work_mem".to_owned(), "2".to_owned());
        });
        expect(&twice, Error, "work_mem and Work_Mem are one setting to PostgreSQL");
    }

    #[test]
    fn settings_that_break_a_promise() {
        for name in ["fsync", "full_page_writes", "FSYNC"] {
            for off in ["off", "of", "OFF", "false", "f", "no", "0", " off "] {
                let message = format!(
                    "{} is off: after a crash the database could be damaged, acknowledged commits and all",
                    name.to_lowercase()
                );
                expect(&setting(name, off), Error, &message);
            }
        }
        let message =
            "synchronous_commit is off: a mere crash of the primary loses commits that were acknowledged";
        expect(&setting("synchronous_commit", "off"), Warning, message);
        let message = "max_replication_slots is 3, too few for 2 other instances to copy from the primary";
        expect(&setting("max_replication_slots", "3"), Error, message);
        for value in ["off", "local", "remote_write", "o", ""] {
            let mut config = setting("synchronous_commit", value);
            config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap().mode =
                Mode::Sync { acks: 1 };
            let message = format!(
                "with synchronous_commit {value:?} no commit waits until another instance has it on disk"
            );
            expect(&config, Error, &message);
        }
        for value in ["on", "true", "remote_apply"] {
            let mut config = setting("synchronous_commit", value);
            config.services.get_mut(&"app".into()).unwrap().database.as_mut().unwrap().mode =
                Mode::Sync { acks: 1 };
            assert_eq!(check(&config), [], "{value}");
        }
    }

    #[test]
    fn lines_of_hba() {
        let line = |line: &str| with(|database| database.hba.push(line.to_owned()));
        for right in [
            "host all all 10.0.0.0/8 scram-sha-256",
            "hostssl app app 10.0.0.1 255.255.255.255 cert clientcert=verify-full",
            "local all all trust",
            "# for the office",
        ] {
            assert_eq!(check(&line(right)), [], "{right}");
        }
        for (wrong, message) in [
            ("host all all 10.0.0.0/8", "a line that begins with host has 5 words at least, this has 4"),
            ("local all all", "a line that begins with local has 4 words at least, this has 3"),
            ("hosts all all all md5", "\"hosts\" is no kind of connection"),
            ("include /etc/passwd", "\"include\" is no kind of connection"),
            (" ", "this line is empty"),
            ("host all all all md5\nhost all all all trust", "this holds a line break or a NUL"),
            ("host all all all md5\0", "this holds a line break or a NUL"),
            ("host all all all md5 \\", "the backslash at the end would draw in the next line"),
        ] {
            expect(&line(wrong), Error, message);
        }
        expect(
            &line("hostnossl all all 0.0.0.0/0 trust"),
            Warning,
            "whoever comes from there over the network may be any user, without a password",
        );
    }
}
