//! Whether names lead to who takes writes (S6).

use super::clock::ms;
use super::judge::Gap;
use super::record::Lookup;

/// For how long a server named another region than the one that took writes, at the longest: from when that had begun,
/// or the server answered again, whichever came later. `eras`: who took writes when, in milliseconds since
/// `began_ns`.
pub(super) fn stale_ms(lookups: &[Lookup], eras: &[(String, Gap)], began_ns: u64) -> f64 {
    let mut longest: f64 = 0.0;
    let mut servers: Vec<&str> = lookups.iter().map(|lookup| lookup.to).collect();
    servers.sort_unstable();
    servers.dedup();
    for server in servers {
        // Since when it has named the wrong one.
        let mut since: Option<f64> = None;
        for lookup in lookups.iter().filter(|lookup| lookup.to == server && lookup.at_ns >= began_ns) {
            let at_ms = ms(lookup.at_ns) - ms(began_ns);
            let writer = eras.iter().rev().find(|(_, era)| era.from_ms <= at_ms);
            let Some((writer, era)) = writer else { continue };
            if lookup.leads.is_empty() || lookup.leads.iter().any(|region| writer.contains(region)) {
                since = None;
                continue;
            }
            let from = since.unwrap_or(at_ms).max(era.from_ms);
            since = Some(from);
            longest = longest.max(at_ms - from);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_stale_from_when_another_writes_and_its_server_answers() {
        let era = |server: &str, from_ms| (server.to_owned(), Gap { from_ms, until_ms: 9_000.0 });
        let eras = [era("us", 0.0), era("eu", 1_000.0)];
        let lookup = |at_ms: u64, leads: &[&'static str]| Lookup {
            to: "ap",
            at_ns: at_ms * 1_000_000,
            leads: leads.to_vec(),
        };
        let right = [lookup(900, &["us"]), lookup(1_000, &["us"]), lookup(1_100, &["eu"])];
        assert_eq!(stale_ms(&right, &eras, 0), 0.0);
        let late =
            [lookup(900, &["us"]), lookup(1_100, &["us"]), lookup(1_900, &["us"]), lookup(2_000, &["eu"])];
        assert_eq!(stale_ms(&late, &eras, 0), 800.0);
        // It was cut off, and did not know yet when it was heard again.
        let back =
            [lookup(1_100, &[]), lookup(5_000, &["us"]), lookup(5_300, &["us"]), lookup(5_400, &["eu"])];
        assert_eq!(stale_ms(&back, &eras, 0), 300.0);
    }
}
