//! A whole cluster in three regions, with a client in a place of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use wire::failpoint;

use super::folder::Folder;
use super::layout::{DNS_PORT, GRPC_PORT, HTTP_PORT, Layout, PEER_PORT, RegionLayout, SERVICE_PORT};
use super::options::{CLIENT, Options, REGIONS};
use super::part::Part;
use super::place::Place;
use super::prepare::{CLUSTER, Prepared, prepare};
use super::programs::Programs;
use super::regions_yml;
use super::supervisor::RESTARTS_AFTER;
use crate::net::Net;

/// Past it, what still runs is killed.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Ended and removed when dropped, databases first.
pub struct Cluster {
    pub options: Options,
    /// Runtimes whose sockets are in a region, or in the client's place.
    places: BTreeMap<&'static str, Place>,
    pub(super) outside: Place,
    parts: BTreeMap<&'static str, Mutex<Parts>>,
    pub(super) net: Net,
    pub(super) layout: Layout,
    pub(super) programs: Programs,
    pub(super) context: PathBuf,
    folder: Folder,
    /// What was killed while it began.
    pub(super) fallen: Vec<String>,
}

pub(super) struct Parts {
    pub service: Part,
    pub controller: Part,
    pub agent: Part,
}

impl Cluster {
    /// Returns once the primary takes writes and both replicas stream.
    pub fn start(options: Options) -> anyhow::Result<Cluster> {
        let programs = Programs::find()?;
        let places: Vec<&str> = REGIONS.into_iter().chain([CLIENT]).collect();
        let net = Net::new("live", &places)?;
        let folder = Folder::make()?;
        let layout = Layout::new(&net, folder.path())?;
        let prepared = prepare(&layout)?;
        Cluster::prepare_failpoints(&layout)?;
        let mut parts = BTreeMap::new();
        for (n, region) in layout.regions.iter().enumerate() {
            parts.insert(region.name, Mutex::new(of_region(&options, &programs, &layout, &prepared, n)));
        }
        let mut runtimes = BTreeMap::new();
        for place in places {
            runtimes.insert(place, Place::inside(&net, place)?);
        }
        let outside = Place::outside()?;
        let context = prepared.context;
        let fallen = Vec::new();
        let mut cluster = Cluster {
            options,
            places: runtimes,
            outside,
            parts,
            net,
            layout,
            programs,
            context,
            folder,
            fallen,
        };
        // The distance comes last: what is only set up needs none.
        cluster.mend_links()?;
        if let Some(point) = &cluster.options.failpoint {
            cluster.set_failpoint(point)?;
        }
        for region in REGIONS {
            cluster.restart(region)?;
        }
        ((), cluster.fallen) = cluster.supervised(RESTARTS_AFTER, || {
            cluster.configure()?;
            cluster.first_health()
        })?;
        Ok(cluster)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves data and logs for a person to look into.
    pub fn keep_folder(&mut self) {
        self.folder.keep();
    }

    pub(super) fn place(&self, name: &str) -> anyhow::Result<&Place> {
        self.places.get(name).with_context(|| format!("there is no place {name}"))
    }

    pub(super) fn parts(&self, region: &str) -> anyhow::Result<MutexGuard<'_, Parts>> {
        let parts = self.parts.get(region).with_context(|| format!("there is no region {region}"))?;
        Ok(parts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn layout(&self, region: &str) -> anyhow::Result<&RegionLayout> {
        let found = self.layout.regions.iter().find(|known| known.name == region);
        found.with_context(|| format!("there is no region {region}"))
    }

    fn configure(&self) -> anyhow::Result<()> {
        let file = self.folder().join("regions.yml");
        std::fs::write(&file, regions_yml::text(&self.options, &self.layout))?;
        let file = file.display().to_string();
        self.eventually("configuration in force", Duration::from_secs(60), || {
            self.failover(&["config", "apply", &file, "--yes"]).map(|_| Some(()))
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Agents would start databases again.
        for parts in self.parts.values_mut() {
            let parts = parts.get_mut().unwrap_or_else(PoisonError::into_inner);
            for part in [&mut parts.agent, &mut parts.controller, &mut parts.service] {
                if let Err(error) = part.kill() {
                    eprintln!("{}: {error:#}", part.name);
                }
            }
        }
        let ends: Vec<Child> = self.layout.regions.iter().filter_map(|region| self.end(region)).collect();
        let began = Instant::now();
        for mut child in ends {
            while matches!(child.try_wait(), Ok(None)) && began.elapsed() < END_WITHIN {
                std::thread::sleep(Duration::from_millis(5));
            }
            // What it could not end is killed with the network.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Cluster {
    /// In order, so that no shared memory is left behind.
    fn end(&self, region: &RegionLayout) -> Option<Child> {
        let socket = region.guard_socket();
        let mut command = Command::new(&self.programs.guard);
        command.arg("end").arg("--socket").arg(&socket);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        socket.exists().then(|| command.spawn().ok())?
    }
}

fn of_region(
    options: &Options,
    programs: &Programs,
    layout: &Layout,
    prepared: &Prepared,
    n: usize,
) -> Parts {
    let region = &layout.regions[n];
    let name = region.name;
    let mut env = vec![(failpoint::FOLDER, layout.failpoints().into_os_string())];
    env.extend(options.log.as_ref().map(|filter| ("REGENT_LOG", filter.into())));
    let part = |kind: &str, program: &Path, args: Vec<String>| {
        let title = format!("{name}-{kind}");
        let log = layout.log(&title);
        Part::new(title, name, program, args, log, env.clone())
    };
    let members: Vec<String> = layout
        .regions
        .iter()
        .map(|region| format!("{}={}={}", region.member, region.name, region.at(GRPC_PORT)))
        .collect();
    let own_first = std::iter::once(region).chain(layout.regions.iter().filter(|other| other.name != name));
    let controllers: Vec<String> = own_first.map(|region| region.at(GRPC_PORT).to_string()).collect();
    let certificate = |files: &wire::tls::Files| {
        let path = |path: &Path| path.display().to_string();
        args(["--cert", &path(&files.certificate), "--key", &path(&files.key), "--ca", &path(&files.ca)])
    };
    let folder = |kind: &str| region.folder.join(kind).display().to_string();
    let service =
        args(["sample-service", "--listen", &region.at(SERVICE_PORT).to_string(), "--region", name]);
    let mut controller = args([
        "--data-dir",
        &folder("controller"),
        "--grpc-listen",
        &region.at(GRPC_PORT).to_string(),
        "--http-listen",
        &region.at(HTTP_PORT).to_string(),
        "--profile",
        &options.profile.to_string(),
        "--initial-member",
        &members.join(","),
    ]);
    controller.extend(certificate(&prepared.controllers[n]));
    let mut agent = args([
        "--agent",
        &format!("{name}/1"),
        "--cluster",
        CLUSTER,
        "--controllers",
        &controllers.join(","),
        "--data-dir",
        &folder("agent"),
        "--dns-listen",
        &region.at(DNS_PORT).to_string(),
        "--peer-listen",
        &region.at(PEER_PORT).to_string(),
        "--watchdog",
        "off",
    ]);
    agent.extend(certificate(&prepared.agents[n]));
    Parts {
        service: part("service", &programs.failover, service),
        controller: part("controller", &programs.control_plane, controller),
        agent: part("agent", &programs.region_agent, agent),
    }
}

fn args<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.map(str::to_owned).to_vec()
}
