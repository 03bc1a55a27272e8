//! Who watches and acts in a region: probes, evidence, goals, actuators and authoritative DNS.
//!
//! `watch` probes and writes what it found into the `book`; `session` tells it to a controller, and
//! brings `goals`; `act` carries out their steps, and `zones` hands their zones to `dns`. `database` keeps
//! instances under their leases, and `relay` leads clients to them.

pub mod act;
pub mod book;
pub mod contact;
pub mod database;
pub mod dns;
pub mod drill;
pub mod goals;
pub mod guard;
mod http;
pub mod instances;
pub mod metrics;
pub mod outbox;
pub mod probe;
pub mod relay;
mod run;
pub mod session;
pub mod store;
pub mod watch;
mod zones;

pub use run::{Settings, run};
