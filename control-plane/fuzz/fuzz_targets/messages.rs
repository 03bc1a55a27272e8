//! Any octets as what agents and controllers send each other, and as a frame of the log on disk.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    control_plane::raft::fuzz::message(octets);
});
