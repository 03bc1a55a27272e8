//! Opening a stream to a target, with TLS where its URL says so.

use std::sync::Arc;

use http::Uri;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::in_words;
use super::tls::{Configs, Inside, Roots};
use crate::host::{BoxIo, Network};

pub struct Opener {
    network: Arc<dyn Network>,
    tls: Configs,
}

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub secure: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

impl Origin {
    pub fn of(uri: &Uri) -> Result<Origin, String> {
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{uri} is neither http nor https")),
        };
        let host = uri.host().ok_or_else(|| format!("{uri} names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Origin { secure, host, port })
    }

    fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Opener {
    pub fn new(network: Arc<dyn Network>, roots: Roots) -> Opener {
        Opener { network, tls: Configs::new(roots) }
    }

    pub async fn plain(&self, address: &str) -> Result<BoxIo, String> {
        self.network.connect(address).await.map_err(|error| in_words(&error))
    }

    pub async fn open(&self, origin: &Origin, inside: Inside) -> Result<BoxIo, String> {
        let stream = self.plain(&origin.address()).await?;
        if !origin.secure {
            return Ok(stream);
        }
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|_| format!("{:?} is no name that a certificate can hold", origin.host))?;
        let config = self.tls.get(inside).await?;
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| format!("TLS: {}", in_words(&error)))?;
        Ok(Box::new(stream))
    }
}
