//! Whether a change may be made to what was read, and what exactly it then replaces. Pure, and
//! the one place where the compare of compare-and-set is decided.

use std::collections::{BTreeMap, BTreeSet};

use decision::name::DnsName;
use hickory_proto::rr::{RData, RecordType};

use super::error::{DnsError, Version};
use super::marker::{Marker, Standing, marker_name};
use super::records::{RrSet, Wanted};
use super::{Answer, Change, Diff, Observed};

/// One name as read, with the exact data that an update is made conditional on.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// Without DNSSEC's own records.
    pub(super) records: Vec<RrSet>,
    /// The TXT set at the marker's place, as it is.
    pub(super) marker: Option<RrSet>,
}

pub(super) type Readings = BTreeMap<DnsName, Reading>;

#[derive(Clone, Debug)]
pub(super) enum Judged {
    AlreadySo,
    Replace(Vec<Replacement>),
}

/// What happens at one name.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    pub(super) name: DnsName,
    /// Condition: the marker is still this one; none: there is still none.
    pub(super) seen_marker: Option<RrSet>,
    /// Condition: these are still as read, for nobody's marker guards them.
    pub(super) adopted: Vec<RrSet>,
    /// Condition: still none of these.
    pub(super) absent: Vec<RecordType>,
    /// What goes: Regent's own of before, and what is adopted.
    pub(super) delete: Vec<RrSet>,
    pub(super) add: Vec<RrSet>,
    pub(super) marker: Marker,
}

impl Reading {
    pub(super) fn parsed_marker(&self) -> Option<Marker> {
        let values = self.marker.as_ref()?.values();
        match (values.len(), values.first()) {
            (1, Some(sole)) => Marker::parse(sole),
            _ => None,
        }
    }

    fn of_type(&self, rtype: RecordType) -> Option<&RrSet> {
        self.records.iter().find(|rr| rr.rtype == rtype)
    }

    pub(super) fn observed(&self) -> Observed {
        let answer =
            |rr: &RrSet| Answer { rtype: rr.rtype.to_string(), ttl_s: rr.ttl_s, values: rr.values() };
        let mut records: Vec<Answer> = self.records.iter().map(answer).collect();
        records.sort();
        Observed { records, marker: self.parsed_marker() }
    }
}

/// Types that are looked for at a name, the alias first. It bears none of the others beside it,
/// and a server that is told to make room for one would drop them.
pub(super) const KNOWN_TYPES: [RecordType; 14] = [
    RecordType::CNAME,
    RecordType::A,
    RecordType::AAAA,
    RecordType::TXT,
    RecordType::MX,
    RecordType::NS,
    RecordType::SRV,
    RecordType::CAA,
    RecordType::HTTPS,
    RecordType::SVCB,
    RecordType::PTR,
    RecordType::NAPTR,
    RecordType::SSHFP,
    RecordType::TLSA,
];

pub(super) fn judge(
    change: &Change,
    wanted: &Wanted,
    readings: &Readings,
    adopt: bool,
) -> Result<Judged, DnsError> {
    let mut replacements = Vec::new();
    let mut all_so = true;
    for (name, want) in wanted {
        let reading = readings.get(name).cloned().unwrap_or_default();
        let ours = Marker {
            cluster: change.cluster.clone(),
            service: change.service.as_str().to_owned(),
            version: change.version(),
            operation: change.operation.clone(),
            types: want.iter().map(|rr| rr.rtype.to_string()).collect(),
        };
        let (seen, own) = may_replace(name, &reading, &ours)?;
        all_so &= own && is_so(want, &reading, seen.as_ref(), &ours);
        replacements.push(replacement(name, want, reading, seen, ours, adopt)?);
    }
    Ok(if all_so { Judged::AlreadySo } else { Judged::Replace(replacements) })
}

/// The marker found, and whether this very operation wrote it; or why it must stay.
fn may_replace(name: &DnsName, reading: &Reading, ours: &Marker) -> Result<(Option<Marker>, bool), DnsError> {
    let Some(raw) = &reading.marker else { return Ok((None, false)) };
    let place = marker_name(name);
    let Some(seen) = reading.parsed_marker() else {
        return Err(DnsError::Foreign {
            name: name.clone(),
            what: format!("{place} TXT holds {:?}, which this release does not understand", raw.values()),
            remedy: format!(
                "delete the TXT record at {place} if it is not in use, or run the release that wrote it"
            ),
        });
    };
    match seen.standing(ours) {
        Standing::Own => Ok((Some(seen), true)),
        Standing::Older => Ok((Some(seen), false)),
        Standing::Newer => Err(DnsError::Stale {
            name: name.clone(),
            ours: ours.version,
            theirs: seen.version,
            by: seen.operation,
        }),
        Standing::Foreign => Err(DnsError::Foreign {
            name: name.clone(),
            what: format!("it belongs to service {} of cluster {}", seen.service, seen.cluster),
            remedy: format!("to hand it over, delete the TXT record at {place} and turn `adopt` on"),
        }),
    }
}

fn is_so(want: &[RrSet], reading: &Reading, seen: Option<&Marker>, ours: &Marker) -> bool {
    seen.is_some_and(|seen| seen.types == ours.types)
        && want.iter().all(|rr| reading.of_type(rr.rtype).is_some_and(|read| read.says_the_same(rr)))
}

fn replacement(
    name: &DnsName,
    want: &[RrSet],
    reading: Reading,
    seen: Option<Marker>,
    mut marker: Marker,
    adopt: bool,
) -> Result<Replacement, DnsError> {
    let owned: BTreeSet<String> = seen.as_ref().map(|seen| seen.types.clone()).unwrap_or_default();
    let is_owned = |rtype: RecordType| owned.contains(&rtype.to_string());
    let wants_cname = want.iter().any(|rr| rr.rtype == RecordType::CNAME);
    let (delete_owned, others): (Vec<RrSet>, Vec<RrSet>) =
        reading.records.into_iter().partition(|rr| is_owned(rr.rtype));
    // Beside a marker, other people's records of other types are at home too; a name without one
    // is theirs as a whole, but for what a zone's own name must have.
    let of_zone = |rr: &RrSet| matches!(rr.rtype, RecordType::SOA | RecordType::NS);
    let clashes = |rr: &RrSet| {
        wants_cname || rr.rtype == RecordType::CNAME || want.iter().any(|new| new.rtype == rr.rtype)
    };
    let in_the_way: Vec<&RrSet> =
        others.iter().filter(|rr| clashes(rr) || (seen.is_none() && !of_zone(rr) && !adopt)).collect();
    let adoptable = |rr: &RrSet| {
        let addresses = [RecordType::A, RecordType::AAAA, RecordType::CNAME];
        addresses.contains(&rr.rtype) || want.iter().any(|new| new.rtype == rr.rtype)
    };
    if let Some(foreign) = in_the_way.iter().find(|rr| !adopt || !adoptable(rr)) {
        let remedy = if adoptable(foreign) {
            "remove them, or turn `adopt` on to let Regent take them over"
        } else {
            "remove them, or give the service another name"
        };
        return Err(DnsError::Foreign {
            name: name.clone(),
            what: format!("its {} records {:?} were not written by Regent", foreign.rtype, foreign.values()),
            remedy: remedy.into(),
        });
    }
    let adopted: Vec<RrSet> = in_the_way.into_iter().cloned().collect();
    let beside: &[RecordType] = if wants_cname { &KNOWN_TYPES[1..] } else { &KNOWN_TYPES[..1] };
    let absent = want
        .iter()
        .map(|rr| rr.rtype)
        .chain(beside.iter().copied())
        .filter(|rtype| !is_owned(*rtype) && !adopted.iter().any(|rr| rr.rtype == *rtype))
        .collect::<Vec<_>>();
    if let Some(seen) = &seen {
        // Another attempt of this operation may have written at a later generation (S2).
        marker.version.generation = marker.version.generation.max(seen.version.generation);
    }
    let delete = delete_owned.into_iter().chain(adopted.iter().cloned()).collect();
    Ok(Replacement {
        name: name.clone(),
        seen_marker: reading.marker,
        adopted,
        absent: dedup(absent),
        delete,
        add: want.to_vec(),
        marker,
    })
}

fn dedup(types: Vec<RecordType>) -> Vec<RecordType> {
    types.into_iter().fold(Vec::new(), |mut kept, rtype| {
        if !kept.contains(&rtype) {
            kept.push(rtype);
        }
        kept
    })
}

/// The newest generation that Regent wrote, of all that were read.
pub(super) fn newest(readings: &Readings) -> Option<Version> {
    readings
        .values()
        .filter_map(Reading::parsed_marker)
        .map(|marker| marker.version)
        .max_by_key(|version| (version.generation, version.epoch))
}

/// Caches may hold what goes for this long.
pub(super) fn ttl_tail_s(replacements: &[Replacement]) -> u32 {
    replacements.iter().flat_map(|at| &at.delete).map(|rr| rr.ttl_s).max().unwrap_or(0)
}

pub(super) fn diff(replacements: &[Replacement]) -> Diff {
    let mut diff = Diff::default();
    for at in replacements {
        let place = marker_name(&at.name);
        let stays = |rr: &RrSet, there: &[RrSet]| there.iter().any(|other| other.says_the_same(rr));
        for gone in at.delete.iter().filter(|rr| !stays(rr, &at.add)) {
            diff.delete.extend(lines(&at.name, gone));
        }
        for new in at.add.iter().filter(|rr| !stays(rr, &at.delete)) {
            diff.add.extend(lines(&at.name, new));
        }
        diff.delete.extend(at.seen_marker.iter().flat_map(|marker| lines(&place, marker)));
        diff.add.extend(lines(&place, &super::update::marker_set(&at.marker)));
    }
    diff
}

fn lines(name: &DnsName, rr: &RrSet) -> Vec<String> {
    let line = |value: &String| match rr.rtype {
        RecordType::TXT => format!("{name}. {} IN TXT {value:?}", rr.ttl_s),
        RecordType::CNAME => format!("{name}. {} IN CNAME {value}.", rr.ttl_s),
        rtype => format!("{name}. {} IN {rtype} {value}", rr.ttl_s),
    };
    rr.values().iter().map(line).collect()
}

/// What is not as wanted, for an error that names it.
pub(super) fn differences(wanted: &Wanted, readings: &Readings) -> String {
    let mut found = Vec::new();
    for (name, want) in wanted {
        for rr in want {
            let read = readings.get(name).and_then(|reading| reading.of_type(rr.rtype));
            match read {
                Some(read) if read.says_the_same(rr) => {}
                Some(read) => found.push(format!(
                    "{name} {} is {:?} with TTL {}, not {:?} with TTL {}",
                    rr.rtype,
                    read.values(),
                    read.ttl_s,
                    rr.values(),
                    rr.ttl_s
                )),
                None => found.push(format!("{name} has no {}", rr.rtype)),
            }
        }
    }
    if found.is_empty() { "the marker is another's or none".into() } else { found.join("; ") }
}

/// DNSSEC's records come and go with the server's signing, and are nobody's.
pub(super) fn is_of_dnssec(rdata: &RData) -> bool {
    rdata.record_type().is_dnssec()
}

#[cfg(test)]
mod tests {
    use decision::dns::{Group, RecordSet, RecordType as Kind};
    use decision::plan::Epoch;
    use proptest::prelude::*;

    use super::super::records::wanted;
    use super::super::update::{marker_set, update};
    use super::*;

    const NAME: &str = "www.example.com";

    fn change(epoch: u64, generation: u64, rtype: Kind, value: &str) -> Change {
        let group = Group { region: "r".into(), weight: 1, values: vec![value.into()] };
        Change {
            zone: "example.com".into(),
            cluster: "c".into(),
            service: "web".into(),
            epoch: Epoch(epoch),
            generation,
            operation: format!("op-{epoch}-{generation}"),
            set: vec![RecordSet { name: NAME.into(), rtype, ttl_s: 30, groups: vec![group] }],
        }
    }

    /// The zone after `change`, and what else stands at the name.
    fn after(change: &Change, others: Vec<RrSet>) -> Readings {
        let want = wanted(&change.zone, &change.set).unwrap().remove(&NAME.into()).unwrap();
        let marker = Marker {
            cluster: change.cluster.clone(),
            service: change.service.as_str().into(),
            version: change.version(),
            operation: change.operation.clone(),
            types: want.iter().map(|rr| rr.rtype.to_string()).collect(),
        };
        let records = want.into_iter().chain(others).collect();
        Readings::from([(NAME.into(), Reading { records, marker: Some(marker_set(&marker)) })])
    }

    fn judged(change: &Change, readings: &Readings) -> Result<Judged, DnsError> {
        judge(change, &wanted(&change.zone, &change.set).unwrap(), readings, false)
    }

    /// Each section of the update, a line a record.
    fn lines(change: &Change, readings: &Readings) -> (Vec<String>, Vec<String>) {
        let Ok(Judged::Replace(replacements)) = judged(change, readings) else { panic!("not a replacement") };
        let message = update(&"example.com.".parse().unwrap(), &replacements).unwrap();
        let text = |records: &[hickory_proto::rr::Record]| {
            let line = |record: &hickory_proto::rr::Record| {
                format!("{} {} {} {}", record.name, record.ttl, record.dns_class, record.record_type())
            };
            records.iter().map(line).collect::<Vec<_>>()
        };
        (text(&message.answers), text(&message.authorities))
    }

    #[test]
    fn a_new_name_is_written_only_where_there_is_nothing() {
        let (conditions, updates) = lines(&change(1, 1, Kind::A, "192.0.2.1"), &Readings::new());
        assert_eq!(
            conditions,
            [
                "_regent.www.example.com. 0 NONE TXT",
                "www.example.com. 0 NONE A",
                "www.example.com. 0 NONE CNAME",
            ]
        );
        assert_eq!(
            updates,
            [
                "www.example.com. 0 ANY A",
                "www.example.com. 30 IN A",
                "_regent.www.example.com. 0 ANY TXT",
                "_regent.www.example.com. 60 IN TXT",
            ]
        );
    }

    #[test]
    fn an_address_makes_room_for_an_alias_by_deleting_all_once_nothing_else_is_there() {
        let before = after(&change(1, 1, Kind::A, "192.0.2.1"), vec![]);
        let (conditions, updates) = lines(&change(1, 2, Kind::Cname, "a.example.net"), &before);
        assert_eq!(conditions[0], "_regent.www.example.com. 0 IN TXT");
        assert!(conditions.contains(&"www.example.com. 0 NONE MX".to_owned()), "{conditions:?}");
        assert!(!conditions.contains(&"www.example.com. 0 NONE A".to_owned()), "{conditions:?}");
        assert_eq!(updates[..2], ["www.example.com. 0 ANY ANY", "www.example.com. 30 IN CNAME"]);
    }

    #[test]
    fn the_same_operation_again_is_already_so_until_something_drifts() {
        let change = change(3, 7, Kind::A, "192.0.2.1");
        let mut readings = after(&change, vec![]);
        assert!(matches!(judged(&change, &readings), Ok(Judged::AlreadySo)));
        readings.get_mut(&NAME.into()).unwrap().records[0].ttl_s = 31;
        assert!(matches!(judged(&change, &readings), Ok(Judged::Replace(_))));
    }

    #[test]
    fn an_earlier_attempt_of_the_same_operation_never_lowers_the_generation() {
        let late = change(3, 7, Kind::A, "192.0.2.1");
        let mut readings = after(&late, vec![]);
        readings.get_mut(&NAME.into()).unwrap().records.clear();
        let early = Change { generation: 6, ..late.clone() };
        let Ok(Judged::Replace(replacements)) = judged(&early, &readings) else {
            panic!("not a replacement")
        };
        assert_eq!(replacements[0].marker.version.generation, 7);
    }

    proptest! {
        /// S2: whatever was there, what a judgement lets through never falls.
        #[test]
        fn versions_never_fall(seen in (0u64..4, 0u64..4), ours in (0u64..4, 0u64..4)) {
            let before = after(&change(seen.0, seen.1, Kind::A, "192.0.2.1"), vec![]);
            match judged(&change(ours.0, ours.1, Kind::A, "192.0.2.2"), &before) {
                Ok(Judged::Replace(replacements)) => {
                    let version = replacements[0].marker.version;
                    prop_assert!(version.epoch.0 >= seen.0 && version.generation >= seen.1);
                }
                Ok(Judged::AlreadySo) => prop_assert!(false, "the address differs"),
                Err(error) => {
                    let stale = matches!(error, DnsError::Stale { .. });
                    prop_assert!(stale, "{error}");
                    prop_assert!(ours.0 < seen.0 || ours.1 < seen.1);
                }
            }
        }
    }
}
