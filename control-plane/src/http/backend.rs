//! What the HTTP faces need of the controller.

use async_trait::async_trait;
use decision::state::State;
use decision::time::Time;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use wire::api::{Intent, IntentReply, Query};

use crate::documents::{Answer, ApiError};
use crate::view::Membership;

#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Shows the state as this member holds it, which may be behind the cluster's. `look` is called
    /// once and is brief: commands wait for it.
    fn with_state(&self, look: &mut dyn FnMut(&State));

    /// The index last applied, told once [`Backend::with_state`] shows it.
    fn changes(&self) -> watch::Receiver<u64>;

    fn membership(&self) -> Membership;

    /// # Errors
    /// Why this member cannot serve requests now.
    fn is_ready(&self) -> Result<(), String>;

    fn now(&self) -> Time;

    /// The newest moment, by this member's own clock, at which it knew its state to be current: on the
    /// leader, that of its last quorum round; elsewhere, when it last heard from the leader. Readers are
    /// warned by it, so when in doubt it is the earlier one.
    fn fresh_at(&self) -> Time;

    /// # Errors
    /// See [`ApiError`].
    async fn query(&self, query: Query, stale_ok: bool) -> Result<Answer, ApiError>;

    /// `by` is who asks, as its certificate names it.
    ///
    /// # Errors
    /// See [`ApiError`].
    async fn intent(&self, intent: Intent, by: String) -> Result<IntentReply, ApiError>;

    /// Whatever else the controller measures.
    fn register_metrics(&self, _registry: &mut Registry) {}
}

/// [`Backend::with_state`] with a result.
pub(super) fn look<R>(backend: &dyn Backend, look: impl FnOnce(&State) -> R) -> R {
    let mut look = Some(look);
    let mut seen = None;
    backend.with_state(&mut |state| seen = look.take().map(|look| look(state)));
    seen.expect("a backend shows its state once")
}
