//! Regent's own API.

pub(super) mod events;
pub(super) mod intents;
pub(super) mod openapi;
mod parameters;
pub(super) mod queries;
mod rehearse;
