//! The cluster's `regions.yml`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::layout::{self, Layout};
use super::options::Options;
use super::provider;

/// Failures come one after the other here: nothing that damps moves may hold one up.
const STRATEGY: &str =
    "  moves: {per_service: 1000, overall: 1000, window: 10m}\n  min_stay: 0s\n  hold_down: 0s\n";
/// Clients ask replicas for writes all the time, each an ERROR in the log.
const SETTINGS: &str = "{log_min_messages: log, log_line_prefix: '%m [%p] '}";

/// `provider`: where DNS servers of others are, if there are any.
pub(super) fn text(options: &Options, layout: &Layout, provider: Option<Ipv4Addr>) -> String {
    let mut text = String::from("regions:\n");
    // Writing to a string cannot fail.
    for region in &layout.regions {
        let _ = writeln!(
            text,
            "  {0}: {{name: {0}, provider: local, endpoints: [\"http://{1}:{2}\"], services: [app]}}",
            region.name,
            region.address,
            layout::SERVICE_PORT
        );
    }
    let addresses: Vec<String> =
        layout.regions.iter().map(|region| format!("{}: {}", region.name, region.address)).collect();
    let _ = write!(
        text,
        "tiers:\n  live: {{rto: 30s, rpo: 1m}}\nservices:\n  app:\n    tier: live\n    dns:\n      \
         - {{name: app.regent.test, type: A, ttl: 1, values: {{{}}}}}\n",
        addresses.join(", ")
    );
    if provider.is_some() {
        let name = provider::NAME.trim_end_matches('.');
        let values = addresses.join(", ");
        let _ = writeln!(text, "      - {{name: {name}, type: A, ttl: 1, values: {{{values}}}}}");
    }
    database(&mut text, options, layout);
    let _ = write!(text, "failover_strategy:\n  profile: {}\n{STRATEGY}", options.profile);
    if let Some(address) = provider {
        let _ = write!(
            text,
            "dns:\n  zones:\n    {}:\n      provider: rfc2136\n      server: \"{address}:{}\"\n      \
             tsig: {{name: {}, algorithm: {}, secret_file: {}}}\n",
            provider::ZONE,
            provider::PORT,
            provider::KEY,
            provider::ALGORITHM,
            quoted(&layout.tsig_secret())
        );
    }
    text
}

fn database(text: &mut String, options: &Options, layout: &Layout) {
    let _ = write!(
        text,
        "    database:\n      mode: {}\n      failsafe: {}\n      replication: {{password_file: {}}}\n      \
         hba: [\"host all all {} trust\"]\n      settings: {SETTINGS}\n",
        options.mode,
        options.failsafe,
        quoted(&layout.password_file),
        network(layout.regions[0].address),
    );
    if let Some([ttl, renew_every, fence_budget]) = options.lease {
        let _ = write!(
            text,
            "      lease_ttl: {}\n      lease_renew_every: {}\n      fence_budget: {}\n",
            ms(ttl),
            ms(renew_every),
            ms(fence_budget)
        );
    }
    if let Some(bytes) = &options.max_data_loss {
        let _ = writeln!(text, "      max_data_loss: {{bytes: {bytes}}}");
    }
    text.push_str("      instances:\n");
    for region in &layout.regions {
        let _ = writeln!(
            text,
            "        {}: {{host: {1}, port: {2}, data_dir: {3}, write_endpoint: \"{1}:{4}\", \
             read_endpoint: \"{1}:{5}\"}}",
            region.name,
            region.address,
            layout::POSTGRES_PORT,
            quoted(&region.postgres),
            layout::WRITE_PORT,
            layout::READ_PORT
        );
    }
}

fn network(address: Ipv4Addr) -> String {
    let [a, b, c, _] = address.octets();
    format!("{a}.{b}.{c}.0/24")
}

fn ms(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
