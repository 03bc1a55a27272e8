//! One consistent set of certificate, key and authorities, checked as a whole before anybody uses it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use decision::time::Time;
use rustls::client::Resumption;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::{CredentialsError, in_words};
use super::expect::Expect;
use super::verify::{VerifyClient, VerifyServer};
use super::{HostTime, provider, unix_time};
use crate::host::Clock;
use crate::identity::{IdentityError, SpiffeId};

/// Where a part's credentials lie: its chain, leaf first; its private key; the authorities it trusts,
/// of which there are two while one replaces the other. All PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

/// The same, read.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    pub ca: Vec<u8>,
}

impl Files {
    pub(super) fn read(&self) -> Result<Pem, CredentialsError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| CredentialsError::Read { file: path.display().to_string(), error })
        };
        Ok(Pem { certificate: read(&self.certificate)?, key: read(&self.key)?, ca: read(&self.ca)? })
    }
}

/// Checked credentials, ready to shake hands with.
pub(super) struct Material {
    pub(super) id: SpiffeId,
    pub(super) not_before: Time,
    pub(super) not_after: Time,
    pub(super) server: Arc<ServerConfig>,
    key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
}

impl Material {
    /// `files` serves only to say in errors where the fault is.
    pub(super) fn check(
        pem: &Pem,
        files: &Files,
        clock: Arc<dyn Clock>,
    ) -> Result<Material, CredentialsError> {
        let [certificate_file, key_file, ca_file] =
            [&files.certificate, &files.key, &files.ca].map(|path| path.display().to_string());
        let chain = certificates(&pem.certificate, &certificate_file)?;
        let leaf = chain[0].clone();
        let identity_error = |error| CredentialsError::Identity { file: certificate_file.clone(), error };
        let id = SpiffeId::from_certificate(&leaf).map_err(identity_error)?;
        let (not_before, not_after) = validity(&leaf).map_err(identity_error)?;

        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                CredentialsError::Empty { file: key_file.clone(), what: "private key" }
            }
            error => CredentialsError::Pem { file: key_file.clone(), why: error.to_string() },
        })?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|why| {
            CredentialsError::KeyMismatch { key: key_file, certificate: certificate_file.clone(), why }
        })?;
        let key = Arc::new(key);

        let roots = Arc::new(authorities(&pem.ca, &ca_file)?);
        let chain_verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .build()
            .map_err(|error| CredentialsError::Authority { file: ca_file.clone(), why: error.to_string() })?;
        // Files that contradict each other are found here and not by every peer. Whether the
        // certificate is still valid is another matter: an agent with an expired one is refused by
        // the controllers, but must start, and serve DNS.
        let within = clock.now().clamp(not_before, not_after.max(not_before));
        chain_verifier.verify_client_cert(&leaf, &key.cert[1..], unix_time(within)).map_err(|error| {
            CredentialsError::Chain { certificate: certificate_file, ca: ca_file, why: in_words(&error) }
        })?;

        let verify = Arc::new(VerifyClient { chain: chain_verifier, trust_domain: id.trust_domain.clone() });
        let server = server_config(Arc::clone(&key), verify, clock)?;
        Ok(Material { id, not_before, not_after, server: Arc::new(server), key, roots })
    }

    pub(super) fn client_config(
        &self,
        expect: Expect,
        clock: Arc<dyn Clock>,
    ) -> Result<ClientConfig, rustls::Error> {
        let provider = provider();
        let verify = VerifyServer {
            roots: Arc::clone(&self.roots),
            trust_domain: self.id.trust_domain.clone(),
            expect,
            algorithms: provider.signature_verification_algorithms,
        };
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(HostTime(clock)))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verify))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.key))));
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

fn server_config(
    key: Arc<CertifiedKey>,
    verify: Arc<VerifyClient>,
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(HostTime(clock)))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verify)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would not show its certificate again, and so outlive it and its authority.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn certificates(pem: &[u8], file: &str) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| CredentialsError::Pem { file: file.to_owned(), why: error.to_string() })?;
    if found.is_empty() {
        return Err(CredentialsError::Empty { file: file.to_owned(), what: "certificate" });
    }
    Ok(found)
}

fn authorities(pem: &[u8], file: &str) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, file)? {
        roots
            .add(certificate)
            .map_err(|error| CredentialsError::Authority { file: file.to_owned(), why: error.to_string() })?;
    }
    Ok(roots)
}

fn validity(der: &[u8]) -> Result<(Time, Time), IdentityError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| IdentityError::Certificate(error.to_string()))?;
    let at = |seconds: i64| Time(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000));
    let validity = certificate.validity();
    Ok((at(validity.not_before.timestamp()), at(validity.not_after.timestamp())))
}
