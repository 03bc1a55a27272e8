//! BIND and Knot as ordinary secondaries of ours: told by NOTIFY, fed by AXFR.

use std::fs;
use std::path::Path;

use failover::testing::free_port;

use super::support::{Daemon, serve, serve_at, short, until_answer, zone};

fn named(dir: &Path, port: u16, primary: u16) -> Daemon {
    let conf = format!(
        r#"options {{
            directory "{dir}"; pid-file none; session-keyfile none; recursion no; dnssec-validation no;
            listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; notify no; allow-transfer {{ none; }};
        }};
        controls {{ }};
        zone "example.test" {{
            type secondary; primaries port {primary} {{ 127.0.0.1; }}; file "example.test.db"; masterfile-format text;
        }};"#,
        dir = dir.display()
    );
    fs::write(dir.join("named.conf"), conf).unwrap();
    Daemon::start("named", &["-g", "-n", "1", "-c", "named.conf"], dir)
}

fn knotd(dir: &Path, port: u16, primary: u16) -> Daemon {
    let dir_shown = dir.display();
    let conf = format!(
        "server:\n  rundir: {dir_shown}\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n\
         database:\n  storage: {dir_shown}\n\
         log:\n  - target: stderr\n    any: info\n\
         remote:\n  - id: primary\n    address: 127.0.0.1@{primary}\n\
         acl:\n  - id: told\n    address: 127.0.0.1\n    action: notify\n\
         zone:\n  - domain: example.test\n    storage: {dir_shown}\n    master: primary\n    acl: told\n"
    );
    fs::write(dir.join("knot.conf"), conf).unwrap();
    Daemon::start("knotd", &["-c", "knot.conf"], dir)
}

async fn follows(start: fn(&Path, u16, u16) -> Daemon) {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = free_port();
    let with_secondary = |generation, address: &str| {
        let mut zone = zone(generation, address);
        zone.secondaries = vec![format!("127.0.0.1:{port}")];
        zone
    };
    let server = serve(ours.path(), vec![with_secondary(7, "192.0.2.1")]).await;
    let at = server.local_addr();
    let _daemon = start(theirs.path(), port, at.port());
    until_answer(port, "app.example.test", "A", "192.0.2.1").await;
    assert_eq!(short(port, "www.example.test", "AAAA").await, "app.example.test.\n2001:db8::1");
    let mut split: Vec<_> = short(port, "split.example.test", "A").await.lines().map(str::to_owned).collect();
    split.sort();
    assert_eq!(split, ["192.0.2.11", "192.0.2.12"], "all groups of weight above 0");

    // REFRESH is a minute, beyond the deadline: only NOTIFY brings this in time.
    assert_eq!(server.publish(vec![with_secondary(8, "192.0.2.8")]).await, []);
    let took = until_answer(port, "app.example.test", "A", "192.0.2.8").await;
    eprintln!("the secondary followed in {took:?}");

    // The serial survives our restart without any publish, so that later ones are followed still.
    server.shutdown().await;
    let server = serve_at(at, ours.path(), Vec::new()).await;
    assert_eq!(server.held(), [("example.test".into(), 8)]);
    assert_eq!(short(at.port(), "app.example.test", "A").await, "192.0.2.8");
    assert_eq!(server.publish(vec![with_secondary(7, "192.0.2.1")]).await.len(), 1, "S2");
    assert_eq!(server.publish(vec![with_secondary(9, "192.0.2.9")]).await, []);
    until_answer(port, "app.example.test", "A", "192.0.2.9").await;
    assert!(server.metrics().all().any(|(name, count)| name == "transfers_sent" && count > 0));
    server.shutdown().await;
    // And it answers on without us.
    assert_eq!(short(port, "app.example.test", "A").await, "192.0.2.9");
}

#[tokio::test]
async fn bind_follows() {
    follows(named).await;
}

#[tokio::test]
async fn knot_follows() {
    follows(knotd).await;
}
