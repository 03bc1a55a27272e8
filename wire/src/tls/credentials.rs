//! A part's credentials while it runs, replaced when their files change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use decision::time::Time;
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::error::CredentialsError;
use super::expect::Expect;
use super::material::{Files, Material, Pem};
use crate::host::Clock;
use crate::identity::{SpiffeId, TrustDomain};

/// A shared handle on who we are and whom we trust. Each handshake asks it anew; connections that
/// stand are not touched by a reload.
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    /// None: from memory, where nothing changes.
    files: Option<Files>,
    clock: Arc<dyn Clock>,
    current: watch::Sender<Arc<Material>>,
    /// What the files held when they were last looked at, so that one fault is told once.
    seen: Mutex<Result<Pem, String>>,
}

impl Credentials {
    /// Reads and checks the files. An expired certificate is taken, and warned of: peers will
    /// refuse it, but what needs no peer must run.
    pub fn load(files: Files, clock: Arc<dyn Clock>) -> Result<Credentials, CredentialsError> {
        let pem = files.read()?;
        Credentials::start(pem, &files, Some(files.clone()), clock)
    }

    /// From memory; there is nothing to reload then.
    pub fn from_pem(pem: Pem, clock: Arc<dyn Clock>) -> Result<Credentials, CredentialsError> {
        let names = ["the certificate", "the key", "the CA"];
        let [certificate, key, ca] = names.map(Into::into);
        Credentials::start(pem, &Files { certificate, key, ca }, None, clock)
    }

    /// `called`: what errors call them.
    fn start(
        pem: Pem,
        called: &Files,
        files: Option<Files>,
        clock: Arc<dyn Clock>,
    ) -> Result<Credentials, CredentialsError> {
        let material = Material::check(&pem, called, Arc::clone(&clock))?;
        warn_unless_valid(&material, clock.now());
        let current = watch::Sender::new(Arc::new(material));
        Ok(Credentials(Arc::new(Shared { files, clock, current, seen: Mutex::new(Ok(pem)) })))
    }

    /// Who we are.
    pub fn id(&self) -> SpiffeId {
        self.current().id.clone()
    }

    pub fn trust_domain(&self) -> TrustDomain {
        self.current().id.trust_domain.clone()
    }

    /// When our own certificate ends.
    pub fn not_after(&self) -> Time {
        self.current().not_after
    }

    /// For the next handshake as a server.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().server)
    }

    /// For the next handshake as a client.
    pub fn client_config(&self, expect: Expect) -> Result<Arc<ClientConfig>, rustls::Error> {
        self.current().client_config(expect, Arc::clone(&self.0.clock)).map(Arc::new)
    }

    /// Looks at the files now, and says whether new ones were taken. Files seen before, good or bad,
    /// change nothing and are no error. Blocks on the disk.
    ///
    /// # Errors
    /// When the files changed and cannot be used; those in use stay in use.
    pub fn reload(&self) -> Result<bool, CredentialsError> {
        let Shared { files, clock, current, seen } = &*self.0;
        let Some(files) = files else { return Ok(false) };
        let read = files.read();
        let now_seen = read.as_ref().map(Pem::clone).map_err(ToString::to_string);
        // Held to the end, so that of two reloads at once the later one wins.
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now_seen {
            return Ok(false);
        }
        *seen = now_seen;
        let pem = read?;
        let material = Material::check(&pem, files, Arc::clone(clock))?;
        let running = self.id();
        if material.id != running {
            return Err(CredentialsError::OtherIdentity {
                file: files.certificate.display().to_string(),
                running: Box::new(running),
                found: Box::new(material.id),
            });
        }
        warn_unless_valid(&material, clock.now());
        current.send_replace(Arc::new(material));
        Ok(true)
    }

    /// Reloads whenever the files' contents changed, looking every `interval`, until dropped.
    /// Contents, not modification times: those miss a second write within their resolution.
    pub async fn watch(&self, interval: Duration) {
        if self.0.files.is_none() {
            return std::future::pending().await;
        }
        let mut tick = tokio::time::interval(interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let credentials = self.clone();
            match tokio::task::spawn_blocking(move || credentials.reload()).await {
                Ok(Ok(true)) => tracing::info!(
                    id = %self.id(), not_after_ms = self.not_after().0, "credentials reloaded"
                ),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "new credentials refused, the old ones stay in use"),
                Err(error) => tracing::error!(%error, "reloading credentials failed"),
            }
        }
    }

    fn current(&self) -> Arc<Material> {
        Arc::clone(&self.0.current.borrow())
    }
}

fn warn_unless_valid(material: &Material, now: Time) {
    let (id, not_after_ms) = (&material.id, material.not_after.0);
    if now > material.not_after {
        tracing::warn!(%id, not_after_ms, "our certificate has expired: peers will refuse us");
    } else if now < material.not_before {
        tracing::warn!(%id, not_before_ms = material.not_before.0, "our certificate is not valid yet: check the clock");
    }
}
