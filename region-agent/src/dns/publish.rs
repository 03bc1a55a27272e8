//! Taking over newer zones: on disk first, then served, then told to secondaries.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use decision::dns::Zone;

use super::metrics::add;
use super::notify::Notifier;
use super::shared::Shared;
use super::store;
use super::table::{Offer, Refused, Table};

pub(crate) struct Publisher {
    pub(crate) shared: Arc<Shared>,
    pub(crate) notifier: Notifier,
    pub(crate) data_dir: PathBuf,
    /// One publish at a time; true while what is served is not on disk.
    unsaved: Mutex<bool>,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>, notifier: Notifier, data_dir: PathBuf) -> Self {
        Self { shared, notifier, data_dir, unsaved: Mutex::new(false) }
    }

    /// Blocks for the disk. Once begun it runs to its end, so a caller that goes away cannot leave
    /// an older file over a newer one (S2).
    ///
    /// A disk that fails does not stop a failover: the zone is served all the same, and saved with
    /// the next publish. Until then a restart would come back with the generation before.
    pub(crate) fn publish(&self, zones: Vec<Zone>) -> Vec<Refused> {
        self.take(|table| table.offered(zones))
    }

    /// The same of a whole list.
    pub(crate) fn publish_list(&self, generation: u64, zones: Vec<Zone>) -> Vec<Refused> {
        self.take(|table| table.listed(generation, zones))
    }

    fn take(&self, offer: impl FnOnce(&Table) -> Offer) -> Vec<Refused> {
        let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.shared.table();
        let offer = offer(&held);
        let metrics = &self.shared.metrics;
        let differs = !offer.changed.is_empty() || !offer.retired.is_empty();
        let listed = offer.table.list_generation();
        if differs || *unsaved {
            let zones: Vec<&Zone> = offer.table.zones().into_iter().map(|zone| &zone.desired).collect();
            let saved = store::save(&self.data_dir, listed, &zones);
            *unsaved = saved.is_err();
            if let Err(error) = saved {
                add(&metrics.store_failures);
                tracing::error!(%error, "zones are served but not on disk; will be saved with the next publish");
            }
        }
        if differs || listed != held.list_generation() {
            self.shared.swap(offer.table);
        }
        for zone in &offer.retired {
            let (origin, generation) = (&zone.desired.origin, zone.desired.generation);
            tracing::info!(%origin, generation, listed, "serving a zone no more: it is no longer configured");
            self.notifier.forget(origin);
        }
        for zone in &offer.changed {
            let (origin, generation) = (&zone.desired.origin, zone.desired.generation);
            tracing::info!(%origin, generation, "serving a newer zone");
            self.notifier.announce(zone, &self.shared);
        }
        for refused in &offer.refused {
            tracing::warn!(%refused, "kept what was held");
        }
        metrics.zones_published.fetch_add(offer.changed.len() as u64, Ordering::Relaxed);
        metrics.zones_retired.fetch_add(offer.retired.len() as u64, Ordering::Relaxed);
        metrics.zones_refused.fetch_add(offer.refused.len() as u64, Ordering::Relaxed);
        offer.refused
    }
}
