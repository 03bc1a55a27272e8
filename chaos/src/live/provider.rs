//! DNS servers of others: a BIND in a place of its own, which agents tell where the service is (RFC 2136).

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::sys::signal::Signal;

use super::cluster::Cluster;
use super::layout::Layout;
use super::options::PROVIDER;
use super::part::Part;

pub(super) const ZONE: &str = "others.test";
pub(super) const NAME: &str = "app.others.test.";
pub(super) const PORT: u16 = 53;
pub(super) const KEY: &str = "regent";
pub(super) const ALGORITHM: &str = "hmac-sha256";
/// Of this run alone, in base64: who could use it reaches nobody.
const SECRET: &str = "cmVnZW50IGxpdmUgcmVnZW50IGxpdmUgcmVnZW50IGw=";
/// Where Debian and others put it.
const PROGRAMS: [&str; 2] = ["/usr/sbin/named", "/usr/bin/named"];

/// Its files, and the process that will serve them.
pub(super) fn prepare(layout: &Layout, address: Ipv4Addr) -> anyhow::Result<Part> {
    let program = PROGRAMS.iter().map(Path::new).find(|program| program.is_file());
    let program = program.context("named is not there: install bind9")?;
    let folder = layout.provider();
    fs::create_dir_all(&folder)?;
    fs::write(layout.tsig_secret(), SECRET)?;
    let at = folder.display();
    let zone = format!(
        "$ORIGIN {ZONE}.\n$TTL 60\n@ IN SOA ns1 hostmaster 1 3600 600 86400 5\n@ IN NS ns1\nns1 IN A {address}\n"
    );
    fs::write(folder.join("zone"), zone)?;
    let config = format!(
        "key {KEY} {{ algorithm {ALGORITHM}; secret \"{SECRET}\"; }};\n\
         options {{\n  directory \"{at}\";\n  listen-on port {PORT} {{ {address}; }};\n  listen-on-v6 {{ none; }};\n  \
         pid-file none;\n  session-keyfile none;\n  recursion no;\n  dnssec-validation no;\n  \
         empty-zones-enable no;\n  notify no;\n}};\ncontrols {{ }};\n\
         zone {ZONE} {{ type primary; file \"zone\"; update-policy {{ grant {KEY} zonesub ANY; }}; }};\n"
    );
    let file = folder.join("named.conf");
    fs::write(&file, config)?;
    let args = ["-g", "-n", "1", "-c"].map(str::to_owned).into_iter().chain([file.display().to_string()]);
    Ok(Part::new(PROVIDER.to_owned(), PROVIDER, program, args.collect(), layout.log(PROVIDER), Vec::new()))
}

impl Layout {
    fn provider(&self) -> PathBuf {
        self.folder.join(PROVIDER)
    }

    pub(super) fn tsig_secret(&self) -> PathBuf {
        self.folder.join("tsig.secret")
    }
}

impl Cluster {
    /// `kill -9`. An error: it did not run.
    pub fn kill_provider(&self) -> anyhow::Result<()> {
        let mut provider = self.provider()?;
        provider.pid()?;
        provider.kill()
    }

    /// It is there, and answers nothing. An error: it did not run.
    pub fn freeze_provider(&self) -> anyhow::Result<()> {
        self.provider()?.signal(Signal::SIGSTOP)
    }

    /// Whatever was done to it, it serves again.
    pub fn mend_provider(&self) -> anyhow::Result<()> {
        let mut provider = self.provider()?;
        if provider.is_running() {
            return provider.signal(Signal::SIGCONT);
        }
        provider.start(&self.net)
    }
}
