//! All zones that are served, and which offer of a zone may replace the one held.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use decision::dns::Zone;
use decision::name::DnsName;
use hickory_proto::rr::Name;

use super::key::{self, Key};
use super::zone::{ServedZone, ZoneError};

/// A zone that was offered and not taken; what was held before goes on being served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("zone {origin} at generation {generation} was refused: {reason}")]
pub struct Refused {
    pub origin: DnsName,
    pub generation: u64,
    pub reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// S2: generations never fall.
    #[error("generation {held} is already held, and generations never fall")]
    Older { held: u64 },
    #[error("the same generation is held with other content; a change needs a new generation")]
    OtherContent,
    /// It may have been retired since.
    #[error("it is not held, and this list is older than the one of generation {listed} that was taken")]
    OlderList { listed: u64 },
    #[error(transparent)]
    Unservable(#[from] ZoneError),
}

/// Immutable: a publish makes a new one and swaps it in, so that every answer comes from one state.
#[derive(Clone, Default)]
pub struct Table {
    zones: HashMap<Box<[u8]>, Arc<ServedZone>>,
    /// Generation of the newest whole list that was taken.
    listed: u64,
}

/// What a table would be after an offer.
pub(crate) struct Offer {
    pub(crate) table: Table,
    pub(crate) changed: Vec<Arc<ServedZone>>,
    pub(crate) refused: Vec<Refused>,
    /// No longer served.
    pub(crate) retired: Vec<Arc<ServedZone>>,
}

impl Table {
    /// An empty one that knows which list was taken last.
    pub(crate) fn after_list(listed: u64) -> Table {
        Table { listed, ..Table::default() }
    }

    /// Takes all zones there are to serve, as of `generation`. One that is held and not among them is
    /// retired, but only by a list that is newer than the last: an older one, or none, knows nothing of
    /// what came after it. For the same reason an older one brings nothing back.
    pub(crate) fn listed(&self, generation: u64, zones: Vec<Zone>) -> Offer {
        if generation < self.listed {
            let (held, unknown) = zones.into_iter().partition(|zone| self.holds(zone));
            let mut offer = self.offered(held);
            let refused = |zone: Zone| Refused {
                origin: zone.origin,
                generation: zone.generation,
                reason: Reason::OlderList { listed: self.listed },
            };
            offer.refused.extend(unknown.into_iter().map(refused));
            return offer;
        }
        let keys: HashSet<_> = zones.iter().filter_map(key_of).collect();
        let mut offer = self.offered(zones);
        if generation > self.listed {
            offer.table.listed = generation;
            let retired = offer.table.zones.extract_if(|key, _| !keys.contains(key));
            offer.retired = retired.map(|(_, zone)| zone).collect();
        }
        offer
    }

    fn holds(&self, zone: &Zone) -> bool {
        key_of(zone).is_some_and(|key| self.zones.contains_key(&key))
    }

    pub(crate) fn list_generation(&self) -> u64 {
        self.listed
    }

    /// Takes each zone that is newer than the one held. Zones not offered stay: a list that is
    /// not whole must never withdraw an answer.
    pub(crate) fn offered(&self, zones: Vec<Zone>) -> Offer {
        let mut offer =
            Offer { table: self.clone(), changed: Vec::new(), refused: Vec::new(), retired: Vec::new() };
        for zone in zones {
            let (origin, generation) = (zone.origin.clone(), zone.generation);
            match offer.table.accept(zone) {
                Ok(Some(served)) => offer.changed.push(served),
                Ok(None) => {}
                Err(reason) => offer.refused.push(Refused { origin, generation, reason }),
            }
        }
        offer
    }

    /// `None` where exactly this is held already.
    fn accept(&mut self, zone: Zone) -> Result<Option<Arc<ServedZone>>, Reason> {
        let origin = super::rdata::name(zone.origin.as_str())
            .map_err(|why| ZoneError::BadName { name: zone.origin.to_string(), why })?;
        let key = Key::of(&origin);
        if let Some(held) = self.zones.get(key.as_wire()).map(|held| &held.desired) {
            if zone.generation < held.generation {
                return Err(Reason::Older { held: held.generation });
            }
            if zone.generation == held.generation {
                return if zone == *held { Ok(None) } else { Err(Reason::OtherContent) };
            }
        }
        let served = Arc::new(ServedZone::build(zone)?);
        self.zones.insert(key.as_wire().into(), Arc::clone(&served));
        Ok(Some(served))
    }

    /// The zone that is authoritative for a name: the longest origin that is a suffix of it.
    pub(crate) fn zone_of(&self, wire: &[u8]) -> Option<&Arc<ServedZone>> {
        key::ancestry(wire).find_map(|name| self.zones.get(name))
    }

    /// The zone of exactly this origin.
    pub(crate) fn zone_at(&self, origin: &Name) -> Option<&Arc<ServedZone>> {
        self.zones.get(Key::of(origin).as_wire())
    }

    /// In order of their origin, so that what is written of them does not depend on hashing.
    pub(crate) fn zones(&self) -> Vec<&Arc<ServedZone>> {
        let mut zones: Vec<_> = self.zones.values().collect();
        zones.sort_by(|a, b| a.desired.origin.cmp(&b.desired.origin));
        zones
    }
}

/// None where its origin is no name, so that it cannot be held either.
fn key_of(zone: &Zone) -> Option<Box<[u8]>> {
    let origin = super::rdata::name(zone.origin.as_str()).ok()?;
    Some(Key::of(&origin).as_wire().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::sample;

    fn other(generation: u64) -> Zone {
        Zone { origin: "other.test".into(), records: Vec::new(), ..sample::zone(generation) }
    }

    fn held(table: &Table) -> Vec<(&str, u64)> {
        let zones = table.zones().into_iter().map(|zone| &zone.desired);
        zones.map(|zone| (zone.origin.as_str(), zone.generation)).collect()
    }

    #[test]
    fn only_a_newer_list_retires() {
        let both = Table::default().listed(10, vec![sample::zone(7), other(9)]).table;
        assert_eq!(held(&both), [("example.test", 7), ("other.test", 9)]);
        // None at all, an older one, the same one, and one that is no list.
        for generation in [0, 9, 10] {
            let offer = both.listed(generation, vec![sample::zone(7)]);
            assert_eq!((held(&offer.table), offer.retired.len()), (held(&both), 0), "{generation}");
        }
        assert_eq!(held(&both.offered(Vec::new()).table), held(&both));
        let offer = both.listed(11, vec![sample::zone(7)]);
        assert_eq!(held(&offer.table), [("example.test", 7)]);
        assert_eq!(offer.retired[0].desired.origin, "other.test".into());
        assert!(offer.changed.is_empty() && offer.refused.is_empty());
    }

    #[test]
    fn an_older_list_brings_nothing_back_and_a_newer_one_does() {
        let table = Table::default().listed(10, vec![sample::zone(7), other(9)]).table;
        let table = table.listed(12, vec![sample::zone(7)]).table;
        let offer = table.listed(11, vec![sample::zone(7), other(9)]);
        assert_eq!(held(&offer.table), [("example.test", 7)]);
        let expected =
            Refused { origin: "other.test".into(), generation: 9, reason: Reason::OlderList { listed: 12 } };
        assert_eq!(offer.refused, [expected]);
        let again = offer.table.listed(13, vec![sample::zone(7), other(13)]);
        assert_eq!(held(&again.table), [("example.test", 7), ("other.test", 13)]);
    }

    #[test]
    fn a_zone_that_is_listed_and_cannot_be_served_is_not_retired() {
        let table = Table::default().listed(10, vec![sample::zone(7)]).table;
        let mut bad = sample::zone(11);
        bad.records[0].groups[0].values = vec!["nonsense".into()];
        let mut spelled = sample::zone(12);
        spelled.origin = "EXAMPLE.test".into();
        let offer = table.listed(11, vec![bad]);
        assert_eq!((held(&offer.table), offer.refused.len()), (vec![("example.test", 7)], 1));
        assert!(offer.table.listed(12, vec![spelled]).retired.is_empty());
    }

    #[test]
    fn an_older_generation_is_refused_and_the_held_one_stays() {
        let newer = sample::zone(7);
        let table = Table::default().offered(vec![newer.clone()]).table;
        let offer = table.offered(vec![sample::zone(6)]);
        assert_eq!(
            offer.refused,
            [Refused { origin: newer.origin.clone(), generation: 6, reason: Reason::Older { held: 7 } }]
        );
        assert!(offer.changed.is_empty());
        assert_eq!(offer.table.zones()[0].desired, newer);
    }

    #[test]
    fn the_same_again_changes_nothing_and_other_content_is_refused() {
        let table = Table::default().offered(vec![sample::zone(7)]).table;
        let again = table.offered(vec![sample::zone(7)]);
        assert!(again.changed.is_empty() && again.refused.is_empty());
        let mut other = sample::zone(7);
        other.records.pop();
        assert_eq!(table.offered(vec![other]).refused[0].reason, Reason::OtherContent);
    }

    #[test]
    fn one_bad_zone_holds_up_neither_the_others_nor_what_it_was_before() {
        let table = Table::default().offered(vec![sample::zone(7)]).table;
        let mut bad = sample::zone(8);
        bad.records[0].groups[0].values = vec!["nonsense".into()];
        let mut good = sample::zone(9);
        good.origin = "other.test".into();
        good.records.clear();
        good.name_servers.clear();
        let offer = table.offered(vec![bad, good]);
        assert!(matches!(offer.refused[0].reason, Reason::Unservable(ZoneError::BadValue { .. })));
        let held: Vec<_> = offer.table.zones().iter().map(|zone| zone.desired.generation).collect();
        assert_eq!(held, [7, 9]);
    }
}
