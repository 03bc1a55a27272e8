//! BIND 9.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use decision::name::DnsName;

use super::{Key, zone_file};

pub(super) fn prepare(dir: &Path, port: u16, zone: &DnsName, key: &Key) -> io::Result<Command> {
    let folder = dir.display();
    let Key { name, algorithm, secret } = key;
    let config = format!(
        r#"
key "{name}" {{ algorithm {algorithm}; secret "{secret}"; }};
options {{
    directory "{folder}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    session-keyfile none;
    recursion no;
    dnssec-validation no;
    empty-zones-enable no;
    notify no;
    tcp-clients 500;
    allow-transfer {{ key "{name}"; }};
}};
controls {{ }};
zone "{zone}" {{
    type primary;
    file "{folder}/zone";
    update-policy {{ grant {name} zonesub ANY; }};
}};
"#
    );
    fs::write(dir.join("zone"), zone_file(zone))?;
    fs::write(dir.join("named.conf"), config)?;
    let mut command = Command::new("named");
    command.args(["-g", "-n", "1", "-c"]).arg(dir.join("named.conf"));
    Ok(command)
}
