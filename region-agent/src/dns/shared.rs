//! What the listeners, the publisher and the notifier have in common.

use std::sync::{Arc, PoisonError, RwLock};

use wire::host::Host;

use super::metrics::Metrics;
use super::table::Table;

pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) metrics: Metrics,
    /// Swapped whole; the lock is held for the time of a pointer's copy.
    table: RwLock<Arc<Table>>,
}

impl Shared {
    pub(crate) fn new(host: Host, table: Table) -> Self {
        Self { host, metrics: Metrics::default(), table: RwLock::new(Arc::new(table)) }
    }

    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn swap(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}
