//! Points a region somewhere else, for trying things out on one machine.

use decision::config::{Config, Probe};
use decision::name::RegionName;

/// Replaces a region's endpoints by one, and the front of every check that asked one of them.
/// Checks of other addresses stay as they are, and so do databases: an instance lives where its folder is.
pub fn retarget(config: &mut Config, region: &RegionName, endpoint: &str) {
    let Some(found) = config.regions.iter_mut().find(|other| other.name == *region) else { return };
    let old = std::mem::replace(&mut found.endpoints, vec![endpoint.to_owned()]);
    let mut first = true;
    config.checks.retain_mut(|check| {
        if check.region != *region {
            return true;
        }
        match &mut check.probe {
            Probe::Http { url, .. } | Probe::Grpc { url, .. } => {
                if let Some(rest) = old.iter().find_map(|base| rest_after(url, base)) {
                    *url = format!("{}{rest}", endpoint.trim_end_matches('/'));
                }
            }
            Probe::Tcp { address } => {
                let same = old.iter().any(|base| authority(base) == Some(address.as_str()));
                if let (true, Some(new)) = (same, authority(endpoint)) {
                    *address = new.to_owned();
                }
            }
            Probe::Dns { .. } | Probe::Command { .. } => {}
        }
        // Several endpoints became one: one check of it is enough.
        check.service.is_some() || std::mem::take(&mut first)
    });
}

fn rest_after(url: &str, base: &str) -> Option<String> {
    let rest = url.strip_prefix(base.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with(['/', '?'])).then(|| rest.to_owned())
}

fn authority(endpoint: &str) -> Option<&str> {
    endpoint.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or(rest))
}
