//! Any bytes as a `regions.yml`: an answer, never a panic, and what loads can be shown and compared.
//!
//!     cd failover
//!     mkdir -p fuzz/corpus/regions_yml
//!     cp tests/data/*.yml tests/data/*/*.yml fuzz/corpus/regions_yml/
//!     cargo +nightly fuzz run regions_yml -- -max_len=65536 -timeout=5 -rss_limit_mb=512
//!
//! Without a nightly compiler, the same with mutations of sound files, repeatable by seed:
//!
//!     REGENT_MUTATIONS=100000 cargo test -p failover --test config no_mutation
#![no_main]

use failover::config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match config::parse_bytes("fuzz.yml", bytes) {
        Ok(loaded) => {
            let _ = (config::to_text(&loaded.warnings), config::show(&loaded.config));
            assert!(config::diff(&loaded.config, &loaded.config).is_empty());
        }
        Err(errors) => {
            assert!(!errors.problems.is_empty());
            let _ = (errors.to_string(), errors.to_json());
        }
    }
});
