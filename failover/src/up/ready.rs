//! The ready file: who runs where, for scripts.

use std::collections::BTreeMap;

use decision::config::Config;
use serde::Serialize;

use super::databases;
use super::layout::{Layout, RegionLayout};
use super::processes::Process;

#[derive(Serialize)]
pub struct Ready {
    /// The first name of the first service.
    record: Option<String>,
    primary: Option<String>,
    regions: BTreeMap<String, Region>,
}

#[derive(Serialize)]
struct Region {
    controller: Option<Controller>,
    agent: Option<Agent>,
    service: Option<Service>,
    dns: Option<Dns>,
    postgres: Option<Postgres>,
    data_dir: String,
}

#[derive(Serialize)]
struct Controller {
    pid: i32,
    grpc: String,
    http: String,
}

#[derive(Serialize)]
struct Agent {
    pid: i32,
}

#[derive(Serialize)]
struct Service {
    pid: i32,
    http: String,
}

/// The instance of the first database.
#[derive(Serialize)]
struct Postgres {
    pid: i32,
    port: u16,
    dsn: Option<String>,
}

#[derive(Serialize)]
struct Dns {
    udp: String,
    tcp: String,
}

pub fn ready(config: &Config, layout: &Layout, processes: &[Process], primary: Option<String>) -> Ready {
    let record = config
        .services
        .values()
        .flat_map(|service| &service.dns)
        .map(|record| record.name.to_string())
        .next();
    let regions = layout
        .regions
        .iter()
        .map(|region| (region.name.to_string(), of_region(config, region, processes)))
        .collect();
    Ready { record, primary, regions }
}

fn of_region(config: &Config, region: &RegionLayout, processes: &[Process]) -> Region {
    let pid = |name: String| processes.iter().find(|process| process.name == name).map(|process| process.pid);
    let name = &region.name;
    let controller = region.controllers.first().and_then(|controller| {
        Some(Controller {
            pid: pid(controller_name(name.as_str(), controller.member))?,
            grpc: controller.grpc.to_string(),
            http: controller.http.to_string(),
        })
    });
    let first = region.agents.first();
    let agent =
        first.and_then(|agent| Some(Agent { pid: pid(agent_name(name.as_str(), agent.id.ordinal))? }));
    let dns = first.map(|agent| Dns { udp: agent.dns.to_string(), tcp: agent.dns.to_string() });
    let service = region
        .service
        .and_then(|http| Some(Service { pid: pid(service_name(name.as_str()))?, http: http.to_string() }));
    let postgres = databases::find(config, name).map(|found| Postgres {
        pid: found.pid,
        port: found.port,
        dsn: found.dsn,
    });
    Region { controller, agent, service, dns, postgres, data_dir: region.data_dir.display().to_string() }
}

pub fn controller_name(region: &str, member: u64) -> String {
    format!("{region} controller {member}")
}

pub fn agent_name(region: &str, ordinal: u16) -> String {
    format!("{region} agent {ordinal}")
}

pub fn service_name(region: &str) -> String {
    format!("{region} service")
}
