//! What can be wrong with our own files, and why a peer is refused.

use std::io;

use rustls::{CertificateError, OtherError};
use thiserror::Error;

use super::expect::Expect;
use crate::identity::{IdentityError, SpiffeId, TrustDomain};

/// Why credentials were not taken. Whatever was in use before stays in use.
#[derive(Debug, Error)]
pub enum CredentialsError {
    #[error("cannot read {file}: {error}")]
    Read { file: String, error: io::Error },
    #[error("{file} holds no {what} in PEM")]
    Empty { file: String, what: &'static str },
    #[error("{file} is not readable PEM: {why}")]
    Pem { file: String, why: String },
    #[error("{file}: {error}")]
    Identity { file: String, error: IdentityError },
    #[error("the private key in {key} does not belong to the certificate in {certificate}: {why}")]
    KeyMismatch { key: String, certificate: String, why: rustls::Error },
    #[error("{certificate} was not issued by an authority in {ca}: {why}")]
    Chain { certificate: String, ca: String, why: String },
    #[error("{file} holds no usable certificate authority: {why}")]
    Authority { file: String, why: String },
    #[error("{file} names {found}, but this process runs as {running}; start it anew to change who it is")]
    OtherIdentity { file: String, running: Box<SpiffeId>, found: Box<SpiffeId> },
    #[error("TLS cannot be set up with these files: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a peer with a certificate of our authority is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the peer {found} belongs to another cluster; this is {ours}")]
    OtherCluster { ours: TrustDomain, found: Box<SpiffeId> },
    #[error("the peer is {found}, expected {expected}")]
    Unexpected { expected: Expect, found: Box<SpiffeId> },
}

impl From<Refused> for rustls::Error {
    fn from(refused: Refused) -> rustls::Error {
        CertificateError::Other(OtherError(std::sync::Arc::new(refused))).into()
    }
}

/// Why a handshake failed, in words: rustls prints errors of certificates as they stand in memory.
pub fn reason(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => in_words(error),
        None => error.to_string(),
    }
}

pub(super) fn in_words(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "the certificate's issuer is none of the authorities trusted here".to_owned()
        }
        rustls::Error::InvalidCertificate(
            Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. },
        ) => "the certificate is not meant for this use".to_owned(),
        rustls::Error::InvalidCertificate(Certificate::Other(OtherError(error))) => error.to_string(),
        rustls::Error::InvalidCertificate(Certificate::BadSignature) => {
            "a signature of the certificate or the handshake is not by whom it names".to_owned()
        }
        rustls::Error::NoCertificatesPresented => "the peer presented no certificate".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("the peer refused the handshake with alert {alert:?}"),
        other => other.to_string(),
    }
}
