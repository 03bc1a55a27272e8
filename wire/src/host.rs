//! What a part is handed by its host: clock, randomness and network. Nothing in Regent reaches for
//! them globally, so that the same code runs inside a deterministic simulator.

mod gate;
mod network;
mod random;

use std::sync::Arc;
use std::time::SystemTime;

use decision::time::Time;

pub use gate::{Gate, Gated};
pub use network::{BoxIo, BoxListener, Io, Listener, Network, TcpNetwork};
pub use random::{OsRandom, Random, SeededRandom};

/// Wall-clock time. Waiting is not its business: that is `tokio::time`, which simulators replace.
pub trait Clock: Send + Sync {
    fn now(&self) -> Time;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        // Before 1970 is nonsense, and counts as 1970.
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Time(since_epoch.as_millis() as u64)
    }
}

/// Everything outside that a part may ask, in one cheap handle.
#[derive(Clone)]
pub struct Host {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub network: Arc<dyn Network>,
    /// Closed by a drill; what is not [`Host::behind_gate`] does not see it.
    pub gate: Gate,
}

impl Host {
    /// The machine itself.
    pub fn system() -> Host {
        Host {
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom),
            network: Arc::new(TcpNetwork),
            gate: Gate::default(),
        }
    }

    /// The same, reached and reaching only while its gate is open.
    pub fn behind_gate(&self) -> Host {
        let gated = Gated { network: Arc::clone(&self.network), gate: self.gate.clone() };
        Host { network: Arc::new(gated), ..self.clone() }
    }
}
