//! Regions as network namespaces of this machine, joined by a switch that delays, loses, duplicates,
//! reorders and cuts for each ordered pair. (`tc netem` does this too, where the kernel has it.)
//!
//! Needs root and iproute2. What a region's programs send to another region passes the switch, a process
//! of its own; they reach nothing else. Frames are IP packets: there is no ARP, so that a region that is cut
//! off is silent, as beyond routers, and not "unreachable", as on a cable.

mod error;
mod line;
mod link;
mod order;
mod port;
mod remote;
mod space;
mod switch;
mod tcp;

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::unistd::geteuid;

pub use error::Error;
pub use link::{Count, InFlight, Link, Traffic};
pub use remote::SUBCOMMAND;
pub use switch::run as run_switch;

use order::{Answer, Order};
use port::MOST_REGIONS;
use remote::Remote;
use space::Space;

/// A network of regions; removed, with all that runs in them, when dropped or when this process ends.
pub struct Net {
    regions: Vec<String>,
    spaces: Vec<Space>,
    switch: Mutex<Switch>,
}

struct Switch {
    /// Of every ordered pair, row by row.
    links: Vec<Link>,
    remote: Remote,
}

impl Net {
    /// Regions that reach each other at once and without fault.
    pub fn new(name: &str, regions: &[&str]) -> Result<Net, Error> {
        Net::seeded(name, regions, 1)
    }

    /// For one seed, the same frames of a pair have the same luck.
    pub fn seeded(name: &str, regions: &[&str], seed: u64) -> Result<Net, Error> {
        let plain = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let once = |(n, region): (usize, &&str)| !regions[..n].contains(region);
        let fits = (2..=MOST_REGIONS).contains(&regions.len())
            && plain(name)
            && regions.iter().all(|region| plain(region))
            && regions.iter().enumerate().all(once);
        let names: Vec<String> = regions.iter().map(|region| (*region).to_owned()).collect();
        if !fits {
            return Err(Error::Regions { most: MOST_REGIONS, given: names });
        }
        if !geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        let spaces = Space::names(name, regions)?;
        let remote = Remote::start(spaces.clone(), seed)?;
        let links = vec![Link::default(); regions.len() * regions.len()];
        Ok(Net { regions: names, spaces, switch: Mutex::new(Switch { links, remote }) })
    }

    pub fn regions(&self) -> &[String] {
        &self.regions
    }

    pub fn address(&self, region: &str) -> Result<Ipv4Addr, Error> {
        self.place(region).map(port::address)
    }

    /// As `ip netns` knows it.
    pub fn namespace(&self, region: &str) -> Result<&str, Error> {
        Ok(self.spaces[self.place(region)?].name())
    }

    /// A program inside a region; arguments can be added. Once started, the process id is the program's.
    pub fn command(&self, region: &str, program: impl AsRef<OsStr>) -> Result<Command, Error> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace(region)?]).arg(program);
        Ok(command)
    }

    /// Runs `f` inside a region, on a thread of its own, and waits for it. Sockets it makes stay in the
    /// region, wherever they are used later. Threads it starts are inside for as long as they live: a tokio
    /// runtime with workers of its own, built here, makes all its sockets in the region.
    pub fn enter<T: Send>(&self, region: &str, f: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.spaces[self.place(region)?].enter(f)
    }

    pub fn link(&self, from: &str, to: &str) -> Result<Link, Error> {
        let pair = self.pair(from, to)?;
        Ok(self.switch().links[pair])
    }

    /// Sets one way, its cut too. As with all changes, it holds when this returns.
    pub fn set(&self, from: &str, to: &str, link: Link) -> Result<(), Error> {
        let pair = self.pair(from, to)?;
        self.change_at(|n, own| {
            if n == pair {
                *own = link;
            }
        })
    }

    /// Changes any links, all at one moment.
    pub fn change(&self, mut f: impl FnMut(&str, &str, &mut Link)) -> Result<(), Error> {
        let regions = self.regions.len();
        self.change_at(|pair, link| f(&self.regions[pair / regions], &self.regions[pair % regions], link))
    }

    /// One way only.
    pub fn cut(&self, from: &str, to: &str) -> Result<(), Error> {
        let pair = self.pair(from, to)?;
        self.change_at(|n, link| link.cut |= n == pair)
    }

    /// Cuts a region off from all others, both ways.
    pub fn isolate(&self, region: &str) -> Result<(), Error> {
        let (place, regions) = (self.place(region)?, self.regions.len());
        self.change_at(|pair, link| link.cut |= pair / regions == place || pair % regions == place)
    }

    /// Ends all cuts. Delays, loss and the rest stay.
    pub fn heal(&self) -> Result<(), Error> {
        self.change_at(|_, link| link.cut = false)
    }

    pub fn count(&self, from: &str, to: &str) -> Result<Count, Error> {
        self.pair(from, to)?;
        let (from, to) = (self.place(from)?, self.place(to)?);
        match self.switch().remote.ask(&Order::Count { from, to })? {
            Answer::Count(count) => Ok(count),
            other => Err(Error::Switch(format!("answered {other:?} when asked for a count"))),
        }
    }

    /// The process that all frames pass, to see what it costs.
    pub fn switch_pid(&self) -> u32 {
        self.switch().remote.pid()
    }

    fn change_at(&self, mut f: impl FnMut(usize, &mut Link)) -> Result<(), Error> {
        let mut switch = self.switch();
        let mut links = switch.links.clone();
        let regions = self.regions.len();
        for (pair, link) in links.iter_mut().enumerate().filter(|(pair, _)| pair / regions != pair % regions)
        {
            f(pair, link);
            link.check()?;
        }
        let changed = links.iter().zip(&switch.links).enumerate().filter(|(_, (new, old))| new != old);
        let changed = changed.map(|(pair, (link, _))| (pair / regions, pair % regions, *link)).collect();
        switch.remote.ask(&Order::Set(changed))?;
        switch.links = links;
        Ok(())
    }

    fn place(&self, region: &str) -> Result<usize, Error> {
        let found = self.regions.iter().position(|known| known == region);
        found.ok_or_else(|| Error::NoSuchRegion { asked: region.to_owned(), known: self.regions.clone() })
    }

    fn pair(&self, from: &str, to: &str) -> Result<usize, Error> {
        match (self.place(from)?, self.place(to)?) {
            (from_place, to_place) if from_place == to_place => Err(Error::SameRegion(from.to_owned())),
            (from, to) => Ok(from * self.regions.len() + to),
        }
    }

    /// A test that panicked elsewhere changes nothing here: links are replaced whole.
    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes namespaces, and ends what runs in them, of networks whose owner is dead and whose switch did not
/// live to do it. Gives their names.
pub fn sweep() -> Result<Vec<String>, Error> {
    space::sweep()
}
