//! Who a part is: the role and region its certificate names, as one URI in the shape of a SPIFFE ID
//! (SPIFFE-ID and X509-SVID, spiffe.io): `spiffe://CLUSTER/controller/REGION/MEMBER`,
//! `spiffe://CLUSTER/agent/REGION/ORDINAL`, `spiffe://CLUSTER/operator/NAME`.

use std::fmt;
use std::str::FromStr;

use decision::name::{AgentId, RegionName};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const SCHEME: &str = "spiffe://";
const NAME_MAX_LEN: usize = 128;

/// One cluster: its id, which every certificate names as its trust domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

/// Who a part is within its cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    Controller { region: RegionName, member: u64 },
    Agent(AgentId),
    Operator { name: String },
}

/// What kind of part it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Controller,
    Agent,
    Operator,
}

/// Cluster and identity: what a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    pub trust_domain: TrustDomain,
    pub identity: Identity,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    #[error(
        "{name:?} is no trust domain: a letter or digit, then up to {NAME_MAX_LEN} in all of a-z, 0-9, '.', '-' and '_'"
    )]
    TrustDomain { name: String },
    #[error(
        "{name:?} cannot stand in a certificate: 1 to {NAME_MAX_LEN} of letters, digits, '.', '-' and '_'"
    )]
    Name { name: String },
    #[error(
        "{uri:?} names no part of a cluster; expected spiffe://CLUSTER/controller/REGION/MEMBER, \
         spiffe://CLUSTER/agent/REGION/ORDINAL or spiffe://CLUSTER/operator/NAME"
    )]
    Uri { uri: String },
    #[error("the certificate names nobody: it has no URI among its subject alternative names")]
    NoUri,
    #[error("the certificate names {0} URIs, and must name exactly one")]
    SeveralUris(usize),
    #[error("not a readable X.509 certificate: {0}")]
    Certificate(String),
}

impl TrustDomain {
    pub fn new(name: impl Into<String>) -> Result<TrustDomain, IdentityError> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins_well || name.len() > NAME_MAX_LEN || !name.chars().all(allowed) {
            return Err(IdentityError::TrustDomain { name });
        }
        Ok(TrustDomain(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URI of the cluster itself, which its authority's certificate names.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }
}

impl Identity {
    pub fn role(&self) -> Role {
        match self {
            Identity::Controller { .. } => Role::Controller,
            Identity::Agent(_) => Role::Agent,
            Identity::Operator { .. } => Role::Operator,
        }
    }

    /// The region it speaks for; operators speak for none.
    pub fn region(&self) -> Option<&RegionName> {
        match self {
            Identity::Controller { region, .. } => Some(region),
            Identity::Agent(agent) => Some(&agent.region),
            Identity::Operator { .. } => None,
        }
    }

    /// As it is to stand in a certificate.
    pub fn in_domain(&self, trust_domain: &TrustDomain) -> Result<SpiffeId, IdentityError> {
        let name = match self {
            Identity::Controller { region, .. } => region.as_str(),
            Identity::Agent(agent) => agent.region.as_str(),
            Identity::Operator { name } => name,
        };
        if !is_segment(name) {
            return Err(IdentityError::Name { name: name.to_owned() });
        }
        Ok(SpiffeId { trust_domain: trust_domain.clone(), identity: self.clone() })
    }
}

impl SpiffeId {
    /// Reads whom a certificate names. Proves nothing: the chain must be verified besides.
    pub fn from_certificate(der: &[u8]) -> Result<SpiffeId, IdentityError> {
        let unreadable = |error: &dyn fmt::Display| IdentityError::Certificate(error.to_string());
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| unreadable(&error))?;
        if !rest.is_empty() {
            return Err(unreadable(&"bytes after its end"));
        }
        let names = certificate.subject_alternative_name().map_err(|error| unreadable(&error))?;
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
            .collect();
        match uris[..] {
            [] => Err(IdentityError::NoUri),
            [uri] => uri.parse(),
            _ => Err(IdentityError::SeveralUris(uris.len())),
        }
    }
}

/// One name between slashes, by the SPIFFE ID standard; never `.` or `..`.
fn is_segment(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    (1..=NAME_MAX_LEN).contains(&name.len()) && name.chars().all(allowed) && name != "." && name != ".."
}

impl FromStr for SpiffeId {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<SpiffeId, IdentityError> {
        parse(uri)
            // One spelling each: no leading zeros, signs or escapes.
            .filter(|id| id.to_string() == uri)
            .ok_or_else(|| IdentityError::Uri { uri: uri.chars().take(2 * NAME_MAX_LEN).collect() })
    }
}

fn parse(uri: &str) -> Option<SpiffeId> {
    let (domain, path) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let trust_domain = TrustDomain::new(domain).ok()?;
    let segments: Vec<&str> = path.split('/').collect();
    let identity = match segments[..] {
        ["controller", region, member] => {
            Identity::Controller { region: region.into(), member: member.parse().ok()? }
        }
        ["agent", region, ordinal] => Identity::Agent(AgentId::new(region, ordinal.parse().ok()?)),
        ["operator", name] => Identity::Operator { name: name.to_owned() },
        _ => return None,
    };
    identity.in_domain(&trust_domain).ok()
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = IdentityError;
    fn from_str(name: &str) -> Result<TrustDomain, IdentityError> {
        TrustDomain::new(name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Controller => "controller",
            Role::Agent => "agent",
            Role::Operator => "operator",
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Controller { region, member } => write!(f, "controller/{region}/{member}"),
            Identity::Agent(agent) => write!(f, "agent/{agent}"),
            Identity::Operator { name } => write!(f, "operator/{name}"),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.trust_domain, self.identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(identity: Identity) -> SpiffeId {
        identity.in_domain(&TrustDomain::new("regent-7f3a").unwrap()).unwrap()
    }

    #[test]
    fn prints_and_parses_each_role() {
        let cases = [
            (
                id(Identity::Controller { region: "eu-west-1".into(), member: 3 }),
                "spiffe://regent-7f3a/controller/eu-west-1/3",
            ),
            (id(Identity::Agent(AgentId::new("us_east.1", 2))), "spiffe://regent-7f3a/agent/us_east.1/2"),
            (id(Identity::Operator { name: "ana".into() }), "spiffe://regent-7f3a/operator/ana"),
        ];
        for (id, uri) in cases {
            assert_eq!(id.to_string(), uri);
            assert_eq!(uri.parse(), Ok(id));
        }
    }

    #[test]
    fn refuses_every_other_spelling() {
        for uri in [
            "",
            "spiffe://",
            "spiffe://c",
            "spiffe://c/",
            "spiffe://c/controller",
            "spiffe://c/controller/r",
            "spiffe://c/controller/r/",
            "spiffe://c/controller/r/x",
            "spiffe://c/controller/r/01",
            "spiffe://c/controller/r/+1",
            "spiffe://c/controller/r/-1",
            "spiffe://c/controller/r/1/",
            "spiffe://c/controller/r/1/2",
            "spiffe://c/controller//1",
            "spiffe://c/controller/../1",
            "spiffe://c/controller/r%31/1",
            "spiffe://c/Controller/r/1",
            "spiffe://C/controller/r/1",
            "SPIFFE://c/controller/r/1",
            "https://c/controller/r/1",
            "spiffe://c:1/controller/r/1",
            "spiffe://u@c/controller/r/1",
            "spiffe:///controller/r/1",
            "spiffe://c/controller/r/1?x",
            "spiffe://c/controller/r/1#x",
            "spiffe://c/controller/r/18446744073709551616",
            "spiffe://c/agent/r/65536",
            "spiffe://c/agent/r é/1",
            "spiffe://c/operator/a/b",
            "spiffe://c/operator/",
            "spiffe://c/root/a",
            " spiffe://c/operator/a",
            "spiffe://c/operator/a ",
            "spiffe://c/operator/a\0",
        ] {
            assert_eq!(uri.parse::<SpiffeId>(), Err(IdentityError::Uri { uri: uri.into() }), "{uri}");
        }
    }

    #[test]
    fn refuses_names_that_a_certificate_cannot_hold() {
        let domain = TrustDomain::new("c").unwrap();
        for name in ["", "a/b", "..", "a b", "é", &"x".repeat(NAME_MAX_LEN + 1)] {
            let identity = Identity::Operator { name: name.to_owned() };
            assert_eq!(identity.in_domain(&domain), Err(IdentityError::Name { name: name.to_owned() }));
            assert!(TrustDomain::new(name).is_err());
        }
        assert!(TrustDomain::new("Upper").is_err());
    }

    #[test]
    fn garbage_is_no_certificate() {
        for der in [&b""[..], b"\x30", b"hello", &[0x30, 0x82, 0xff, 0xff]] {
            assert!(matches!(SpiffeId::from_certificate(der), Err(IdentityError::Certificate(_))));
        }
    }
}
