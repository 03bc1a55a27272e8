//! The DNS server as others see it: `dig`, secondaries and resolvers as real processes (`dns_…`),
//! and its sockets (`serving`, `notifying`).

#![allow(clippy::unwrap_used, reason = "a test that fails where it stands says most")]

#[path = "dns/dig.rs"]
mod dns_dig;
#[path = "dns/resolver.rs"]
mod dns_resolver;
#[path = "dns/secondaries.rs"]
mod dns_secondaries;
#[path = "dns/notifying.rs"]
mod notifying;
#[path = "dns/serving.rs"]
mod serving;
#[path = "dns/support.rs"]
mod support;
