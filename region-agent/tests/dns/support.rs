//! Starting servers on free loopback ports, asking them, and waiting for what must come.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use decision::dns::{Group, NameServer, RecordSet, RecordType, Zone};
use region_agent::dns::{DnsServer, Settings};
use wire::host::Host;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const ORIGIN: &str = "example.test";

pub(crate) fn zone(generation: u64, address: &str) -> Zone {
    Zone {
        origin: ORIGIN.into(),
        generation,
        name_servers: vec![NameServer {
            name: "ns1.example.test".into(),
            addresses: vec!["127.0.0.1".parse().unwrap()],
        }],
        records: vec![
            set("app.example.test", RecordType::A, 1, &[(100, &[address])]),
            set("app.example.test", RecordType::Aaaa, 1, &[(100, &["2001:db8::1"])]),
            set("www.example.test", RecordType::Cname, 1, &[(100, &["app.example.test"])]),
            set("deep.down.example.test", RecordType::Txt, 1, &[(100, &["hello world"])]),
            set("big.example.test", RecordType::Txt, 1, &[(100, &[&"x".repeat(700), &"y".repeat(200)])]),
            set(
                "split.example.test",
                RecordType::A,
                1,
                &[(1, &["192.0.2.11"]), (3, &["192.0.2.12"]), (0, &["192.0.2.13"])],
            ),
        ],
        secondaries: Vec::new(),
    }
}

pub(crate) fn set(name: &str, rtype: RecordType, ttl_s: u32, groups: &[(u8, &[&str])]) -> RecordSet {
    let groups = groups.iter().enumerate().map(|(i, (weight, values))| Group {
        region: format!("region-{i}").as_str().into(),
        weight: *weight,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    });
    RecordSet { name: name.into(), rtype, ttl_s, groups: groups.collect() }
}

/// Ours, on a free port.
pub(crate) async fn serve(data_dir: &Path, zones: Vec<Zone>) -> DnsServer {
    serve_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), data_dir, zones).await
}

pub(crate) async fn serve_at(bind: SocketAddr, data_dir: &Path, zones: Vec<Zone>) -> DnsServer {
    let settings = Settings { bind, data_dir: data_dir.into() };
    let server = DnsServer::start(settings, Host::system()).await.unwrap();
    assert_eq!(server.publish(zones).await, []);
    server
}

/// A server process; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Its output goes to `DIR/PROGRAM.log`, which a failing test shows.
    pub(crate) fn start(program: &str, args: &[&str], dir: &Path) -> Self {
        let log = dir.join(format!("{}.log", program.rsplit('/').next().unwrap()));
        let out = fs::File::create(&log).unwrap();
        let child = Command::new(program)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("{program} cannot be started: {e}"));
        Self { child, log }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// What `dig` prints.
pub(crate) async fn dig(port: u16, args: &[&str]) -> String {
    let output = tokio::process::Command::new("dig")
        .args(["-4", "-r", "@127.0.0.1", "-p", &port.to_string(), "+time=2", "+tries=1", "+nocookie"])
        .args(args)
        .kill_on_drop(true)
        .output()
        .await
        .expect("dig is installed");
    String::from_utf8(output.stdout).unwrap()
}

/// The values alone.
pub(crate) async fn short(port: u16, name: &str, rtype: &str) -> String {
    dig(port, &["+short", name, rtype]).await.trim().to_owned()
}

/// Waits until a server gives `expected`; how long that took.
pub(crate) async fn until_answer(port: u16, name: &str, rtype: &str, expected: &str) -> Duration {
    let start = Instant::now();
    loop {
        let got = short(port, name, rtype).await;
        if got == expected {
            return start.elapsed();
        }
        assert!(start.elapsed() < DEADLINE, "{name} {rtype} is {got:?} and never became {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
