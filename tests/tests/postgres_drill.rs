//! `failover drill`: failures caused on purpose on a running system, measured from outside; and healed, whatever becomes
//! of whoever caused them.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use failover::dns::testing::{Key, Server};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::{Cluster, browser, eventually, program, root, text};

const HOME: &str = "us-east-1";

fn up() -> anyhow::Result<Cluster> {
    let cluster = Cluster::up_with("balanced", &root().join("regions.yml"))?;
    cluster.all_is_well()?;
    Ok(cluster)
}

fn drill(cluster: &Cluster, scenario: &str, more: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(program("failover")?);
    command.arg("--context").arg(cluster.data_dir().join("context.json"));
    command.args(["drill", "run", scenario, "--service", "app", "--approve", "--dsn", &cluster.everywhere()]);
    command.arg("--out").arg(cluster.data_dir().join("drill")).args(more).stdin(Stdio::null());
    Ok(command)
}

fn ran(cluster: &Cluster, scenario: &str, more: &[&str]) -> anyhow::Result<(Output, Value)> {
    let output = drill(cluster, scenario, more)?.output()?;
    let report =
        std::fs::read(cluster.data_dir().join("drill/report.json")).with_context(|| text(&output))?;
    Ok((output, serde_json::from_slice(&report)?))
}

#[test]
fn postgres_a_drill_loses_a_region_and_tells_all_of_it() -> anyhow::Result<()> {
    let cluster = up()?;
    cluster.lead_from(HOME)?;
    let looked = cluster.failover(&["drill", "run", "region-loss", "--service", "app", "--dry-run"])?;
    assert_eq!(looked.status.code(), Some(0), "{}", text(&looked));
    let url = cluster.page_by_name("app.regent.test");
    let (practised, foreseen) = ran(&cluster, "region-loss", &["--practice", "--url", &url])?;
    assert_eq!(practised.status.code(), Some(0), "{}", text(&practised));
    assert_eq!(foreseen["is_practice"], true);
    assert!(text(&practised).contains("it would move to "), "{}", text(&practised));
    assert_eq!(cluster.json(&["drill", "history"])?, Value::Array(Vec::new()), "neither did anything");
    assert_eq!(cluster.writer()?, HOME);

    let (output, report) = ran(&cluster, "region-loss", &["--url", &url])?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(report["verdict"], "passed", "{report:#}");
    assert_ne!(cluster.writer()?, HOME);
    let phases: Vec<&str> = report["timeline"]
        .as_array()
        .context("a timeline")?
        .iter()
        .filter_map(|moment| moment["phase"].as_str())
        .collect();
    for phase in
        ["fault", "decision", "fence", "promotion", "dns", "resolver_sees", "first_client_success", "healed"]
    {
        assert!(phases.contains(&phase), "no {phase} among {phases:?}");
    }
    cluster.all_is_well()?;
    // The page was not served while its name still led to the lost region.
    let requests = &report["measured"]["requests"];
    assert!(requests["served"].as_u64() > Some(50) && requests["failed"].as_u64() > Some(0), "{requests:#}");
    assert!(requests["longest_gap_ms"].as_u64() > Some(1_000), "{requests:#}");

    // In all formats, from the replicated state as from the files.
    let folder = cluster.data_dir().join("drill");
    let summed = Command::new("sha256sum").arg("-c").arg("SHA256SUMS").current_dir(&folder).output()?;
    assert!(summed.status.success(), "{}", text(&summed));
    for (format, file) in [("json", "report.json"), ("html", "report.html"), ("junit", "report.xml")] {
        let told = cluster.done(&["drill", "report", "1", "--format", format])?.stdout;
        let kept = std::fs::read(folder.join(file))?;
        assert_eq!(told.trim_ascii_end(), kept.trim_ascii_end(), "{format}");
    }
    // The page shows it all to whoever has no network; the schema names what is in the report.
    let shown = browser::show(&folder.join("report.html"))?;
    for part in ["passed", "first client success", "S1: never two writers", "</svg>"] {
        ensure!(shown.contains(part), "no {part:?} in {shown}");
    }
    let schema: Value = serde_json::from_slice(&std::fs::read(folder.join("report.schema.json"))?)?;
    let known = schema["properties"].as_object().context("a schema of an object")?;
    let told = report.as_object().context("an object")?;
    assert_eq!(known.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
    // The next one is compared with it, and a drill that must fail does.
    let (output, report) = ran(&cluster, "database-crash", &["--rto-ms", "1"])?;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!(report["verdict"], "objective_missed");
    assert_eq!(cluster.json(&["drill", "history"])?.as_array().map(Vec::len), Some(2));
    Ok(())
}

#[test]
fn postgres_a_drill_whose_process_is_killed_heals_by_itself() -> anyhow::Result<()> {
    let cluster = up()?;
    let running = Running::begin(drill(&cluster, "partition", &[])?)?;
    eventually("another writes", || Ok(cluster.writer()? != HOME))?;
    drop(running);
    let killed = Instant::now();
    eventually("it is over", || {
        let drills = cluster.json(&["drill", "history"])?;
        Ok(drills[0]["ended"]["why"] == "its process was not heard of any more")
    })?;
    cluster.all_is_well()?;
    ensure!(killed.elapsed() < Duration::from_secs(100), "{:?}", killed.elapsed());
    Ok(())
}

/// A drill that is under way, and what it says.
struct Running {
    process: Child,
    said: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn begin(mut drill: Command) -> anyhow::Result<Running> {
        let mut process = drill.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let said = BufReader::new(process.stderr.take().context("it is piped")?).lines();
        Ok(Running { process, said })
    }

    fn says(&mut self, words: &str) -> anyhow::Result<()> {
        for line in self.said.by_ref() {
            if line?.contains(words) {
                return Ok(());
            }
        }
        bail!("it did not say {words:?}")
    }

    /// As Ctrl-C does.
    fn interrupt(&self) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGINT)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn postgres_a_drill_that_a_person_ends_is_over_at_once() -> anyhow::Result<()> {
    let cluster = up()?;
    let mut early = Running::begin(drill(&cluster, "partition", &["--baseline", "300"])?)?;
    early.says("watching for")?;
    early.interrupt()?;
    early.says("nothing was done")?;
    assert_eq!(early.process.wait()?.code(), Some(4));
    assert_eq!(cluster.json(&["drill", "history"])?, Value::Array(Vec::new()));

    let mut late = Running::begin(drill(&cluster, "partition", &[])?)?;
    eventually("another writes", || Ok(cluster.writer()? != HOME))?;
    late.interrupt()?;
    late.says("over: a person ended it; waiting for us-east-1")?;
    late.interrupt()?;
    assert_eq!(late.process.wait()?.code(), Some(4));
    let report: Value =
        serde_json::from_slice(&std::fs::read(cluster.data_dir().join("drill/report.json"))?)?;
    let checks = report["checks"].as_array().context("checks")?;
    ensure!(checks.iter().any(|check| check["detail"] == "nobody waited for it"), "{report:#}");
    cluster.all_is_well()
}

#[test]
fn postgres_a_drill_takes_all_controllers_away_and_clients_do_not_notice() -> anyhow::Result<()> {
    // With `failsafe` the primary goes on while every other agent says that nobody else may write.
    let cluster = Cluster::up_with_changed(
        "balanced",
        "      mode: sync\n",
        "      mode: sync\n      failsafe: true\n",
    )?;
    cluster.all_is_well()?;
    let (output, report) = ran(&cluster, "controller-quorum-loss", &["--longest", "15"])?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(cluster.writer()?, HOME);
    let gap_ms = report["measured"]["longest_gap_ms"].as_u64().context("measured")?;
    ensure!(gap_ms < 5_000, "{report:#}");
    cluster.all_is_well()
}

/// The sample, whose names a BIND serves. `folder`: for what agents read as long as they run.
fn up_with_bind(server: &Server, key: &Key, folder: &Path) -> anyhow::Result<Cluster> {
    let secret = folder.join("tsig");
    std::fs::write(&secret, &key.secret)?;
    let sample = std::fs::read_to_string(root().join("regions.yml"))?;
    let Key { name, algorithm, .. } = key;
    let (at, zone, secret_file) = (server.addr(), server.zone(), secret.display());
    let zones = format!(
        "dns:\n  zones:\n    {zone}:\n      provider: rfc2136\n      server: {at}\n      \
         tsig: {{name: {name}, algorithm: {algorithm}, secret_file: {secret_file}}}\n"
    );
    let file = folder.join("regions.yml");
    std::fs::write(&file, format!("{sample}\n{zones}"))?;
    let cluster = Cluster::up_with("balanced", &file)?;
    cluster.all_is_well()?;
    Ok(cluster)
}

#[test]
fn postgres_a_drill_moves_the_service_while_bind_cannot_be_told() -> anyhow::Result<()> {
    let key = Key::new("regent");
    let server = tokio::runtime::Runtime::new()?.block_on(Server::bind("regent.test", &key));
    let folder = tempfile::tempdir()?;
    let cluster = up_with_bind(&server, &key, folder.path())?;
    let home = cluster.address(HOME);
    eventually("BIND names its home", || Ok(cluster.dig_at(&server.addr())? == home))?;
    let url = cluster.page_by_name("app.regent.test");
    let (output, report) = ran(&cluster, "dns-provider-outage", &["--url", &url])?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(report["ended"]["why"], "its longest duration was over");
    let checks = report["checks"].as_array().context("checks")?;
    let told = checks.iter().find(|check| check["name"].as_str().is_some_and(|name| name.starts_with("L3")));
    assert_eq!(told.context("names were judged")?["result"], "PASS", "{report:#}");
    // Writes moved at once; what BIND says, after the outage, and back with the service.
    let moments = report["timeline"].as_array().context("a timeline")?;
    let at = |phase: &str| -> Vec<u64> {
        moments
            .iter()
            .filter(|moment| moment["phase"] == phase)
            .filter_map(|moment| moment["at"].as_u64())
            .collect()
    };
    let (promoted, healed, seen) = (at("promotion"), at("healed"), at("resolver_sees"));
    ensure!(promoted[0] < healed[0] && seen[0] >= healed[0] && seen.len() == 2, "{report:#}");
    assert_eq!(cluster.dig_at(&server.addr())?, home);
    cluster.all_is_well()
}

#[test]
fn postgres_a_drill_does_not_begin_where_anything_is_wrong() -> anyhow::Result<()> {
    let cluster = up()?;
    let refused = |why: &str| -> anyhow::Result<()> {
        let output = drill(&cluster, "region-loss", &[])?.output()?;
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        assert!(text(&output).contains(why), "{}", text(&output));
        Ok(())
    };
    cluster.done(&["pause", "--why", "maintenance"])?;
    refused("automation is paused")?;
    cluster.done(&["resume"])?;
    cluster.done(&["drain", "ap-southeast-1", "--yes"])?;
    refused("region ap-southeast-1 is drained")?;
    cluster.done(&["undrain", "ap-southeast-1", "--yes"])?;
    let output = drill(&cluster, "region-loss", &["--region", "eu-west-1"])?.output()?;
    assert!(text(&output).contains("would show nothing of it"), "{}", text(&output));
    assert_eq!(cluster.json(&["drill", "history"])?, Value::Array(Vec::new()));
    Ok(())
}
