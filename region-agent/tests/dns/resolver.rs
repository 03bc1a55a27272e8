//! Unbound as the resolver between a client and us.

use std::fs;
use std::time::Duration;

use failover::testing::free_port;

use super::support::{Daemon, serve, until_answer, zone};

#[tokio::test]
async fn unbound_sees_a_change_after_the_ttl() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(ours.path(), vec![zone(7, "192.0.2.1")]).await;
    let port = free_port();
    let conf = format!(
        "server:\n  interface: 127.0.0.1\n  port: {port}\n  do-daemonize: no\n  use-syslog: no\n  chroot: \"\"\n\
         \x20 username: \"\"\n  directory: \"{}\"\n  pidfile: \"\"\n  do-not-query-localhost: no\n\
         \x20 module-config: \"iterator\"\n  local-zone: \"test.\" nodefault\n\
         remote-control:\n  control-enable: no\n\
         stub-zone:\n  name: \"example.test\"\n  stub-addr: 127.0.0.1@{}\n",
        theirs.path().display(),
        server.local_addr().port()
    );
    fs::write(theirs.path().join("unbound.conf"), conf).unwrap();
    let _daemon = Daemon::start("unbound", &["-d", "-c", "unbound.conf"], theirs.path());
    until_answer(port, "app.example.test", "A", "192.0.2.1").await;
    until_answer(port, "new.example.test", "A", "").await;

    let mut changed = zone(8, "192.0.2.8");
    changed.records.push(super::support::set(
        "new.example.test",
        decision::dns::RecordType::A,
        1,
        &[(1, &["192.0.2.5"])],
    ));
    assert_eq!(server.publish(vec![changed]).await, []);
    // The TTL is 1 s and Unbound counts in whole ones; the rest is for a busy machine.
    let took = until_answer(port, "app.example.test", "A", "192.0.2.8").await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    // The absence was remembered for 5 s at most.
    let took = until_answer(port, "new.example.test", "A", "192.0.2.5").await;
    assert!(took < Duration::from_secs(8), "{took:?}");
}
