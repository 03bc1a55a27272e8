//! Any octets as a DNS request, answered by UDP and TCP.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| region_agent::dns::fuzz::request(octets));
