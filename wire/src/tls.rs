//! Mutual TLS 1.3 by certificates that name role and region (see `identity`). Nothing older is
//! spoken, nobody is let in without a certificate of the cluster's own authority.

mod credentials;
mod error;
mod expect;
mod material;
mod verify;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::UnixTime;

use crate::host::Clock;

pub use credentials::Credentials;
pub use error::{CredentialsError, Refused, reason};
pub use expect::Expect;
pub use material::{Files, Pem};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The host's clock, as rustls asks it whether a certificate is still valid.
struct HostTime(Arc<dyn Clock>);

impl rustls::time_provider::TimeProvider for HostTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

impl std::fmt::Debug for HostTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostTime")
    }
}

fn unix_time(time: decision::time::Time) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(time.0))
}
