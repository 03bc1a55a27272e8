//! How a step is carried out: actuators behind small traits; and the operator's command.

pub mod cli;
pub mod config;
pub mod dns;
pub mod drill;
pub mod postgres;
pub mod retry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod up;
