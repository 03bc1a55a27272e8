//! The main job through DNS servers of others: BIND and Knot, by RFC 2136.

use std::path::{Path, PathBuf};

use failover::dns::testing::{Key, Relay, Server};
use nix::sys::signal::Signal;
use tests::{Cluster, eventually, text};

const ZONE: &str = "example.test";

/// A configuration whose names are served by the server at `updates`.
fn config(folder: &Path, updates: &str, authoritative: &str, key: &Key) -> anyhow::Result<PathBuf> {
    let secret = folder.join("tsig");
    std::fs::write(&secret, &key.secret)?;
    let text = format!(
        "regions:
  a: {{name: us-east-1, provider: local, endpoints: [http://127.0.1.1:1], services: [app]}}
  b: {{name: eu-west-1, provider: local, endpoints: [http://127.0.1.2:1], services: [app]}}
  c: {{name: ap-southeast-1, provider: local, endpoints: [http://127.0.1.3:1], services: [app]}}
services:
  app:
    dns:
      - name: app.{ZONE}
        type: A
        ttl: 5
        values: {{us-east-1: 127.0.1.1, eu-west-1: 127.0.1.2, ap-southeast-1: 127.0.1.3}}
dns:
  zones:
    {ZONE}:
      provider: rfc2136
      server: {updates}
      authoritative: [\"{authoritative}\"]
      tsig: {{name: {}, algorithm: {}, secret_file: {}}}
",
        key.name,
        key.algorithm,
        secret.display()
    );
    let file = folder.join("regions.yml");
    std::fs::write(&file, text)?;
    Ok(file)
}

fn dns_moves_with_the_service(server: &Server, key: &Key) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let at = server.addr();
    let cluster = Cluster::up_with("balanced", &config(folder.path(), &at, &at, key)?)?;
    let home = cluster.address("us-east-1");
    eventually(&format!("{home} at first"), || Ok(cluster.dig_at(&at)? == home))?;
    cluster.lose("us-east-1")?;
    let next = cluster.address("eu-west-1");
    eventually(&format!("{next} after the loss"), || Ok(cluster.dig_at(&at)? == next))?;
    eventually("the plan's end", || {
        let plans = cluster.json(&["plan"])?;
        let newest = &plans[0];
        Ok(newest["plan"]["kind"] == "failover" && newest["status"] == "done")
    })
}

#[test]
fn dns_bind_follows_a_failover() -> anyhow::Result<()> {
    let key = Key::new("regent");
    let server = tokio::runtime::Runtime::new()?.block_on(Server::bind(ZONE, &key));
    dns_moves_with_the_service(&server, &key)
}

#[test]
fn dns_knot_follows_a_failover() -> anyhow::Result<()> {
    let key = Key::new("regent");
    let server = tokio::runtime::Runtime::new()?.block_on(Server::knot(ZONE, &key));
    dns_moves_with_the_service(&server, &key)
}

/// A region is paused with its change to BIND under way; the service is moved elsewhere; the
/// change arrives late, and the region wakes and tells of it.
#[test]
fn dns_bind_refuses_a_change_that_comes_too_late() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let key = Key::new("regent");
    let server = runtime.block_on(Server::bind(ZONE, &key));
    let at = server.addr();
    let folder = tempfile::tempdir()?;
    let direct = config(folder.path(), &at, &at, &key)?;
    let mut cluster = Cluster::up_with("balanced", &direct)?;
    let home = cluster.address("us-east-1");
    eventually(&format!("{home} at first"), || Ok(cluster.dig_at(&at)? == home))?;

    // From now on the first update is held back on its way.
    let relay = runtime.block_on(Relay::holding_first(&at));
    cluster.down()?;
    let held = config(folder.path(), &relay.addr(), &at, &key)?;
    cluster.start(&held)?;
    runtime.block_on(relay.holds_one());
    let late = ["us-east-1"];
    for region in late {
        for part in ["controller", "agent"] {
            cluster.signal(region, part, Signal::SIGSTOP)?;
        }
    }
    // The change that was under way belongs to a plan of an epoch that is now passed by.
    let moved = {
        let mut last = String::new();
        eventually("a move to eu-west-1", || {
            let output = cluster.failover(&["switchover", "app", "--to", "eu-west-1", "--yes"])?;
            last = text(&output);
            Ok(output.status.success())
        })
        .map_err(|error| error.context(last))
    };
    moved?;
    let next = cluster.address("eu-west-1");
    assert_eq!(cluster.dig_at(&at)?, next);

    relay.release();
    for region in late {
        for part in ["controller", "agent"] {
            cluster.signal(region, part, Signal::SIGCONT)?;
        }
    }
    eventually("word of the refusal in the journal", || {
        let entries = cluster.journal(1)?;
        Ok(entries.iter().any(|entry| {
            let event = &entry["event"];
            event["event"] == "refused"
                && entry["by"].as_str().is_some_and(|by| by.starts_with("agent/us-east-1"))
        }))
    })?;
    assert_eq!(cluster.dig_at(&at)?, next, "the late change changed nothing");
    Ok(())
}
