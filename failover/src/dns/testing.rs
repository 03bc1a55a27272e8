//! Real DNS servers on loopback for tests: each in a folder of its own, on a free port, ended by
//! its process id when dropped.

mod bind;
mod knot;
mod pdns;
mod relay;
pub mod tools;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use decision::name::DnsName;
use tempfile::TempDir;
use tokio::time::Instant;

use super::tsig::TsigKey;
use crate::testing::free_port;
pub use relay::{Lose, Relay};

/// A TSIG key that a test server knows.
#[derive(Clone, Debug)]
pub struct Key {
    pub name: String,
    pub algorithm: String,
    /// In base64.
    pub secret: String,
}

impl Key {
    /// The same name gives the same secret.
    pub fn new(name: &str) -> Key {
        let secret: Vec<u8> = name.bytes().cycle().take(32).collect();
        let secret = data_encoding::BASE64.encode(&secret);
        Key { name: name.to_owned(), algorithm: "hmac-sha256".to_owned(), secret }
    }

    pub fn tsig(&self) -> TsigKey {
        TsigKey::new(&self.name, &self.algorithm, &self.secret).expect("a test's key is well formed")
    }
}

/// A running primary for one zone that takes updates signed by one key.
pub struct Server {
    process: Child,
    _dir: TempDir,
    address: SocketAddr,
    zone: DnsName,
    key: Key,
}

/// What a kind of server needs to be started: files in its folder, and the command.
type Prepare = fn(&Path, u16, &DnsName, &Key) -> io::Result<Command>;

/// Starting is quick; a machine under load is not.
const START: Duration = Duration::from_secs(20);

impl Server {
    /// BIND 9 (`named`).
    pub async fn bind(zone: &str, key: &Key) -> Server {
        start(bind::prepare, zone, key).await
    }

    /// Knot DNS (`knotd`).
    pub async fn knot(zone: &str, key: &Key) -> Server {
        start(knot::prepare, zone, key).await
    }

    /// Knot DNS that signs the zone itself.
    pub async fn knot_signed(zone: &str, key: &Key) -> Server {
        start(knot::prepare_signed, zone, key).await
    }

    /// PowerDNS on SQLite.
    pub async fn pdns(zone: &str, key: &Key) -> Server {
        start(pdns::prepare, zone, key).await
    }

    /// `host:port`, for UDP and TCP.
    pub fn addr(&self) -> String {
        self.address.to_string()
    }

    pub fn zone(&self) -> &DnsName {
        &self.zone
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // By its process id; an error means that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Panics with the server's own log when it does not come up.
async fn start(prepare: Prepare, zone: &str, key: &Key) -> Server {
    let zone = DnsName::from(zone);
    let mut failures = String::new();
    // Another process may take the port between its choice and its use.
    for _ in 0..3 {
        let dir = TempDir::new().expect("a temporary folder can be made");
        let port = free_port();
        let log = fs::File::create(dir.path().join("log")).expect("the folder is ours");
        let errors = log.try_clone().expect("a file handle can be cloned");
        let mut command = prepare(dir.path(), port, &zone, key).expect("the server's files can be written");
        let process = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let process =
            process.unwrap_or_else(|error| panic!("{:?} is not installed: {error}", command.get_program()));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Server { process, _dir: dir, address, zone: zone.clone(), key: key.clone() };
        if server.comes_up().await {
            return server;
        }
        failures = fs::read_to_string(server._dir.path().join("log")).unwrap_or_default();
    }
    panic!("the DNS server did not come up; its log: {failures}");
}

impl Server {
    async fn comes_up(&mut self) -> bool {
        let until = Instant::now() + START;
        while Instant::now() < until {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return false;
            }
            if !tools::dig(&self.addr(), &self.zone, "SOA").await.is_empty() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

/// A zone as it begins: its SOA, its name server, and that one's address.
fn zone_file(zone: &DnsName) -> String {
    format!(
        "$ORIGIN {zone}.\n$TTL 60\n@ IN SOA ns1 hostmaster 1 3600 600 86400 5\n@ IN NS ns1\nns1 IN A 127.0.0.1\n"
    )
}
