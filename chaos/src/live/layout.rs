//! Who runs where. Every region has an address of its own, so that ports are the same in all.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::options::REGIONS;
use crate::net::{Error, Net};

pub(super) const GRPC_PORT: u16 = 7400;
pub(super) const HTTP_PORT: u16 = 7401;
pub(super) const DNS_PORT: u16 = 7408;
/// Where an agent tells how it is.
pub(super) const AGENT_HTTP_PORT: u16 = 7402;
/// Where agents ask each other for promises.
pub(super) const PEER_PORT: u16 = 7409;
pub(super) const SERVICE_PORT: u16 = 7419;
pub(super) const POSTGRES_PORT: u16 = 5432;
pub(super) const WRITE_PORT: u16 = 6432;
pub(super) const READ_PORT: u16 = 6433;

pub(super) struct Layout {
    pub regions: Vec<RegionLayout>,
    pub folder: PathBuf,
    pub password_file: PathBuf,
}

pub(super) struct RegionLayout {
    pub name: &'static str,
    pub member: u64,
    pub address: Ipv4Addr,
    /// Holds the folders of controller and agent.
    pub folder: PathBuf,
    pub postgres: PathBuf,
}

impl Layout {
    pub fn new(net: &Net, folder: &Path) -> Result<Layout, Error> {
        let region = |(member, name): (u64, &'static str)| {
            Ok(RegionLayout {
                name,
                member,
                address: net.address(name)?,
                folder: folder.join(name),
                postgres: folder.join("postgres").join(name).join("data"),
            })
        };
        let regions = (1..).zip(REGIONS).map(region).collect::<Result<_, Error>>()?;
        Ok(Layout { regions, folder: folder.to_owned(), password_file: folder.join("replication.password") })
    }

    /// What processes are told at which points to end.
    pub fn failpoints(&self) -> PathBuf {
        self.folder.join("failpoints")
    }

    /// By how much the wall clock of each part is off.
    pub fn clocks(&self) -> PathBuf {
        self.folder.join("clocks")
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }
}

impl RegionLayout {
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    /// PostgreSQL's private socket: where the agent puts it.
    pub fn socket_dir(&self) -> PathBuf {
        self.postgres.with_file_name("data-socket")
    }

    /// Of the disk that its database has for itself.
    pub fn disk_image(&self) -> PathBuf {
        self.folder.with_extension("disk")
    }

    pub fn guard_socket(&self) -> PathBuf {
        self.folder.join("agent").join("databases").join("app").join("guard.sock")
    }
}
