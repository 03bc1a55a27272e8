//! Addresses and DNS names, as they are written in `regions.yml`.

use super::scalar::{Fault, Scalar, fault, whole};

/// Where a region answers: `https://host`, `http://host:port/path`, `tcp://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint(pub(super) String);

impl Scalar for Endpoint {
    const KIND: &'static str = "endpoint";
    const WHAT: &'static str = "an address, such as https://api.eu.example.com";
    const PATTERN: &'static str = "^(https?|tcp)://[^ ]+$";
    const EXAMPLES: &'static [&'static str] = &["https://api.eu.example.com", "tcp://10.0.0.5:5432"];
    fn parse(text: &str) -> Result<Self, Fault> {
        let url = url(text, &["https", "http", "tcp"])?;
        if url.scheme_str() == Some("tcp") {
            if url.port_u16().is_none() {
                return fault(
                    format!("{text} names no port"),
                    format!("write for example {}:443", text.trim_end_matches('/')),
                );
            }
            if url.path() != "/" && !url.path().is_empty() {
                return fault(
                    format!("{text} has a path, which TCP knows nothing of"),
                    "write tcp://host:port",
                );
            }
        }
        Ok(Self(text.to_owned()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebUrl(pub(super) String);

impl Scalar for WebUrl {
    const KIND: &'static str = "web-url";
    const WHAT: &'static str = "an http or https address";
    const PATTERN: &'static str = "^https?://[^ ]+$";
    const EXAMPLES: &'static [&'static str] = &["https://status.example.com"];
    fn parse(text: &str) -> Result<Self, Fault> {
        url(text, &["https", "http"])?;
        Ok(Self(text.to_owned()))
    }
}

/// A whole address with scheme and host.
pub(super) fn url(text: &str, schemes: &[&str]) -> Result<http::Uri, Fault> {
    let bad = |message: String, fix: String| Err(Fault { message, fix });
    let Some((scheme, rest)) = text.split_once("://") else {
        return bad(format!("{text:?} has no scheme"), format!("write {}://{text}", schemes[0]));
    };
    if !schemes.contains(&scheme) {
        let fix = match decision::config::check::nearest(scheme, schemes.iter().copied()) {
            Some(near) => format!("did you mean {near}://{rest}?"),
            None => format!(
                "allowed: {}",
                schemes.iter().map(|s| format!("{s}://")).collect::<Vec<_>>().join(", ")
            ),
        };
        return bad(format!("{text:?} has a scheme that cannot be used here"), fix);
    }
    let example = format!("write for example {}://host.example:8080", schemes[0]);
    let uri = match text.parse::<http::Uri>() {
        Ok(uri) => uri,
        Err(error) => return bad(format!("{text:?} is not an address: {error}"), example),
    };
    let Some(authority) = uri.authority() else {
        return bad(format!("{text:?} names no host"), example);
    };
    if authority.as_str().contains('@') {
        return bad(
            format!(
                "{text:?} carries a user or password, which would end up in logs and on every controller"
            ),
            "remove the part before the @".to_owned(),
        );
    }
    if !is_host(authority.host()) {
        return bad(format!("{text:?} names no host that could exist"), example);
    }
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if !port.is_empty() && !matches!(authority.port_u16(), Some(1..)) {
        return bad(format!("{text:?} has no port between 1 and 65535"), example);
    }
    Ok(uri)
}

/// A name, an IPv4 address, or an IPv6 address in brackets. All digits and dots must be an address.
fn is_host(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<std::net::Ipv6Addr>().is_ok();
    }
    if host.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return host.parse::<std::net::Ipv4Addr>().is_ok();
    }
    decision::config::check::is_host_name(host)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPort(pub(super) String);

impl Scalar for HostPort {
    const KIND: &'static str = "host-port";
    const WHAT: &'static str = "host:port, such as 192.0.2.53:53";
    const PATTERN: &'static str = "^(\\[[0-9a-fA-F:.]+\\]|[^ :/]+):[0-9]{1,5}$";
    const EXAMPLES: &'static [&'static str] = &["192.0.2.53:53", "[2001:db8::1]:53"];
    fn parse(text: &str) -> Result<Self, Fault> {
        let example = "write for example 192.0.2.53:53";
        if let Some((scheme, rest)) = text.split_once("://") {
            return fault(
                format!("{text:?} has a scheme ({scheme}) where host:port is wanted"),
                format!("write {rest}"),
            );
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return fault(format!("{text:?} names no port"), format!("write [{text}]:53"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return fault(format!("{text:?} names no port"), format!("write for example {text}:53"));
        };
        if !is_host(host) {
            return fault(format!("{text:?} names no host that could exist"), example);
        }
        if !matches!(whole::<u16>(port), Some(1..)) {
            return fault(format!("{text:?} has no port between 1 and 65535"), example);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A name in DNS, of two labels at least; kept in lower case without the closing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameInDns(pub(super) String);

impl Scalar for NameInDns {
    const KIND: &'static str = "dns-name";
    const WHAT: &'static str = "a DNS name, such as app.example.com";
    const PATTERN: &'static str = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)+\\.?$";
    const EXAMPLES: &'static [&'static str] = &["app.example.com"];
    fn parse(text: &str) -> Result<Self, Fault> {
        let example = "write for example app.example.com";
        if let Some(rest) = text.strip_prefix("*.") {
            return fault(
                format!("{text:?} is a wildcard, which is not supported"),
                format!("write each name, such as www.{rest}"),
            );
        }
        if let Some((_, rest)) = text.split_once("://") {
            return fault(
                format!("{text:?} is an address, not a name"),
                format!("write {}", rest.trim_end_matches('/')),
            );
        }
        if !decision::config::check::is_host_name(text) {
            return fault(
                format!("{text:?} is not a DNS name (RFC 1035, 2.3.4: labels of 1 to 63, 253 in all)"),
                example,
            );
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if !name.contains('.') {
            return fault(format!("{text:?} is a single label"), example);
        }
        Ok(Self(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for right in
            ["https://a.example", "http://127.0.1.1:7480", "tcp://[::1]:5432", "http://localhost/x?y=1"]
        {
            assert!(Endpoint::parse(right).is_ok(), "{right}: {:?}", Endpoint::parse(right));
        }
        for (wrong, fix) in [
            ("a.example", "write https://a.example"),
            ("htps://a.example", "did you mean https://a.example?"),
            ("ftp://a.example", "allowed: https://, http://, tcp://"),
            ("tcp://db.example", "write for example tcp://db.example:443"),
            ("tcp://db.example:1/x", "write tcp://host:port"),
            ("http://u:p@a.example", "remove the part before the @"),
            ("http://a.example:70000", "write for example https://host.example:8080"),
            ("http://a.example:0", "write for example https://host.example:8080"),
            ("http://300.1.1.1", "write for example https://host.example:8080"),
            ("http://", "write for example https://host.example:8080"),
            ("http://a b", "write for example https://host.example:8080"),
        ] {
            assert_eq!(Endpoint::parse(wrong).unwrap_err().fix, fix, "{wrong}");
        }
        assert!(HostPort::parse("127.0.0.1:53").is_ok());
        assert!(HostPort::parse("[::1]:53").is_ok());
        for wrong in ["127.0.0.1", "::1", "a:0", "a:70000", ":53", "http://a:53", "256.1.1.1:53"] {
            assert!(HostPort::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(NameInDns::parse("App.Example.Test."), Ok(NameInDns("app.example.test".to_owned())));
        for wrong in ["app", "", ".", "a..b", "*.example.test", "a b.c", "-a.b", "https://a.b"] {
            assert!(NameInDns::parse(wrong).is_err(), "{wrong}");
        }
        assert!(NameInDns::parse(&format!("{}.test", "a".repeat(64))).is_err());
    }
}
