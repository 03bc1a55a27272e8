//! Knot DNS.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use decision::name::DnsName;

use super::{Key, zone_file};

pub(super) fn prepare(dir: &Path, port: u16, zone: &DnsName, key: &Key) -> io::Result<Command> {
    write(dir, port, zone, key, "")
}

pub(super) fn prepare_signed(dir: &Path, port: u16, zone: &DnsName, key: &Key) -> io::Result<Command> {
    write(dir, port, zone, key, "    dnssec-signing: on\n")
}

fn write(dir: &Path, port: u16, zone: &DnsName, key: &Key, signing: &str) -> io::Result<Command> {
    let folder = dir.display();
    let Key { name, algorithm, secret } = key;
    let config = format!(
        r#"
server:
    listen: 127.0.0.1@{port}
    rundir: "{folder}"
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{folder}/database"
log:
  - target: stderr
    any: info
key:
  - id: {name}
    algorithm: {algorithm}
    secret: {secret}
acl:
  - id: updates
    key: {name}
    action: [update, transfer]
zone:
  - domain: {zone}.
    storage: "{folder}"
    file: zone
    acl: updates
{signing}"#
    );
    fs::create_dir(dir.join("database"))?;
    fs::write(dir.join("zone"), zone_file(zone))?;
    fs::write(dir.join("knot.conf"), config)?;
    let mut command = Command::new("knotd");
    command.arg("-c").arg(dir.join("knot.conf"));
    Ok(command)
}
