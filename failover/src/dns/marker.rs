//! The owner-and-generation record beside every name that Regent writes: a TXT record at
//! `_regent.NAME`. DNS can only test it for equality, so the rule of who may write is applied to
//! what was read, and the record read is then the condition of the update (RFC 2136, 2.4.2).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use decision::name::DnsName;
use decision::plan::Epoch;

use super::error::Version;

const FORMAT: &str = "v1";
const OWNER: &str = "regent";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub cluster: String,
    pub service: String,
    pub version: Version,
    /// Of the step that wrote it: finding one's own means that one's own update was applied.
    pub operation: String,
    /// The record types at the name that are Regent's; all others there belong to somebody else.
    pub types: BTreeSet<String>,
}

/// Where the marker of a name stands.
pub fn marker_name(name: &DnsName) -> DnsName {
    DnsName::new(format!("_regent.{name}"))
}

/// How a marker found relates to the one about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Written by this very operation (S9), perhaps by another attempt of it, at another
    /// generation.
    Own,
    /// Older: may be replaced.
    Older,
    /// Newer, or of the same version by another operation: must stay (S2).
    Newer,
    /// Of another cluster or service, whose epochs do not compare with ours.
    Foreign,
}

impl Marker {
    pub fn standing(&self, ours: &Marker) -> Standing {
        if (&self.cluster, &self.service) != (&ours.cluster, &ours.service) {
            return Standing::Foreign;
        }
        let (seen, ours_at) = (self.version, ours.version);
        if seen.epoch == ours_at.epoch && self.operation == ours.operation {
            return Standing::Own;
        }
        let rises = seen.epoch <= ours_at.epoch && seen.generation <= ours_at.generation && seen != ours_at;
        if rises { Standing::Older } else { Standing::Newer }
    }

    /// Reads a record; none when it is not a marker that this release understands in full.
    pub fn parse(text: &str) -> Option<Marker> {
        let mut words = text.split(' ');
        if words.next()? != FORMAT {
            return None;
        }
        let mut fields: BTreeMap<&str, &str> =
            words.map(|word| word.split_once('=')).collect::<Option<_>>()?;
        let mut take = |key| fields.remove(key);
        if take("owner")? != OWNER {
            return None;
        }
        let marker = Marker {
            cluster: unescape(take("cluster")?)?,
            service: unescape(take("service")?)?,
            version: Version {
                epoch: Epoch(take("epoch")?.parse().ok()?),
                generation: take("generation")?.parse().ok()?,
            },
            operation: unescape(take("op")?)?,
            types: take("types")?.split(',').map(str::to_owned).collect(),
        };
        Some(marker)
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<&str> = self.types.iter().map(String::as_str).collect();
        write!(
            f,
            "{FORMAT} owner={OWNER} cluster={} service={} epoch={} generation={} op={} types={}",
            escape(&self.cluster),
            escape(&self.service),
            self.version.epoch,
            self.version.generation,
            escape(&self.operation),
            types.join(",")
        )
    }
}

/// Percent-encodes (RFC 3986, 2.1) what would break a field or be altered on its way.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marker(epoch: u64, generation: u64, operation: &str) -> Marker {
        Marker {
            cluster: "c".into(),
            service: "web".into(),
            version: Version { epoch: Epoch(epoch), generation },
            operation: operation.into(),
            types: ["A".to_owned(), "AAAA".to_owned()].into(),
        }
    }

    #[test]
    fn reads_as_documented() {
        assert_eq!(
            marker(3, 17, "plan-4/2").to_string(),
            "v1 owner=regent cluster=c service=web epoch=3 generation=17 op=plan-4/2 types=A,AAAA"
        );
    }

    #[test]
    fn only_a_rising_version_may_replace() {
        let seen = marker(3, 17, "a");
        assert_eq!(seen.standing(&marker(3, 17, "a")), Standing::Own);
        assert_eq!(seen.standing(&marker(3, 18, "a")), Standing::Own);
        assert_eq!(seen.standing(&marker(3, 17, "b")), Standing::Newer);
        assert_eq!(seen.standing(&marker(3, 18, "b")), Standing::Older);
        assert_eq!(seen.standing(&marker(4, 17, "b")), Standing::Older);
        assert_eq!(seen.standing(&marker(2, 99, "b")), Standing::Newer);
        assert_eq!(seen.standing(&marker(9, 16, "b")), Standing::Newer, "a generation never falls");
        let other = Marker { cluster: "d".into(), ..marker(9, 99, "a") };
        assert_eq!(seen.standing(&other), Standing::Foreign);
    }

    #[test]
    fn what_is_not_a_marker_is_none() {
        for text in [
            "",
            "v2 owner=regent cluster=c service=s epoch=1 generation=1 op=o types=A",
            "v1 owner=external-dns cluster=c service=s epoch=1 generation=1 op=o types=A",
            "v1 owner=regent cluster=c service=s epoch=-1 generation=1 op=o types=A",
            "v1 owner=regent cluster=c service=s epoch=1 generation=1 op=%zz types=A",
            "v1 owner=regent cluster=c",
            "heritage=external-dns",
        ] {
            assert_eq!(Marker::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn survives_the_way_there_and_back(cluster in ".*", service in ".*", operation in ".*", epoch: u64, generation: u64) {
            let marker = Marker {
                cluster, service, operation,
                version: Version { epoch: Epoch(epoch), generation },
                types: ["TXT".to_owned()].into(),
            };
            prop_assert_eq!(Marker::parse(&marker.to_string()), Some(marker));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            let _ = Marker::parse(&text);
        }
    }
}
