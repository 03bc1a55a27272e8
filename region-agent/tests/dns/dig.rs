//! What `dig` makes of it: no warnings, and every answer as BIND's users know it.

use decision::dns::Zone;
use region_agent::dns::DnsServer;

use super::support::{dig, serve, short, zone};

async fn started() -> (DnsServer, u16, tempfile::TempDir) {
    started_with(zone(7, "192.0.2.1")).await
}

async fn started_with(zone: Zone) -> (DnsServer, u16, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), vec![zone]).await;
    let port = server.local_addr().port();
    (server, port, dir)
}

/// The header and sections of an answer, on which dig must have no remark.
async fn clean(port: u16, args: &[&str]) -> String {
    let text = dig(port, args).await;
    for complaint in ["WARNING", "Warning", "malformed", "mismatch", "Got bad packet", "timed out", "failed"]
    {
        // That no recursion is offered is as it must be.
        let rest = text.replace(";; WARNING: recursion requested but not available", "");
        assert!(!rest.contains(complaint), "{args:?}: {text}");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

const SOA: &str = "example.test. 5 IN SOA ns1.example.test. hostmaster.example.test. 7 60 10 604800 5";

#[tokio::test]
async fn positive_answers() {
    let (_server, port, _dir) = started().await;
    let text = clean(port, &["app.example.test", "A"]).await;
    assert_has(
        &text,
        &["status: NOERROR", "flags: qr aa rd;", "QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1"],
    );
    assert_has(&text, &["EDNS: version: 0, flags:; udp: 1232", "app.example.test. 1 IN A 192.0.2.1"]);
    assert_eq!(short(port, "app.example.test", "AAAA").await, "2001:db8::1");
    assert_eq!(short(port, "deep.down.example.test", "TXT").await, "\"hello world\"");
    let text = clean(port, &["+noedns", "aPp.eXample.tEst", "A"]).await;
    assert_has(&text, &["ADDITIONAL: 0", "aPp.eXample.tEst. 1 IN A 192.0.2.1"]);
}

#[tokio::test]
async fn negative_answers() {
    let (_server, port, _dir) = started().await;
    let text = clean(port, &["no.example.test", "A"]).await;
    assert_has(&text, &["status: NXDOMAIN", "flags: qr aa rd;", "ANSWER: 0, AUTHORITY: 1", SOA]);
    for (name, rtype) in [("app.example.test", "MX"), ("www.example.test", "TXT"), ("down.example.test", "A")]
    {
        let text = clean(port, &[name, rtype]).await;
        assert_has(&text, &["status: NOERROR", "AUTHORITY: 1", SOA]);
    }
    assert_has(&clean(port, &["example.com", "A"]).await, &["status: REFUSED", "flags: qr rd;"]);
    assert_has(&clean(port, &["version.bind", "CH", "TXT"]).await, &["status: REFUSED"]);
}

#[tokio::test]
async fn aliases_any_and_the_apex() {
    let (_server, port, _dir) = started().await;
    assert_eq!(short(port, "www.example.test", "A").await, "app.example.test.\n192.0.2.1");
    assert_eq!(short(port, "www.example.test", "CNAME").await, "app.example.test.");
    let text = clean(port, &["app.example.test", "ANY", "+notcp"]).await;
    assert_has(&text, &["status: NOERROR", "ANSWER: 1,", "192.0.2.1"]);
    assert_eq!(short(port, "example.test", "NS").await, "ns1.example.test.");
    assert_has(&clean(port, &["example.test", "NS"]).await, &["ns1.example.test. 300 IN A 127.0.0.1"]);
    assert_has(&clean(port, &["example.test", "SOA"]).await, &[SOA]);
}

#[tokio::test]
async fn tcp_buffer_sizes_and_versions() {
    let (_server, port, _dir) = started().await;
    assert_has(&clean(port, &["+tcp", "app.example.test", "A"]).await, &["192.0.2.1"]);
    let text = clean(port, &["+ignore", "+bufsize=512", "big.example.test", "TXT"]).await;
    assert_has(&text, &["flags: qr aa tc rd;", "ANSWER: 0"]);
    let text = clean(port, &["+bufsize=512", "+tcp", "big.example.test", "TXT"]).await;
    assert_has(&text, &["flags: qr aa rd;", "ANSWER: 2"]);
    assert_has(&clean(port, &["+ignore", "+bufsize=1232", "big.example.test", "TXT"]).await, &["ANSWER: 2"]);
    let text = clean(port, &["+edns=1", "+noednsnegotiation", "app.example.test", "A"]).await;
    assert_has(&text, &["status: BADVERS", "ANSWER: 0"]);
    let text =
        clean(port, &["+dnssec", "+nsid", "+subnet=192.0.2.0/24", "+cookie", "app.example.test", "A"]).await;
    assert_has(&text, &["EDNS: version: 0, flags: do; udp: 1232 ;; QUESTION", "192.0.2.1"]);
    assert_has(&clean(port, &["+opcode=UPDATE", "+nocmd", "example.test", "SOA"]).await, &["status: NOTIMP"]);
    assert_has(&clean(port, &["+opcode=NOTIFY", "example.test", "SOA"]).await, &["status: NOERROR"]);
}

#[tokio::test]
async fn weights_decide_who_is_served() {
    let (_server, port, _dir) = started().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        seen.insert(short(port, "split.example.test", "A").await);
    }
    // The chance that one never comes in 60 draws is below 1 in 10 million.
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["192.0.2.11", "192.0.2.12"]);
}

#[tokio::test]
async fn transfers_go_to_secondaries_only() {
    let (server, port, _dir) = started().await;
    assert_has(&dig(port, &["example.test", "AXFR"]).await, &["Transfer failed."]);
    let mut zone = zone(8, "192.0.2.1");
    zone.secondaries = vec!["127.0.0.1:1".into()];
    for i in 0..3000 {
        let name = format!("n{i}.example.test");
        zone.records.push(super::support::set(
            &name,
            decision::dns::RecordType::A,
            1,
            &[(1, &["192.0.2.1"])],
        ));
    }
    assert_eq!(server.publish(vec![zone]).await, []);
    let text = dig(port, &["example.test", "AXFR"]).await;
    let records: Vec<_> =
        text.lines().filter(|line| line.starts_with(|c: char| c.is_alphanumeric())).collect();
    // 8 values, NS, glue, 2 SOA, without the group of weight 0.
    assert_eq!(records.len(), 3_012, "{}", text.lines().rev().take(8).collect::<String>());
    assert!(records[0].contains("SOA") && records.last().unwrap().contains("SOA"));
    let messages = text.lines().find_map(|line| line.split("(messages ").nth(1)).expect("a summary");
    let messages: usize = messages.split(',').next().unwrap().parse().unwrap();
    assert!(messages > 1, "{messages}");
    let ixfr = dig(port, &["example.test", "IXFR=7"]).await;
    assert_has(&ixfr, &["XFR size: 3012 records"]);
    let newest = dig(port, &["+tcp", "example.test", "IXFR=8"]).await;
    assert_has(&newest, &["XFR size: 1 records"]);
    assert_has(
        &dig(port, &["+notcp", "+short", "example.test", "IXFR=7"]).await,
        &["hostmaster.example.test. 8 "],
    );
}
