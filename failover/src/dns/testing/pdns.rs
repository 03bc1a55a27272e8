//! PowerDNS on SQLite.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use decision::name::DnsName;

use super::{Key, zone_file};

/// As the Debian package of the SQLite backend ships it.
const SCHEMA: &str = "/usr/share/doc/pdns-backend-sqlite3/schema.sqlite3.sql";

pub(super) fn prepare(dir: &Path, port: u16, zone: &DnsName, key: &Key) -> io::Result<Command> {
    let folder = dir.display();
    let Key { name, algorithm, secret } = key;
    let config = format!(
        "launch=gsqlite3\ngsqlite3-database={folder}/db\nlocal-address=127.0.0.1\nlocal-port={port}\n\
         query-local-address=127.0.0.1\ndnsupdate=yes\nallow-dnsupdate-from=127.0.0.0/8\nsocket-dir={folder}\n\
         daemon=no\nguardian=no\nreceiver-threads=1\ndistributor-threads=1\nmax-tcp-connections=500\n\
         max-tcp-connections-per-client=0\nsecurity-poll-suffix=\n"
    );
    fs::write(dir.join("pdns.conf"), config)?;
    fs::write(dir.join("zone"), zone_file(zone))?;
    let schema = format!(".read {SCHEMA}");
    run(Command::new("sqlite3").arg(dir.join("db")).arg(schema))?;
    let settings = format!("--config-dir={folder}");
    let zone = zone.as_str();
    let file = format!("{folder}/zone");
    for arguments in [
        vec!["load-zone", zone, &file],
        vec!["import-tsig-key", name, algorithm, secret],
        vec!["set-meta", zone, "TSIG-ALLOW-DNSUPDATE", name],
    ] {
        run(Command::new("pdnsutil").arg(&settings).args(arguments))?;
    }
    let mut command = Command::new("pdns_server");
    command.arg(&settings);
    Ok(command)
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))))
}
