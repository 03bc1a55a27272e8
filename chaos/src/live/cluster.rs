//! A whole cluster in three regions, with a client in a place of its own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use wire::failpoint;

use super::faults::Kind;
use super::folder::Folder;
use super::layout::{
    AGENT_HTTP_PORT, DNS_PORT, GRPC_PORT, HTTP_PORT, Layout, PEER_PORT, RegionLayout, SERVICE_PORT,
};
use super::options::{CLIENT, Options, PROVIDER, REGIONS};
use super::part::Part;
use super::place::Place;
use super::prepare::{CLUSTER, Prepared, prepare};
use super::programs::Programs;
use super::provider;
use super::regions_yml;
use super::small_disk::{self, SmallDisk};
use super::supervisor::RESTARTS_AFTER;
use super::wall_clock::WallClock;
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
    /// Of DNS, if there is one.
    provider: Option<Mutex<Part>>,
    pub(super) net: Net,
    pub(super) layout: Layout,
    pub(super) programs: Programs,
    pub(super) context: PathBuf,
    /// If they can be set.
    pub(super) clocks: Option<WallClock>,
    /// After the network, with which all who write there end.
    pub(super) disks: BTreeMap<&'static str, SmallDisk>,
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
        if options.for_faults {
            small_disk::sweep()?;
        }
        let places: Vec<&str> = REGIONS.into_iter().chain([CLIENT]).collect();
        let others = options.with_provider.then_some(PROVIDER);
        let net = Net::new("live", &places.iter().copied().chain(others).collect::<Vec<_>>())?;
        let folder = Folder::make()?;
        let layout = Layout::new(&net, folder.path())?;
        let prepared = prepare(&layout, options.for_faults)?;
        let clocks = match options.for_faults {
            true => WallClock::find(layout.clocks())?,
            false => None,
        };
        Cluster::prepare_failpoints(&layout)?;
        let address = others.map(|place| net.address(place)).transpose()?;
        let provider = address.map(|address| provider::prepare(&layout, address)).transpose()?;
        let mut parts = BTreeMap::new();
        for (n, region) in layout.regions.iter().enumerate() {
            let of_region = of_region(&options, &programs, &layout, &prepared, clocks.as_ref(), n)?;
            parts.insert(region.name, Mutex::new(of_region));
        }
        let mut runtimes = BTreeMap::new();
        for place in places {
            runtimes.insert(place, Place::inside(&net, place)?);
        }
        let outside = Place::outside()?;
        let (context, disks) = (prepared.context, prepared.disks);
        let fallen = Vec::new();
        let mut cluster = Cluster {
            options,
            places: runtimes,
            outside,
            parts,
            provider: provider.map(Mutex::new),
            net,
            layout,
            programs,
            context,
            clocks,
            disks,
            folder,
            fallen,
        };
        // The distance comes last: what is only set up needs none.
        cluster.mend_links()?;
        if let Some(point) = &cluster.options.failpoint {
            cluster.set_failpoint(point)?;
        }
        if cluster.provider.is_some() {
            cluster.mend_provider()?;
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

    pub(super) fn provider(&self) -> anyhow::Result<MutexGuard<'_, Part>> {
        let provider = self.provider.as_ref().context("the cluster was started without a DNS provider")?;
        Ok(provider.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn layout(&self, region: &str) -> anyhow::Result<&RegionLayout> {
        let found = self.layout.regions.iter().find(|known| known.name == region);
        found.with_context(|| format!("there is no region {region}"))
    }

    pub(super) fn provider_address(&self) -> anyhow::Result<Option<Ipv4Addr>> {
        Ok(self.provider.as_ref().map(|_| self.net.address(PROVIDER)).transpose()?)
    }

    fn configure(&self) -> anyhow::Result<()> {
        let file = self.folder().join("regions.yml");
        std::fs::write(&file, regions_yml::text(&self.options, &self.layout, self.provider_address()?))?;
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
    clocks: Option<&WallClock>,
    n: usize,
) -> anyhow::Result<Parts> {
    let region = &layout.regions[n];
    let name = region.name;
    let mut env = vec![(failpoint::FOLDER, layout.failpoints().into_os_string())];
    env.extend(options.log.as_ref().map(|filter| ("REGENT_LOG", filter.into())));
    let part = |kind: Kind, program: &Path, args: Vec<String>| -> anyhow::Result<Part> {
        let title = part_name(name, kind);
        let log = layout.log(&title);
        let clock = clocks.map(|clocks| clocks.env(&title)).transpose()?;
        let env = env.iter().cloned().chain(clock.into_iter().flatten()).collect();
        Ok(Part::new(title, name, program, args, log, env))
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
        "--http-listen",
        &region.at(AGENT_HTTP_PORT).to_string(),
        "--peer-listen",
        &region.at(PEER_PORT).to_string(),
        "--watchdog",
        "off",
    ]);
    agent.extend(certificate(&prepared.agents[n]));
    let title = format!("{name}-service");
    let log = layout.log(&title);
    Ok(Parts {
        service: Part::new(title, name, &programs.failover, service, log, env.clone()),
        controller: part(Kind::Controller, &programs.control_plane, controller)?,
        agent: part(Kind::Agent, &programs.region_agent, agent)?,
    })
}

pub(super) fn part_name(region: &str, kind: Kind) -> String {
    match kind {
        Kind::Controller => format!("{region}-controller"),
        Kind::Agent => format!("{region}-agent"),
    }
}

fn args<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.map(str::to_owned).to_vec()
}
