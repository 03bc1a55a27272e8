//! TLS towards targets: as any client of theirs would, by the machine's own roots.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

/// Whom targets are to be certified by.
#[derive(Clone, Debug)]
pub enum Roots {
    /// The machine's own, read once, when the first target needs them.
    Native,
    These(Arc<RootCertStore>),
}

/// Configurations by what is spoken inside: HTTP/1.1 or HTTP/2.
pub(super) struct Configs {
    roots: Roots,
    made: OnceCell<[Arc<ClientConfig>; 2]>,
}

#[derive(Clone, Copy, Debug)]
pub enum Inside {
    Http1,
    Http2,
}

impl Configs {
    pub(super) fn new(roots: Roots) -> Configs {
        Configs { roots, made: OnceCell::new() }
    }

    pub(super) async fn get(&self, inside: Inside) -> Result<Arc<ClientConfig>, String> {
        let made = self.made.get_or_try_init(|| async {
            let roots = match &self.roots {
                Roots::These(roots) => Arc::clone(roots),
                Roots::Native => tokio::task::spawn_blocking(native)
                    .await
                    .map_err(|error| error.to_string())?
                    .map(Arc::new)?,
            };
            Ok::<_, String>([config(&roots, b"http/1.1")?, config(&roots, b"h2")?])
        });
        made.await.map(|configs| Arc::clone(&configs[inside as usize]))
    }
}

fn config(roots: &Arc<RootCertStore>, protocol: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// Reads files.
fn native() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!("this machine has no root certificates to check the target's by{why}"));
    }
    Ok(roots)
}
