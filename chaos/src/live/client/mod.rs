//! All that writes while faults happen: a client in its own place, one inside the primary's region, an observer
//! beside every server. And readers of what is written, and resolvers.

mod lane;
mod reader;
mod resolver;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{Config, Error};

use super::cluster::Cluster;
use super::layout::{DNS_PORT, POSTGRES_PORT, READ_PORT, WRITE_PORT};
use super::options::{CLIENT, Mode, PROVIDER, Profile, REGIONS};
use super::place::Place;
use super::provider;
use super::record::{Attempt, Book, Way, Who};
use super::sql;
use lane::{Lane, Pace};
use reader::Reader;
use resolver::Resolver;

/// In the zone that agents serve themselves.
const OWN_NAME: &str = "app.regent.test.";
/// Between two inserts of one client.
const EVERY: Duration = Duration::from_millis(10);

/// The way to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// Connections to all three servers, kept open, each tried all the time.
    Direct,
    /// The agent of a region relays.
    Relay(&'static str),
}

impl Through {
    pub fn relay(region: &str) -> anyhow::Result<Through> {
        let found = REGIONS.into_iter().find(|known| *known == region);
        found.map(Through::Relay).with_context(|| format!("there is no region {region}"))
    }
}

/// Runs until it is finished or dropped.
pub struct Load {
    pub(super) book: Arc<Book>,
    lanes: Vec<JoinHandle<()>>,
}

/// Ends the connection with it.
struct Driven(JoinHandle<Result<(), Error>>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A server as one client reaches it.
struct Target {
    who: Who,
    to: &'static str,
    config: Config,
    lanes: u32,
    pace: Pace,
}

impl Cluster {
    /// Ids go on from run to run: `first_id` is above all before.
    pub fn load(&self, primary: &'static str, through: Through, first_id: i64) -> anyhow::Result<Load> {
        let mut load = Load { book: Arc::new(Book::new(first_id)), lanes: Vec::new() };
        let within = match self.options.profile {
            Profile::Fast => Duration::from_millis(250),
            Profile::Balanced => Duration::from_millis(500),
        };
        // A commit is under way for a round trip to the server, and another to a replica where it waits for one.
        let lanes = match self.options.mode {
            Mode::Async => 6,
            Mode::Sync => 12,
        };
        let pace = |lanes: u32| Pace {
            every: EVERY * lanes,
            statement_within: within,
            connect_within: Duration::from_millis(200),
        };
        let (port, targets) = match &through {
            Through::Direct => (POSTGRES_PORT, REGIONS.to_vec()),
            Through::Relay(region) => (WRITE_PORT, vec![*region]),
        };
        for to in targets {
            let config = self.by_network(to, port)?;
            let target = Target { who: Who::Client, to, config, lanes, pace: pace(lanes) };
            load.add(self.place(CLIENT)?, target);
        }
        let config = self.by_network(primary, POSTGRES_PORT)?;
        let target = Target { who: Who::Inside, to: primary, config, lanes: 1, pace: pace(1) };
        load.add(self.place(primary)?, target);
        for to in REGIONS {
            let config = sql::local(self.layout(to)?.socket_dir());
            let target = Target { who: Who::Observer, to, config, lanes: 1, pace: pace(1) };
            load.add(&self.outside, target);
        }
        Ok(load)
    }

    /// Somebody asks every region's name server all the time.
    pub fn add_resolvers(&self, load: &mut Load) -> anyhow::Result<()> {
        let regions: Vec<_> =
            self.layout.regions.iter().map(|region| (region.address, region.name)).collect();
        let own = self.layout.regions.iter().map(|region| (region.name, region.at(DNS_PORT), OWN_NAME));
        let provider =
            self.provider_address()?.map(|at| (PROVIDER, (at, provider::PORT).into(), provider::NAME));
        for (to, server, name) in own.chain(provider) {
            let resolver =
                Resolver { to, server, name, regions: regions.clone(), book: Arc::clone(&load.book) };
            load.lanes.push(self.place(CLIENT)?.handle().spawn(resolver.run()));
        }
        Ok(())
    }

    /// Somebody reads through every relay what was acknowledged.
    pub fn add_readers(&self, load: &mut Load) -> anyhow::Result<()> {
        for to in REGIONS {
            for way in Way::ALL {
                let port = if way == Way::Primary { WRITE_PORT } else { READ_PORT };
                let config = self.by_network(to, port)?;
                let reader = Reader { way, to, config, book: Arc::clone(&load.book) };
                load.lanes.push(self.place(CLIENT)?.handle().spawn(reader.run()));
            }
        }
        Ok(())
    }

    fn by_network(&self, region: &str, port: u16) -> anyhow::Result<Config> {
        let mut config = Config::new();
        config.host(self.layout(region)?.address.to_string()).port(port).user("app").dbname("postgres");
        config.application_name("live client");
        Ok(config)
    }
}

impl Load {
    fn add(&mut self, place: &Place, target: Target) {
        let (writable, _) = watch::channel(false);
        let writable = Arc::new(writable);
        for n in 0..target.lanes {
            let lane = Lane {
                who: target.who,
                to: target.to,
                config: target.config.clone(),
                pace: target.pace,
                offset: EVERY * n,
                // Half of them are enough to find out that a server takes writes now.
                probes: n % 2 == 0,
                writable: Arc::clone(&writable),
                book: Arc::clone(&self.book),
            };
            self.lanes.push(place.handle().spawn(lane.run()));
        }
    }

    pub fn so_far<T>(&self, f: impl FnOnce(&[Attempt]) -> T) -> T {
        self.book.so_far(f)
    }

    /// Gives all attempts, and the first id of the next run. What is under way is given up.
    pub fn finish(self) -> (Vec<Attempt>, i64) {
        self.end();
        (self.book.so_far(<[Attempt]>::to_vec), self.book.next_id())
    }

    fn end(&self) {
        self.lanes.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}
