//! All zones that are served, and which offer of a zone may replace the one held.

use std::collections::HashMap;
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
    #[error(transparent)]
    Unservable(#[from] ZoneError),
}

/// Immutable: a publish makes a new one and swaps it in, so that every answer comes from one state.
#[derive(Clone, Default)]
pub struct Table {
    zones: HashMap<Box<[u8]>, Arc<ServedZone>>,
}

/// What a table would be after an offer.
pub(crate) struct Offer {
    pub(crate) table: Table,
    pub(crate) changed: Vec<Arc<ServedZone>>,
    pub(crate) refused: Vec<Refused>,
}

impl Table {
    /// Takes each zone that is newer than the one held. Zones not offered stay: a list that is
    /// not whole must never withdraw an answer.
    pub(crate) fn offered(&self, zones: Vec<Zone>) -> Offer {
        let mut offer = Offer { table: self.clone(), changed: Vec::new(), refused: Vec::new() };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::sample;

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
