//! Who follows a zone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
const DNS_PORT: u16 = 53;

/// Where a secondary, written `host:port` or just `host`, is told of changes.
///
/// # Errors
/// Its name does not resolve, or not in time.
pub(crate) async fn addresses(secondary: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = secondary.parse() {
        return Ok(vec![address]);
    }
    if let Ok(ip) = secondary.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, DNS_PORT)]);
    }
    let with_port = match secondary.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => secondary.to_owned(),
        _ => format!("{secondary}:{DNS_PORT}"),
    };
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(with_port)).await??;
    Ok(found.collect())
}

/// Whether an address is that of a secondary, whatever its port: transfers come from any.
pub(crate) async fn include(secondaries: &[String], asker: IpAddr) -> bool {
    let asker = asker.to_canonical();
    for secondary in secondaries {
        match addresses(secondary).await {
            Ok(known) if known.iter().any(|address| address.ip().to_canonical() == asker) => return true,
            Ok(_) => {}
            Err(error) => tracing::warn!(%secondary, %error, "a secondary's name does not resolve"),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn compares_addresses_and_not_ports() {
        let list = |items: &[&str]| items.iter().map(|item| item.to_string()).collect::<Vec<_>>();
        let secondaries = list(&["192.0.2.1:5300", "[2001:db8::1]:53", "198.51.100.7"]);
        for (asker, expected) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("2001:db8::1", true),
            ("198.51.100.7", true),
            ("192.0.2.2", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(include(&secondaries, asker.parse().unwrap()).await, expected, "{asker}");
        }
        assert!(include(&list(&["localhost:53"]), "127.0.0.1".parse().unwrap()).await);
        assert!(!include(&[], "127.0.0.1".parse().unwrap()).await);
    }
}
