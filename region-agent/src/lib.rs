//! Who watches and acts in a region: probes, evidence, goals, actuators and authoritative DNS.

pub mod dns;
