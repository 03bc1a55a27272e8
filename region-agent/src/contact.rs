//! Whether this agent reaches any controller at all: the measure of being cut off. That there is no
//! leader for a moment is another matter, and no reason to mistrust one's own eyes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use wire::host::{BoxIo, BoxListener, Network};

#[derive(Debug)]
pub struct Contact(Mutex<Instant>);

impl Default for Contact {
    /// As if one had just been reached: to begin with, it is given the benefit of the doubt.
    fn default() -> Self {
        Contact(Mutex::new(Instant::now()))
    }
}

impl Contact {
    pub fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long ago a controller was last reached.
    pub fn silence(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// A network that notes each connection to a controller: that it opened proves a way there, even
/// when that controller has nothing to say.
pub struct Noted {
    pub network: Arc<dyn Network>,
    pub contact: Arc<Contact>,
}

#[async_trait]
impl Network for Noted {
    async fn connect(&self, address: &str) -> io::Result<BoxIo> {
        let stream = self.network.connect(address).await?;
        self.contact.note();
        Ok(stream)
    }

    async fn bind(&self, address: &str) -> io::Result<BoxListener> {
        self.network.bind(address).await
    }
}
