//! Record sets as DNS holds them, and the way there from what a change asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use decision::dns::{Group, RecordSet, RecordType as Kind};
use decision::name::DnsName;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, RecordType};

use super::error::DnsError;
use super::marker::marker_name;

/// All records of one name and type (RFC 2181, 5).
#[derive(Clone, Debug)]
pub struct RrSet {
    pub rtype: RecordType,
    pub ttl_s: u32,
    pub rdata: Vec<RData>,
}

impl RrSet {
    /// In canonical presentation form, so that sets compare equal when DNS holds them equal.
    pub fn values(&self) -> BTreeSet<String> {
        self.rdata.iter().map(canonical).collect()
    }

    pub fn says_the_same(&self, other: &RrSet) -> bool {
        self.rtype == other.rtype && self.ttl_s == other.ttl_s && self.values() == other.values()
    }
}

/// What a change wants at each name.
pub type Wanted = BTreeMap<DnsName, Vec<RrSet>>;

/// The longest TTL there is (RFC 2181, 8).
const MAX_TTL_S: u32 = i32::MAX as u32;

/// Checks a change and brings it into DNS's terms. A plain server cannot draw by weight: it gets
/// all groups of weight above 0, and of a CNAME, which can have one value only, the heaviest.
pub fn wanted(zone: &DnsName, set: &[RecordSet]) -> Result<Wanted, DnsError> {
    let origin = name(zone)?;
    let mut wanted = Wanted::new();
    for record in set {
        let owner = name(&record.name)?;
        name(&marker_name(&record.name))?;
        if !origin.zone_of(&owner) {
            return invalid(format!("{} lies outside of zone {zone}", record.name));
        }
        let rr = rr_set(record)?;
        if rr.rtype == RecordType::CNAME && owner == origin {
            return invalid(format!(
                "{zone} is the zone's own name, where no CNAME can stand (RFC 1034, 3.6.2)"
            ));
        }
        let at_name = wanted.entry(record.name.clone()).or_default();
        if at_name.iter().any(|other| other.rtype == rr.rtype) {
            return invalid(format!("{} {} is given twice", record.name, rr.rtype));
        }
        at_name.push(rr);
        if at_name.len() > 1 && at_name.iter().any(|rr| rr.rtype == RecordType::CNAME) {
            return invalid(format!("{} has a CNAME beside other records (RFC 1034, 3.6.2)", record.name));
        }
    }
    Ok(wanted)
}

fn rr_set(record: &RecordSet) -> Result<RrSet, DnsError> {
    if record.ttl_s > MAX_TTL_S {
        return invalid(format!("{} has a TTL of {} s, more than 2^31-1", record.name, record.ttl_s));
    }
    let groups: Vec<&Group> = match &record.groups[..] {
        // A sole group is always served.
        [sole] => vec![sole],
        groups if record.rtype == Kind::Cname => {
            let drawn = groups.iter().filter(|group| group.weight > 0);
            drawn.rev().max_by_key(|group| group.weight).into_iter().collect()
        }
        groups => groups.iter().filter(|group| group.weight > 0).collect(),
    };
    let values: BTreeSet<&str> = groups.iter().flat_map(|group| &group.values).map(String::as_str).collect();
    if values.is_empty() {
        return invalid(format!("{} {:?} would be left without any value", record.name, record.rtype));
    }
    if record.rtype == Kind::Cname && values.len() > 1 {
        return invalid(format!("{} has a CNAME with {} values; it can have one", record.name, values.len()));
    }
    let rdata = values.into_iter().map(|value| rdata(record, value)).collect::<Result<_, _>>()?;
    Ok(RrSet { rtype: record_type(record.rtype), ttl_s: record.ttl_s, rdata })
}

fn rdata(record: &RecordSet, value: &str) -> Result<RData, DnsError> {
    let wrong = |what: &str| DnsError::Invalid {
        what: format!("{} {:?} {value:?} is not {what}", record.name, record.rtype),
    };
    Ok(match record.rtype {
        Kind::A => RData::A(A(value.parse().map_err(|_| wrong("an IPv4 address"))?)),
        Kind::Aaaa => RData::AAAA(AAAA(value.parse().map_err(|_| wrong("an IPv6 address"))?)),
        Kind::Cname => {
            let target = name(&DnsName::from(value)).map_err(|_| wrong("a DNS name"))?;
            if target == name(&record.name)? {
                return Err(wrong("another name than its own"));
            }
            RData::CNAME(CNAME(target))
        }
        Kind::Txt => RData::TXT(txt(value)),
    })
}

/// A text as TXT data: strings of at most 255 bytes (RFC 1035, 3.3.14).
pub fn txt(text: &str) -> TXT {
    let strings: Vec<&[u8]> = if text.is_empty() { vec![&[]] } else { text.as_bytes().chunks(255).collect() };
    TXT::from_bytes(strings)
}

pub fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Cname => RecordType::CNAME,
        Kind::Txt => RecordType::TXT,
    }
}

/// An absolute name.
pub fn name(name: &DnsName) -> Result<Name, DnsError> {
    let wrong = |why: String| DnsError::Invalid { what: format!("{name:?} is not a DNS name: {why}") };
    if name.as_str().is_empty() {
        return Err(wrong("it is empty".into()));
    }
    let mut parsed = Name::from_str(name.as_str()).map_err(|error| wrong(error.to_string()))?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

/// Presentation form, such that equal data has equal text.
pub fn canonical(rdata: &RData) -> String {
    match rdata {
        RData::CNAME(CNAME(target)) => {
            let text = target.to_lowercase().to_string();
            text.strip_suffix('.').unwrap_or(&text).to_owned()
        }
        RData::TXT(txt) => String::from_utf8_lossy(&txt.txt_data.concat()).into_owned(),
        other => other.to_string(),
    }
}

fn invalid<T>(what: String) -> Result<T, DnsError> {
    Err(DnsError::Invalid { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, rtype: Kind, groups: &[(u8, &[&str])]) -> RecordSet {
        let groups = groups
            .iter()
            .map(|(weight, values)| Group {
                region: "r".into(),
                weight: *weight,
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            })
            .collect();
        RecordSet { name: name.into(), rtype, ttl_s: 30, groups }
    }

    fn values(set: RecordSet) -> Result<Vec<String>, String> {
        let wanted = wanted(&"example.com".into(), &[set]).map_err(|error| error.to_string())?;
        Ok(wanted.into_values().flatten().flat_map(|rr| rr.values()).collect())
    }

    #[test]
    fn all_groups_above_weight_0_are_published() {
        let groups: &[(u8, &[&str])] =
            &[(10, &["192.0.2.1"]), (0, &["192.0.2.2"]), (1, &["192.0.2.3", "192.0.2.1"])];
        assert_eq!(values(set("www.example.com", Kind::A, groups)).unwrap(), ["192.0.2.1", "192.0.2.3"]);
    }

    #[test]
    fn a_sole_group_is_published_at_any_weight() {
        assert_eq!(values(set("www.example.com", Kind::A, &[(0, &["192.0.2.1"])])).unwrap(), ["192.0.2.1"]);
    }

    #[test]
    fn of_weighted_cnames_the_heaviest_stands_and_the_first_of_equals() {
        let groups: &[(u8, &[&str])] = &[(1, &["a.example"]), (5, &["B.example."]), (5, &["c.example"])];
        assert_eq!(values(set("www.example.com", Kind::Cname, groups)).unwrap(), ["b.example"]);
    }

    #[test]
    fn addresses_compare_by_value_not_by_spelling() {
        let long = values(set("www.example.com", Kind::Aaaa, &[(1, &["2001:0db8:0:0::0001"])])).unwrap();
        assert_eq!(long, ["2001:db8::1"]);
    }

    #[test]
    fn what_dns_cannot_hold_is_refused_with_its_reason() {
        for (set, reason) in [
            (set("www.example.net", Kind::A, &[(1, &["192.0.2.1"])]), "outside of zone"),
            (set("example.com", Kind::Cname, &[(1, &["a.example"])]), "zone's own name"),
            (set("www.example.com", Kind::A, &[(1, &["2001:db8::1"])]), "not an IPv4 address"),
            (set("www.example.com", Kind::Cname, &[(1, &["www.example.com"])]), "than its own"),
            (set("www.example.com", Kind::Cname, &[(1, &["a.example", "b.example"])]), "it can have one"),
            (
                set("www.example.com", Kind::A, &[(0, &["192.0.2.1"]), (0, &["192.0.2.2"])]),
                "without any value",
            ),
            (set("", Kind::A, &[(1, &["192.0.2.1"])]), "empty"),
            (set(&"x.".repeat(130), Kind::A, &[(1, &["192.0.2.1"])]), "not a DNS name"),
        ] {
            let error = values(set).unwrap_err();
            assert!(error.contains(reason), "{error} lacks {reason:?}");
        }
        let beside = [
            set("www.example.com", Kind::A, &[(1, &["192.0.2.1"])]),
            set("www.example.com", Kind::Cname, &[(1, &["a.example"])]),
        ];
        assert!(wanted(&"example.com".into(), &beside).is_err());
    }

    #[test]
    fn long_texts_are_split_and_joined_again() {
        let text = "x".repeat(600);
        let data = txt(&text);
        assert_eq!(data.txt_data.len(), 3);
        assert_eq!(canonical(&RData::TXT(data)), text);
    }
}
