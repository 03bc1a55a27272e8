//! Who runs where: ports and folders, the same at every start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use decision::config::Config;
use decision::name::{AgentId, RegionName, ServiceName};

use crate::cli::exit::Failure;

/// Ports a region takes: up to four controllers with two each, then up to four agents with two.
const PORTS_A_REGION: u16 = 20;
const AGENTS_FROM: u16 = 8;
const MOST_OF_A_KIND: u16 = 4;
/// From the base port to the port of the sample services, which differ by address.
const SERVICE_PORT: u16 = 19;

pub struct Layout {
    pub regions: Vec<RegionLayout>,
    /// The first port after those of the regions: the instances of databases have theirs from here.
    database_ports: u16,
    /// Holds the folders of all instances of databases.
    pub databases: PathBuf,
    /// Passwords, for the agents alone.
    pub secrets: PathBuf,
}

/// Where an instance of a database runs.
pub struct InstanceLayout {
    pub port: u16,
    pub write_endpoint: SocketAddr,
    pub read_endpoint: SocketAddr,
    pub data_dir: PathBuf,
}

const PORTS_AN_INSTANCE: u16 = 3;

pub struct RegionLayout {
    pub name: RegionName,
    pub witness: bool,
    pub controllers: Vec<ControllerLayout>,
    pub agents: Vec<AgentLayout>,
    /// Where its sample service listens; a witness has none.
    pub service: Option<SocketAddr>,
    /// Holds the folders of all that runs in it.
    pub data_dir: PathBuf,
}

pub struct ControllerLayout {
    pub member: u64,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub data_dir: PathBuf,
}

pub struct AgentLayout {
    pub id: AgentId,
    pub dns: SocketAddr,
    /// Where other agents reach it.
    pub peer: SocketAddr,
    pub data_dir: PathBuf,
}

impl Layout {
    /// `data_dir` must be absolute.
    pub fn new(config: &Config, data_dir: &std::path::Path, base_port: u16) -> Result<Layout, Failure> {
        let databases = config.services.values().filter(|service| service.database.is_some()).count() as u16;
        let of_regions = PORTS_A_REGION * config.regions.len() as u16;
        let needed = of_regions + databases * PORTS_AN_INSTANCE * config.regions.len() as u16;
        if base_port.checked_add(needed).is_none() || config.regions.len() > 20 {
            return Err(Failure::error(format!(
                "--base-port {base_port}: {} regions need {needed} ports from there, and ports end at 65535",
                config.regions.len()
            )));
        }
        let mut member = 0;
        let mut regions = Vec::new();
        for (n, region) in (0_u16..).zip(&config.regions) {
            if region.controllers > MOST_OF_A_KIND || region.agents > MOST_OF_A_KIND {
                return Err(Failure::error(format!(
                    "{}: on one machine a region runs at most {MOST_OF_A_KIND} controllers and as many agents",
                    region.name
                )));
            }
            let port = |offset: u16| loopback(base_port + n * PORTS_A_REGION + offset);
            let folder = data_dir.join(region.name.as_str());
            let controllers = (0..region.controllers)
                .map(|k| {
                    member += 1;
                    ControllerLayout {
                        member,
                        grpc: port(2 * k),
                        http: port(2 * k + 1),
                        data_dir: folder.join(format!("controller-{member}")),
                    }
                })
                .collect();
            let agents = (0..region.agents)
                .map(|k| AgentLayout {
                    id: AgentId::new(region.name.clone(), k + 1),
                    dns: port(AGENTS_FROM + 2 * k),
                    peer: port(AGENTS_FROM + 2 * k + 1),
                    data_dir: folder.join(format!("agent-{}", k + 1)),
                })
                .collect();
            let address = Ipv4Addr::new(127, 0, 1, n as u8 + 1);
            let service =
                (!region.witness).then(|| SocketAddr::new(IpAddr::V4(address), base_port + SERVICE_PORT));
            regions.push(RegionLayout {
                name: region.name.clone(),
                witness: region.witness,
                controllers,
                agents,
                service,
                data_dir: folder,
            });
        }
        let databases = super::databases::folder(config, data_dir);
        Ok(Layout {
            regions,
            database_ports: base_port + of_regions,
            databases,
            secrets: data_dir.join("secrets"),
        })
    }

    /// The instance in a region of the `n`th database.
    pub fn instance(&self, n: u16, service: &ServiceName, region: &RegionName) -> Option<InstanceLayout> {
        let place = self.regions.iter().position(|place| place.name == *region)? as u16;
        let port = self.database_ports + (n * self.regions.len() as u16 + place) * PORTS_AN_INSTANCE;
        Some(InstanceLayout {
            port,
            write_endpoint: loopback(port + 1),
            read_endpoint: loopback(port + 2),
            data_dir: self.databases.join(region.as_str()).join(service.as_str()),
        })
    }

    pub fn controllers(&self) -> impl Iterator<Item = (&RegionLayout, &ControllerLayout)> {
        self.regions.iter().flat_map(|region| region.controllers.iter().map(move |one| (region, one)))
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
