//! A cluster of real processes, as `failover up` starts it, for scenarios that read like stories.

pub mod browser;
pub mod database;
pub mod inside;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use failover::testing::free_ports;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Far longer than anything here takes on a quiet machine; a test that needs it has failed.
pub const DEADLINE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// As many as `failover up` needs from its base port on, for up to five regions with a database.
const PORTS: u16 = 120;
/// What runs in a region.
pub const PARTS: [&str; 3] = ["service", "controller", "agent"];

/// A running cluster; ended when dropped.
pub struct Cluster {
    folder: tempfile::TempDir,
    base_port: u16,
    profile: String,
    pub ready: Value,
    /// The command line of each region's parts.
    commands: BTreeMap<(String, String), Vec<String>>,
    /// Where each region's database lies.
    data_folders: BTreeMap<String, PathBuf>,
    restarted: Vec<Child>,
}

impl Cluster {
    pub fn up(profile: &str) -> anyhow::Result<Cluster> {
        Cluster::up_with(profile, &root().join("tests/names.yml"))
    }

    pub fn up_with(profile: &str, config: &Path) -> anyhow::Result<Cluster> {
        let mut cluster = Cluster {
            folder: tempfile::tempdir()?,
            base_port: free_ports(PORTS),
            profile: profile.to_owned(),
            ready: Value::Null,
            commands: BTreeMap::new(),
            data_folders: BTreeMap::new(),
            restarted: Vec::new(),
        };
        cluster.start(config)?;
        Ok(cluster)
    }

    /// With the sample's configuration, in which one text is another.
    pub fn up_with_changed(profile: &str, from: &str, to: &str) -> anyhow::Result<Cluster> {
        let sample = std::fs::read_to_string(root().join("regions.yml"))?;
        ensure!(sample.contains(from), "regions.yml has no {from:?}");
        let changed = tempfile::NamedTempFile::with_suffix(".yml")?;
        std::fs::write(changed.path(), sample.replacen(from, to, 1))?;
        Cluster::up_with(profile, changed.path())
    }

    /// Starts it, or starts it again on the same data.
    pub fn start(&mut self, config: &Path) -> anyhow::Result<()> {
        let ready_file = self.folder.path().join("ready.json");
        let output = Command::new(program("failover")?)
            .args(["up", "--detach", "--timeout", "90", "--profile", &self.profile])
            .args(["--base-port", &self.base_port.to_string()])
            .arg("--config")
            .arg(config)
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--ready-file")
            .arg(&ready_file)
            .output()?;
        ensure!(output.status.success(), "up: {}", text(&output));
        self.ready = serde_json::from_str(&std::fs::read_to_string(ready_file)?)?;
        for region in self.regions() {
            for part in PARTS {
                let line = std::fs::read(format!("/proc/{}/cmdline", self.pid(&region, part)))?;
                let line = String::from_utf8(line).context("a command line is UTF-8")?;
                let args = line.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
                self.commands.insert((region.clone(), part.to_owned()), args);
            }
            if let Some(pid) = self.part(&region, "postgres")["pid"].as_i64() {
                let folder = std::fs::read_link(format!("/proc/{pid}/cwd"))?;
                self.data_folders.insert(region, folder);
            }
        }
        Ok(())
    }

    pub fn down(&self) -> anyhow::Result<()> {
        let output =
            Command::new(program("failover")?).arg("down").arg("--data-dir").arg(self.data_dir()).output()?;
        ensure!(output.status.success(), "down: {}", text(&output));
        Ok(())
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn primary(&self) -> &str {
        self.ready["primary"].as_str().expect("up says where the primary is")
    }

    pub fn record(&self) -> &str {
        self.ready["record"].as_str().expect("up says which name it serves")
    }

    pub fn regions(&self) -> Vec<String> {
        let regions = self.ready["regions"].as_object().expect("up names the regions");
        regions.keys().cloned().collect()
    }

    fn part(&self, region: &str, part: &str) -> &Value {
        &self.ready["regions"][region][part]
    }

    /// `part` is `controller`, `agent` or `service`.
    pub fn pid(&self, region: &str, part: &str) -> i32 {
        self.part(region, part)["pid"].as_i64().expect("up tells each pid") as i32
    }

    pub fn signal(&self, region: &str, part: &str, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.pid(region, part)), signal).with_context(|| format!("{region} {part}"))
    }

    /// Starts a part that was killed again, as it was started before.
    pub fn restart(&mut self, region: &str, part: &str) -> anyhow::Result<()> {
        self.restart_under(region, part, &[])
    }

    /// The same, by a program such as `strace` that runs what its arguments end with.
    pub fn restart_under(&mut self, region: &str, part: &str, runner: &[&str]) -> anyhow::Result<()> {
        let key = (region.to_owned(), part.to_owned());
        let own = self.commands.get(&key).context("up told of it")?;
        let args: Vec<&str> = runner.iter().copied().chain(own.iter().map(String::as_str)).collect();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.data_dir().join("logs").join(format!("{region}-{part}-restarted.log")))?;
        let (program, args) = args.split_first().context("a command line is not empty")?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.process_group(0).spawn()?;
        self.ready["regions"][region][part]["pid"] = child.id().into();
        self.restarted.push(child);
        Ok(())
    }

    /// `kill -9` of everything there.
    pub fn lose(&self, region: &str) -> anyhow::Result<()> {
        for part in PARTS {
            self.signal(region, part, Signal::SIGKILL)?;
        }
        Ok(())
    }

    /// The address that a sample service of this region is served at.
    pub fn address(&self, region: &str) -> String {
        let http = self.part(region, "service")["http"].as_str().expect("up tells where services listen");
        http.split(':').next().unwrap_or_default().to_owned()
    }

    /// What the sample services serve, by a name that leads to one of them.
    pub fn page_by_name(&self, name: &str) -> String {
        let first = self.ready["regions"].as_object().and_then(|regions| regions.keys().next());
        let http = first.and_then(|region| self.part(region, "service")["http"].as_str());
        let port = http.and_then(|http| http.rsplit(':').next()).expect("up tells where services listen");
        format!("http://{name}:{port}/")
    }

    pub fn grpc(&self, region: &str) -> String {
        self.part(region, "controller")["grpc"]
            .as_str()
            .expect("up tells where controllers listen")
            .to_owned()
    }

    pub fn http(&self, region: &str) -> String {
        self.part(region, "controller")["http"]
            .as_str()
            .expect("up tells where controllers listen")
            .to_owned()
    }

    /// What `dig` is answered in a region; empty when it is not.
    pub fn dig(&self, region: &str) -> anyhow::Result<String> {
        let server = self.part(region, "dns")["udp"].as_str().context("up tells where DNS listens")?;
        self.dig_at(server)
    }

    /// The same, of any server at `host:port`.
    pub fn dig_at(&self, server: &str) -> anyhow::Result<String> {
        let (host, port) = server.rsplit_once(':').context("host:port")?;
        let output = Command::new("dig")
            .args([&format!("@{host}"), "-p", port, self.record(), "+short", "+tries=1", "+time=1"])
            .output()
            .context("dig")?;
        // A server that is away makes dig say so on the same stream.
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(if output.status.success() && !said.starts_with(';') { said } else { String::new() })
    }

    /// A verb that must succeed.
    pub fn done(&self, args: &[&str]) -> anyhow::Result<Output> {
        let output = self.failover(args)?;
        ensure!(output.status.success(), "failover {args:?}: {}", text(&output));
        Ok(output)
    }

    pub fn failover(&self, args: &[&str]) -> anyhow::Result<Output> {
        let context = self.data_dir().join("context.json");
        Ok(Command::new(program("failover")?).arg("--context").arg(context).args(args).output()?)
    }

    /// A document of a verb that must succeed.
    pub fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let output = self.done(&[args, &["-o", "json"]].concat())?;
        serde_json::from_slice(&output.stdout).with_context(|| text(&output))
    }

    pub fn status(&self) -> anyhow::Result<Value> {
        self.json(&["status"])
    }

    /// All journal entries after `seq`.
    pub fn journal(&self, after: u64) -> anyhow::Result<Vec<Value>> {
        let page = self.json(&["journal", "--after", &after.max(1).to_string(), "-n", "1000"])?;
        Ok(page["entries"].as_array().cloned().unwrap_or_default())
    }

    pub fn leader_region(&self) -> anyhow::Result<String> {
        let status = self.status()?;
        let leader = status["leader"].as_u64().context("no leader")?;
        let members = status["members"].as_array().context("no members")?;
        let member =
            members.iter().find(|member| member["id"] == leader).context("the leader is no member")?;
        Ok(member["region"].as_str().unwrap_or_default().to_owned())
    }

    /// Hands leadership over until it is in this region.
    pub fn lead_from(&self, region: &str) -> anyhow::Result<()> {
        eventually(&format!("a leader in {region}"), || {
            if self.leader_region()? == region {
                return Ok(true);
            }
            self.failover(&["members", "hand-over"])?;
            Ok(false)
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_logs();
        }
        // First those that `down` knows nothing of: an agent would start its database again.
        for child in &mut self.restarted {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.down();
    }
}

impl Cluster {
    fn tell_logs(&self) {
        for asked in [&["status"][..], &["journal", "-n", "15"]] {
            let told = self.failover(asked).map_or_else(|error| format!("{error:#}"), |output| text(&output));
            eprintln!("== failover {}\n{told}", asked.join(" "));
        }
        let Ok(logs) = std::fs::read_dir(self.data_dir().join("logs")) else { return };
        for log in logs.flatten() {
            let text = std::fs::read_to_string(log.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!(
                "== {}\n{}",
                log.file_name().display(),
                lines[lines.len().saturating_sub(25)..].join("\n")
            );
        }
    }
}

/// Waits until `holds`; an error counts as not yet. Panics when it never comes, so that the cluster under
/// test tells what it logged.
pub fn eventually(what: &str, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < DEADLINE {
        match holds() {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => last = Some(error),
        }
        std::thread::sleep(LOOK_EVERY);
    }
    panic!("never came: {what}{}", last.map_or(String::new(), |error| format!(" ({error:#})")))
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_owned()
}

/// A program of this workspace, built beside this test.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // target/debug/deps/this
    let folder = own.parent().and_then(Path::parent).context("a test lies in target/…/deps")?;
    let path = folder.join(name);
    ensure!(path.exists(), "{} is not built: `cargo build --workspace --bins` first", path.display());
    Ok(path)
}
