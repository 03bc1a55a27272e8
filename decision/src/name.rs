//! Names of things, as distinct types, so that a region is never passed for a service.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub String);

        impl $type {
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
        impl From<&str> for $type {
            fn from(name: &str) -> Self {
                Self(name.to_owned())
            }
        }
    };
}

name! {
    /// A failure domain, such as `eu-west-1`.
    RegionName
}
name! {
    /// The unit that fails over.
    ServiceName
}
name! {
    /// One health check of one target, unique in a configuration: `REGION/SERVICE/kind/n`, or
    /// `REGION/endpoint/n` for a region's own endpoints.
    CheckId
}
name! {
    /// A DNS name in lower case without the closing dot.
    DnsName
}

/// One agent: its region, and its ordinal there (1 for the first).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentId {
    pub region: RegionName,
    pub ordinal: u16,
}

impl AgentId {
    pub fn new(region: impl Into<RegionName>, ordinal: u16) -> Self {
        Self { region: region.into(), ordinal }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.ordinal)
    }
}

impl From<AgentId> for String {
    fn from(id: AgentId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for AgentId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.rsplit_once('/')
            .and_then(|(region, ordinal)| Some(Self::new(region, ordinal.parse().ok()?)))
            .ok_or_else(|| format!("{text:?} is not an agent's name, which reads REGION/ORDINAL"))
    }
}
